"""Proves weight clipping: every weight of D, after every update of D, and nothing else."""

import pytest
import torch
from pydantic import ValidationError

from harness.parts import tricks
from harness.testing.cells import make_trainer, refusal, trainer_of
from harness.testing.specs import make_spec


class TestWeightClipping:
    """Bounds on D's weights, whatever the objective."""

    def test_formula(self) -> None:
        plain = trainer_of("ring8", "gan", lr_d=0.05)
        clipped = trainer_of("ring8", "gan", ("weight-clipping", {"clip": 0.1}), lr_d=0.05)
        assert torch.equal(plain.game.D.theta, clipped.game.D.theta)
        for trainer in (plain, clipped):
            trainer.update("discriminator")
        expected = [min(max(w, -0.1), 0.1) for w in plain.game.D.theta[0].tolist()]
        assert clipped.game.D.theta[0].tolist() == expected
        assert sum(abs(w) == 0.1 for w in expected) > 10

    @pytest.mark.parametrize("variant", ["gan", "lsgan", "wgan-gp"])
    def test_every_weight_stays_within_after_every_update(self, variant: str) -> None:
        trainer = trainer_of("digits", variant, "weight-clipping", lr_d=0.05)
        assert trainer.game.D.theta.abs().max() > 0.01
        for _ in range(3):
            trainer.update("discriminator")
            assert trainer.game.D.theta.abs().max() == 0.01
        assert trainer.game.D.theta.requires_grad

    def test_the_generator_is_not_clipped(self) -> None:
        trainer = trainer_of("ring8", "gan", "weight-clipping")
        before = trainer.game.G.theta.detach().clone()
        trainer.update("discriminator")
        assert torch.equal(trainer.game.G.theta, before)
        trainer.update("generator")
        assert trainer.game.G.theta.abs().max() > 0.01

    def test_on_a_wasserstein_critic_it_is_wgan(self) -> None:
        loose = ("wgan", {"clip": 1e9, "boost": False})
        spec = make_spec("ring8", ("wgan", {"clip": 0.02, "boost": False}), precision="float64")
        expected = make_trainer([spec])
        built = trainer_of("ring8", loose)
        built.game.parts = [*built.game.parts, tricks.get("weight-clipping")(clip=0.02)]
        for trainer in (expected, built):
            trainer.train_step()
        assert torch.equal(expected.game.D.theta, built.game.D.theta)
        assert torch.equal(expected.game.G.theta, built.game.G.theta)

    def test_each_run_has_its_own_bound(self) -> None:
        bounds = (0.05, 0.2)
        specs = [
            make_spec("ring8", "gan", [("weight-clipping", {"clip": bound})]) for bound in bounds
        ]
        trainer = make_trainer(specs)
        trainer.train_step()
        assert trainer.game.D.theta.abs().amax(1).tolist() == pytest.approx(bounds)

    def test_wgan_clips_already(self) -> None:
        reason = refusal(make_spec("ring8", "wgan", ["weight-clipping"]))
        assert reason == "wgan clips its weights already; change its clip"
        for variant in ("gan", "lsgan", "wgan-gp", "sngan"):
            assert refusal(make_spec("ring8", variant, ["weight-clipping"])) is None

    @pytest.mark.parametrize("clip", [0, -0.1])
    def test_what_is_no_bound_is_refused(self, clip: float) -> None:
        with pytest.raises(ValidationError):
            tricks.get("weight-clipping")(clip=clip)
