"""Proves the latents' law: uniform numbers, paired with the normal ones, everywhere."""

import math

import pytest
import torch
from pydantic import ValidationError
from scipy import stats

from harness.parts import tricks
from harness.testing.cells import game_of, refusal, trainer_of
from harness.testing.specs import make_spec
from harness.training.batch import Batch


class TestLatent:
    """Another law of z."""

    def test_formula(self) -> None:
        z = torch.linspace(-4, 4, 41, dtype=torch.float64)
        found = tricks.get("latent")().latents(z)
        expected = [2 * (0.5 * (1 + math.erf(v / math.sqrt(2)))) - 1 for v in z.tolist()]
        assert found.tolist() == pytest.approx(expected, abs=1e-12)

    def test_the_law_is_uniform(self) -> None:
        game = trainer_of("ring8", "gan", "latent", batch=512, latent=16).game
        z = Batch(game, "discriminator", 0).latents.flatten()
        assert z.min() > -1
        assert z.max() < 1
        assert stats.kstest(z.numpy(), stats.uniform(-1, 2).cdf).pvalue > 0.01
        plain = trainer_of("ring8", "gan", batch=512, latent=16).game
        normal = Batch(plain, "discriminator", 0).latents.flatten()
        assert stats.kstest(normal.numpy(), stats.uniform(-1, 2).cdf).pvalue < 1e-9

    @pytest.mark.parametrize("phase", ["discriminator", "generator"])
    def test_latents_are_paired_with_the_normal_ones(self, phase: str) -> None:
        plain, uniform = game_of("ring8", "gan", runs=2), game_of("ring8", "gan", "latent", runs=2)
        normal, found = (Batch(game, phase, 3).latents for game in (plain, uniform))
        ranks = torch.tensor(stats.norm.cdf(normal.numpy()))
        torch.testing.assert_close(found, 2 * ranks - 1, rtol=0, atol=1e-12)
        assert torch.equal(found.flatten().argsort(), normal.flatten().argsort())

    def test_measurement_draws_by_the_same_law(self) -> None:
        game = game_of("ring8", "gan", "latent")
        seen = []
        inner = type(game).latents
        game.latents = lambda *args: (seen.append(inner(game, *args)), seen[-1])[1]
        samples = game.sample(8, "evaluation")
        assert seen[0].abs().max() < 1
        plain = game_of("ring8", "gan")
        assert not torch.equal(samples, plain.sample(8, "evaluation"))

    def test_training_differs_from_training_without(self) -> None:
        plain, uniform = trainer_of("ring8", "gan"), trainer_of("ring8", "gan", "latent")
        assert torch.equal(plain.game.G.theta, uniform.game.G.theta)
        for trainer in (plain, uniform):
            trainer.train_step()
        assert not torch.equal(plain.game.G.theta, uniform.game.G.theta)

    def test_the_law_that_z_has_anyway_is_refused(self) -> None:
        reason = refusal(make_spec("ring8", "gan", [("latent", {"law": "normal"})]))
        assert reason == "latents are normal without it"
        assert refusal(make_spec("ring8", "gan", ["latent"])) is None
        with pytest.raises(ValidationError):
            tricks.get("latent")(law="cauchy")
