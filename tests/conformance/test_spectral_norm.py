"""Proves spectral normalisation as a trick: every weight of D, its largest singular value 1."""

import pytest
import torch
from torch import Tensor, nn

from harness.networks.base import build_discriminator
from harness.networks.spectral import SpectralNorm
from harness.parts.blueprint import blueprint_of
from harness.testing.cells import game_of, refusal, trainer_of
from harness.testing.specs import make_spec
from harness.training.batch import Batch


def used_weights(module: nn.Module) -> dict[str, Tensor]:
    """Return the weights that a discriminator computes with, output dimension first."""
    return {
        name: layer.weight.detach().flatten(1)
        for name, layer in module.named_modules()
        if isinstance(layer, nn.Linear | nn.Conv2d)
    }


class TestSpectralNorm:
    """The discriminator's weights and the step."""

    @pytest.mark.parametrize(
        ("dataset", "variant"), [("ring8", "gan"), ("digits", "dcgan"), ("digits", "wgan-gp")]
    )
    def test_every_weights_largest_singular_value_becomes_one(
        self, dataset: str, variant: str
    ) -> None:
        trainer = trainer_of(dataset, variant, "spectral-norm", batch=4)
        game = trainer.game
        x = Batch(game, "discriminator", 0).real
        for _ in range(200):
            game.D(x)
        module = build_discriminator(blueprint_of(trainer.specs[0])).double()
        module.load_state_dict(game.D.state(0))
        weights = used_weights(module.eval())
        assert len(weights) >= 3
        for name, weight in weights.items():
            largest = torch.linalg.svdvals(weight)[0].item()
            assert largest == pytest.approx(1.0, abs=1e-4), name

    def test_the_discriminator_is_the_plain_one_with_each_weight_divided(self) -> None:
        plain, normal = game_of("ring8", "gan"), game_of("ring8", "gan", "spectral-norm")
        x = Batch(plain, "discriminator", 0).real
        for _ in range(300):
            normal.D(x)
        weights = plain.D.parameters()
        h = x[0]
        for layer in ("hidden.hidden1.0", "hidden.hidden2.0", "head.output"):
            W, b = (weights[f"{layer}.{kind}"][0].detach() for kind in ("weight", "bias"))
            h = h @ (W / torch.linalg.svdvals(W)[0]).T + b
            if layer != "head.output":
                h = torch.where(h > 0, h, 0.2 * h)
        torch.testing.assert_close(normal.D(x).logits[0], h[:, 0], rtol=1e-6, atol=1e-9)

    def test_each_forward_pass_in_training_iterates_once_and_each_run_by_itself(self) -> None:
        game = game_of("ring8", "gan", "spectral-norm", runs=2)
        name = "hidden.hidden2.0.parametrizations.weight"
        W = game.D.parameters()[f"{name}.original"].detach()
        u = game.D.buffers[f"{name}.0.u"].clone()
        game.D(Batch(game, "discriminator", 0).real)
        for run in range(2):
            v = W[run].T @ u[run]
            v = v / v.norm()
            expected = W[run] @ v
            found = game.D.buffers[f"{name}.0.u"][run]
            torch.testing.assert_close(found, expected / expected.norm())
        assert not torch.equal(u[0], u[1])

    def test_batch_normalisation_stays(self) -> None:
        spec = make_spec("digits", "dcgan", ["spectral-norm"])
        module = build_discriminator(blueprint_of(spec))
        assert any(isinstance(layer, nn.BatchNorm2d) for layer in module.modules())
        assert sum(isinstance(layer, SpectralNorm) for layer in module.modules()) == 3

    def test_only_the_discriminator_has_it(self) -> None:
        game = game_of("digits", "dcgan", "spectral-norm")
        assert not any("parametrizations" in name for name in game.G.names)
        assert any("parametrizations" in name for name in game.D.names)

    def test_a_patch_discriminator_has_it_too(self) -> None:
        for order in (["spectral-norm", "patchgan"], ["patchgan", "spectral-norm"]):
            module = build_discriminator(blueprint_of(make_spec("digits", "dcgan", order)))
            assert sum(isinstance(layer, SpectralNorm) for layer in module.modules()) == 2

    def test_it_changes_what_is_learned(self) -> None:
        plain, normal = trainer_of("ring8", "gan"), trainer_of("ring8", "gan", "spectral-norm")
        first = [trainer.game.D.theta.sort().values for trainer in (plain, normal)]
        assert torch.equal(*first)
        for trainer in (plain, normal):
            trainer.train_step()
        assert not torch.equal(plain.game.D.theta, normal.game.D.theta)
        assert not torch.equal(plain.game.G.theta, normal.game.G.theta)

    def test_sngan_has_it_already(self) -> None:
        reason = refusal(make_spec("ring8", "sngan", ["spectral-norm"]))
        assert reason == "sngan normalises its discriminator's weights already"
        for variant in ("gan", "lsgan", "wgan", "wgan-gp"):
            assert refusal(make_spec("ring8", variant, ["spectral-norm"])) is None
