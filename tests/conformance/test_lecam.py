"""Proves LeCam: the term, the averages it is about, and when it begins."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from harness.parts import Trick, tricks
from harness.testing.cells import game_of, make_trainer, trainer_of
from harness.testing.specs import make_spec
from harness.testing.stubs import FixedGame, logits_batch
from harness.training.batch import Batch

WEIGHTS, DECAYS = (0.3, 2.0), (0.9, 0.5)


def stacked(start: int) -> Trick:
    return tricks.get("lecam").stacked(
        [
            tricks.get("lecam")(weight=weight, decay=decay, start=start)
            for weight, decay in zip(WEIGHTS, DECAYS, strict=True)
        ],
        dtype=torch.float64,
    )


def remembering(trick: Trick) -> FixedGame:
    game = FixedGame(2, D=SimpleNamespace(theta=torch.zeros(2, 5, dtype=torch.float64)))
    game.memory = {trick.id: trick.remember(game)}
    return game


def logits(*shape: int) -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(8)
    draws = torch.randn(6, 2, 2, *shape, generator=generator, dtype=torch.float64)
    return [(pair[0] + 0.5, pair[1] - 0.5) for pair in draws]


class TestLeCam:
    """D's answers near their own moving averages."""

    @pytest.mark.parametrize("shape", [(4,), (3, 2, 2)], ids=["logits", "maps"])
    @pytest.mark.parametrize("start", [0, 1, 3])
    def test_formula(self, start: int, shape: tuple[int, ...]) -> None:
        """Averages first, then the term; each weighted mean is written out from all updates."""
        trick = stacked(start)
        game = remembering(trick)
        seen: list[list[tuple[float, float]]] = [[], []]
        for update, (real, fake) in enumerate(logits(*shape)):
            batch = logits_batch(real, fake)
            own = torch.tensor([1.0, -2.0], dtype=torch.float64)
            found = trick.discriminator_objective(game, batch, own)
            watched = trick.watch(game, batch)
            for run in range(2):
                r, f = real[run].flatten().tolist(), fake[run].flatten().tolist()
                term, means = 0.0, (0.0, 0.0)
                if update >= start:
                    seen[run].append((sum(r) / len(r), sum(f) / len(f)))
                    weights = [DECAYS[run] ** age for age in range(len(seen[run]))][::-1]
                    means = tuple(
                        sum(w * pair[kind] for w, pair in zip(weights, seen[run], strict=True))
                        / sum(weights)
                        for kind in (0, 1)
                    )
                    term += sum(max(0.0, v - means[1]) ** 2 for v in r) / len(r)
                    term += sum(max(0.0, means[0] - v) ** 2 for v in f) / len(f)
                expected = own[run].item() + WEIGHTS[run] * term
                assert found[run].item() == pytest.approx(expected, rel=1e-12)
                assert [row[run].item() for row in watched] == pytest.approx(means, rel=1e-12)
            trick.after_discriminator_update(game, batch)

    def test_the_averages_are_constants_to_the_gradient(self) -> None:
        trick = stacked(0)
        real, fake = (each.requires_grad_() for each in logits(4)[0])
        loss = trick.discriminator_objective(
            remembering(trick), logits_batch(real, fake), torch.zeros(2, dtype=torch.float64)
        )
        found = torch.autograd.grad(loss.sum(), real)[0]
        gap = (real - fake.mean(1, keepdim=True)).clamp_min(0)
        expected = torch.tensor(WEIGHTS, dtype=torch.float64)[:, None] * 2 * gap / 4
        torch.testing.assert_close(found, expected)

    def test_training_holds_what_was_judged(self) -> None:
        trainer = trainer_of("ring8", "gan", ("lecam", {"decay": 0.75}), runs=2)
        seen = []
        loss = trainer.game.discriminator_loss

        def recording(batch: Any) -> Tensor:
            seen.append((batch.judged_real.logits.mean(1), batch.judged_fake.logits.mean(1)))
            return loss(batch)

        trainer.game.discriminator_loss = recording  # type: ignore[method-assign]
        for _ in range(3):
            trainer.train_step()
        held = trainer.game.memory["lecam"]
        for kind, name in enumerate(("real", "fake")):
            first, second, third = (pair[kind].detach() for pair in seen)
            expected = (0.75**2 * first + 0.75 * second + third) / (0.75**2 + 0.75 + 1)
            torch.testing.assert_close(held[name] / held["total"], expected)
        assert held["updates"].tolist() == [3, 3]

    def test_the_step_changes_once_it_has_begun(self) -> None:
        plain = trainer_of("ring8", "gan")
        now = trainer_of("ring8", "gan", ("lecam", {"weight": 5.0}))
        later = trainer_of("ring8", "gan", ("lecam", {"weight": 5.0, "start": 2}))
        for step in range(3):
            for trainer in (plain, now, later):
                trainer.train_step()
            theta = plain.game.D.theta
            assert not torch.equal(now.game.D.theta, theta)
            assert torch.equal(later.game.D.theta, theta) == (step < 2)

    def test_the_generators_loss_is_as_before(self) -> None:
        plain, tricked = game_of("ring8", "sngan"), game_of("ring8", "sngan", "lecam")
        losses = [game.generator_loss(Batch(game, "generator", 0)) for game in (plain, tricked)]
        assert torch.equal(*losses)

    def test_the_averages_are_among_the_diagnostics(self) -> None:
        trainer = make_trainer([make_spec("ring8", "gan", ["lecam"])])
        for _ in range(2):
            trainer.train_step()
        (row,), _ = trainer.read()
        assert row["lecam_real"] != 0
        assert row["lecam_fake"] != 0
