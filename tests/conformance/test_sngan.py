"""Proves the spectral normalisation of sngan's discriminator."""

import pytest
import torch
from torch import nn

from harness.networks.spectral import SpectralNorm
from harness.testing.cells import make_trainer
from harness.testing.specs import make_spec
from harness.training.batch import Batch


class TestSpectralNorm:
    """Every weight of sngan's discriminator has a largest singular value of one."""

    @pytest.mark.parametrize("dataset", ["ring8", "digits"])
    def test_weights_have_norm_one_while_training(self, dataset: str) -> None:
        trainer = make_trainer([make_spec(dataset, "sngan", seed=seed) for seed in (0, 1)])
        for _ in range(30):
            trainer.train_step()
        for run in range(2):
            state = trainer.game.D.state(run)
            layers = [n.removesuffix(".original") for n in state if n.endswith(".original")]
            assert len(layers) == 3
            for layer in layers:
                matrix = state[f"{layer}.original"].flatten(1).double()
                u, v = state[f"{layer}.0.u"].double(), state[f"{layer}.0.v"].double()
                largest = torch.linalg.svdvals(matrix / (u @ matrix @ v))[0]
                assert float(largest) == pytest.approx(1.0, abs=0.02)

    def test_a_weight_is_divided_as_torch_divides_it(self) -> None:
        torch.manual_seed(0)
        ours, theirs = nn.Linear(7, 5).double(), nn.Linear(7, 5).double()
        theirs.load_state_dict(ours.state_dict())
        nn.utils.parametrize.register_parametrization(ours, "weight", SpectralNorm(ours.weight))
        nn.utils.parametrizations.spectral_norm(theirs)
        norm, expected = ours.parametrizations.weight[0], theirs.parametrizations.weight[0]
        expected._u.copy_(norm.u)
        expected._v.copy_(norm.v)
        ours.eval()
        theirs.eval()
        torch.testing.assert_close(ours.weight, theirs.weight, rtol=1e-14, atol=1e-14)
        x = torch.randn(4, 7, dtype=torch.float64)
        for layer in (ours, theirs):
            layer(x).square().sum().backward()
        torch.testing.assert_close(
            ours.parametrizations.weight.original.grad,
            theirs.parametrizations.weight.original.grad,
            rtol=1e-12,
            atol=1e-12,
        )

    @pytest.mark.parametrize(
        "layer", [nn.Linear(7, 5), nn.Conv2d(2, 6, 4)], ids=["linear", "convolution"]
    )
    def test_power_iteration_is_the_papers(self, layer: nn.Module) -> None:
        torch.manual_seed(1)
        norm = SpectralNorm(layer.weight.double()).double()
        matrix = layer.weight.detach().double().flatten(1).numpy()
        u = norm.u.numpy().copy()
        norm(layer.weight.double())
        v = matrix.T @ u
        v /= (v**2).sum() ** 0.5
        after = matrix @ v
        after /= (after**2).sum() ** 0.5
        torch.testing.assert_close(norm.v, torch.from_numpy(v), rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(norm.u, torch.from_numpy(after), rtol=1e-12, atol=1e-12)
        norm.eval()
        kept = norm.u.clone(), norm.v.clone()
        norm(layer.weight.double())
        assert torch.equal(norm.u, kept[0])
        assert torch.equal(norm.v, kept[1])

    def test_the_start_is_a_good_estimate(self) -> None:
        torch.manual_seed(2)
        weight = torch.randn(64, 48, dtype=torch.float64)
        norm = SpectralNorm(weight).eval()
        found = torch.linalg.svdvals(norm(weight))[0]
        assert float(found) == pytest.approx(1.0, abs=0.05)

    def test_it_replaces_normalisation_of_activations(self) -> None:
        trainer = make_trainer([make_spec("digits", "sngan")])
        assert not any("running_mean" in name for name in trainer.game.D.buffers)
        assert any("running_mean" in name for name in trainer.game.G.buffers)


def test_the_generators_batch_is_a_multiple_of_the_batch() -> None:
    trainer = make_trainer([make_spec("ring8", ("sngan", {"g_batch": 2, "d_steps": 3}))])
    game = trainer.game
    assert game.schedule.updates(0) == (3, 1)
    assert Batch(game, "generator", 0).fake.shape == (1, 16, 2)
    assert Batch(game, "discriminator", 0).fake.shape == (1, 8, 2)
    batch = Batch(game, "generator", 0)
    expected = -batch.judged_fake.logits.sum(1) / 16
    torch.testing.assert_close(game.generator_loss(Batch(game, "generator", 0)), expected)
    trainer.train_step()
    assert (trainer.optimizer_d.updates, trainer.optimizer_g.updates) == (3, 1)
