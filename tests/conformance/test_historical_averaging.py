"""Proves historical averaging: the running mean, the distance to it, and both players' steps."""

import pytest
import torch
from pydantic import ValidationError

from harness.parts import Trick, tricks
from harness.testing.cells import refusal, trainer_of
from harness.testing.specs import make_spec
from harness.training.batch import Batch


class TestHistoricalAveraging:
    """Distance of both players to the mean of their past."""

    def test_the_mean_is_that_of_all_weights_so_far(self) -> None:
        trainer = trainer_of(
            "ring8", "gan", "historical-averaging", ("update-ratio", {"d": 2, "g": 1}),
            runs=2, lr_g=0.01, lr_d=0.01,
        )  # fmt: skip
        game = trainer.game
        seen = {name: [getattr(game, name).theta.detach().clone()] for name in "GD"}
        for _ in range(4):
            trainer.update("discriminator")
            seen["D"].append(game.D.theta.detach().clone())
            trainer.update("discriminator")
            seen["D"].append(game.D.theta.detach().clone())
            trainer.update("generator")
            seen["G"].append(game.G.theta.detach().clone())
        assert {name: len(past) for name, past in seen.items()} == {"G": 5, "D": 9}
        for name, past in seen.items():
            torch.testing.assert_close(
                game.memory["historical-averaging"][name], torch.stack(past).mean(0)
            )

    def test_formula(self) -> None:
        held = trainer_of(
            "ring8", "gan", ("historical-averaging", {"weight": 0.3}), runs=2, lr_g=0.01, lr_d=0.01
        )
        for _ in range(3):
            held.train_step()
        game = held.game
        for phase, network in (("discriminator", game.D), ("generator", game.G)):
            batch = Batch(game, phase, 3)
            loss = getattr(game, f"{phase}_loss")(batch)
            (gradient,) = torch.autograd.grad(loss.sum(), network.theta, retain_graph=True)
            own = getattr(game.variant, f"{phase}_loss")(game, batch)
            (without,) = torch.autograd.grad(own.sum(), network.theta)
            mean = game.memory["historical-averaging"]["D" if phase == "discriminator" else "G"]
            for run in range(2):
                now, past = network.theta[run].tolist(), mean[run].tolist()
                distance = sum((a - b) ** 2 for a, b in zip(now, past, strict=True))
                assert (loss - own)[run].item() == pytest.approx(0.3 * distance, rel=1e-9)
                assert distance > 1e-6
            torch.testing.assert_close(
                gradient - without, 0.6 * (network.theta.detach() - mean), rtol=1e-9, atol=1e-12
            )

    def test_the_first_update_is_the_plain_one_and_the_second_is_not(self) -> None:
        plain = trainer_of("ring8", "gan", lr_d=0.01, lr_g=0.01)
        held = trainer_of("ring8", "gan", "historical-averaging", lr_d=0.01, lr_g=0.01)
        for same in (True, False):
            for trainer in (plain, held):
                trainer.train_step()
            assert torch.equal(plain.game.D.theta, held.game.D.theta) == same
            assert torch.equal(plain.game.G.theta, held.game.G.theta) == same

    def test_a_great_weight_holds_both_players_back(self) -> None:
        moved = []
        for laid_over in ((), (("historical-averaging", {"weight": 50.0}),)):
            trainer = trainer_of(
                "ring8", "gan", *laid_over, optimizer="sgd", beta1=0.0, lr_g=5e-3, lr_d=5e-3
            )
            start = [getattr(trainer.game, name).theta.detach().clone() for name in "GD"]
            for _ in range(50):
                trainer.train_step()
            ends = [getattr(trainer.game, name).theta.detach() for name in "GD"]
            moved.append([(a - b).norm().item() for a, b in zip(start, ends, strict=True)])
        for free, held in zip(*moved, strict=True):
            assert held < 0.5 * free

    def test_updates_ahead_are_held_by_their_own_weights(self) -> None:
        class Seen(Trick):
            """Keeps the weights that judge each batch of a discriminator's loss."""

            kept: list

            def discriminator_objective(self, game: object, batch: Batch, loss: object) -> object:
                self.kept.append((batch.opponent, loss))
                return loss

        trainer = trainer_of(
            "ring8", "gan", ("unrolled", {"k": 2}), ("historical-averaging", {"weight": 2.0}),
            lr_d=0.01,
        )  # fmt: skip
        trainer.train_step()
        game = trainer.game
        seen = Seen.model_construct(kept=[])
        game.parts = [*game.parts, seen]
        batch = Batch(game, "generator", 1)
        game.generator_loss(batch)
        mean = game.memory["historical-averaging"]["D"]
        assert len(seen.kept) == 2
        for theta, loss in seen.kept:
            own = game.variant.discriminator_loss(game, batch.against(theta, 1))
            torch.testing.assert_close(loss - own, 2.0 * (theta - mean).square().sum(1))

    def test_it_applies_everywhere(self) -> None:
        for variant in ("gan", "wgan", "wgan-gp", "lsgan", "sngan"):
            assert refusal(make_spec("ring8", variant, ["historical-averaging"])) is None

    @pytest.mark.parametrize("weight", [0, -1])
    def test_what_is_no_weight_is_refused(self, weight: float) -> None:
        with pytest.raises(ValidationError):
            tricks.get("historical-averaging")(weight=weight)
