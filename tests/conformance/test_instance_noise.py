"""Proves instance noise: its size, that it is fresh, on everything D sees, and its course."""

import pytest
import torch
from pydantic import ValidationError

from harness.parts import tricks
from harness.testing.cells import game_of, make_trainer, refusal, trainer_of
from harness.testing.specs import make_spec
from harness.training.batch import Batch


class TestInstanceNoise:
    """Noise on real and generated data alike."""

    @pytest.mark.parametrize("dataset", ["ring8", "digits"])
    @pytest.mark.parametrize("phase", ["discriminator", "generator"])
    def test_formula(self, dataset: str, phase: str) -> None:
        game = game_of(dataset, "gan", ("instance-noise", {"sigma": 0.3}), runs=2)
        game.progress = 0.25
        batch = Batch(game, phase, 2)
        for label, x, shown in (
            ("real", batch.real, batch.shown_real),
            ("fake", batch.fake, batch.shown_fake),
        ):
            name = f"{phase}/instance-noise/{label}"
            noise = game.streams.normal(name, 2, tuple(x.shape[1:]))
            torch.testing.assert_close(shown, x + 0.3 * 0.75 * noise)

    def test_its_standard_deviation_is_sigma(self) -> None:
        game = trainer_of("digits", "gan", ("instance-noise", {"sigma": 0.3}), batch=64).game
        batch = Batch(game, "discriminator", 0)
        noise = batch.shown_real - batch.real
        assert noise.std().item() == pytest.approx(0.3, rel=0.03)
        assert abs(noise.mean().item()) < 0.01

    def test_it_is_fresh_for_run_player_update_kind_and_example(self) -> None:
        game = game_of("ring8", "gan", "instance-noise", runs=2)
        rows = []
        for phase in ("discriminator", "generator"):
            for counter in (0, 1):
                batch = Batch(game, phase, counter)
                rows += [batch.shown_real - batch.real, batch.shown_fake - batch.fake]
        noise = torch.cat([row.flatten(0, 1) for row in rows])
        assert noise.round(decimals=9).unique(dim=0).shape == (2 * 2 * 2 * 2 * 8, 2)

    def test_it_falls_to_zero_or_stays(self) -> None:
        for options, shares in (({}, [1.0, 0.75, 0.5, 0.25]), ({"anneal": False}, [1.0] * 4)):
            trainer = trainer_of("ring8", "gan", ("instance-noise", options), steps=4)
            game, seen = trainer.game, []
            inner = game.discriminator_loss

            def record(batch: Batch, seen: list = seen, inner: object = inner) -> torch.Tensor:
                noise = batch.normal("instance-noise/real", 8, 2)
                seen.append(((batch.shown_real - batch.real) / noise).mean().item() / 0.1)
                return inner(batch)  # type: ignore[operator]

            game.discriminator_loss = record
            for _ in range(4):
                trainer.train_step()
            assert seen == pytest.approx(shares)

    def test_with_no_noise_left_the_step_is_the_plain_one(self) -> None:
        plain, quiet = game_of("ring8", "gan"), game_of("ring8", "gan", "instance-noise")
        quiet.progress = 1.0
        losses = [g.discriminator_loss(Batch(g, "discriminator", 0)) for g in (plain, quiet)]
        assert torch.equal(*losses)
        quiet.progress = 0.0
        assert not torch.equal(
            losses[0], quiet.discriminator_loss(Batch(quiet, "discriminator", 0))
        )

    def test_both_players_learn_otherwise(self) -> None:
        plain, noisy = trainer_of("ring8", "gan"), trainer_of("ring8", "gan", "instance-noise")
        for trainer in (plain, noisy):
            trainer.update("generator")
        assert not torch.equal(plain.game.G.theta, noisy.game.G.theta)
        for trainer in (plain, noisy):
            trainer.update("discriminator")
        assert not torch.equal(plain.game.D.theta, noisy.game.D.theta)

    def test_measurement_sees_none(self) -> None:
        plain, noisy = game_of("ring8", "gan"), game_of("ring8", "gan", "instance-noise")
        assert torch.equal(plain.sample(8, "evaluation"), noisy.sample(8, "evaluation"))

    def test_each_run_has_its_own_sigma(self) -> None:
        specs = [
            make_spec("ring8", "gan", [("instance-noise", {"sigma": sigma})], precision="float64")
            for sigma in (0.1, 0.4)
        ]
        game = make_trainer(specs).game
        batch = Batch(game, "discriminator", 0)
        noise = batch.shown_real - batch.real
        torch.testing.assert_close(noise[1], 4 * noise[0])

    def test_it_applies_to_every_objective(self) -> None:
        for name in ("gan", "lsgan", "wgan", "wgan-gp", "sngan"):
            assert refusal(make_spec("ring8", name, ["instance-noise"])) is None

    @pytest.mark.parametrize("sigma", [0, -0.1])
    def test_what_is_no_noise_is_refused(self, sigma: float) -> None:
        with pytest.raises(ValidationError):
            tricks.get("instance-noise")(sigma=sigma)
