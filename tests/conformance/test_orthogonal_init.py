"""Proves orthogonal initialisation: orthonormal first weights, in the network it is asked for."""

import pytest
import torch
from torch import Tensor

from harness.testing.cells import game_of, refusal
from harness.testing.specs import make_spec


def gaps(weights: dict[str, Tensor]) -> list[float]:
    """Return how far each kernel of the first run is from orthonormal rows or columns."""
    found = []
    for name, weight in weights.items():
        if name.endswith("weight") and weight.ndim > 2:
            matrix = weight[0].detach().flatten(1)
            matrix = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.mT
            products = [[float(a @ b) for b in matrix] for a in matrix]
            found.append(
                max(
                    abs(products[i][j] - (i == j))
                    for i in range(len(matrix))
                    for j in range(len(matrix))
                )
            )
    return found


class TestOrthogonalInit:
    """First weights as orthogonal matrices."""

    @pytest.mark.parametrize(("dataset", "variant"), [("ring8", "gan"), ("digits", "dcgan")])
    @pytest.mark.parametrize("where", ["G", "D", "both"])
    def test_the_first_weights(self, dataset: str, variant: str, where: str) -> None:
        plain = game_of(dataset, variant)
        game = game_of(dataset, variant, ("orthogonal-init", {"where": where}))
        for network, before, other in ((game.G, plain.G, "D"), (game.D, plain.D, "G")):
            if where == other:
                assert torch.equal(network.theta, before.theta)
                continue
            assert max(gaps(network.parameters())) < 1e-5
            assert min(gaps(before.parameters())) > 1e-3
            for name, value in network.parameters().items():
                if not name.endswith("weight") or value.ndim == 2:
                    assert value.shape == before.parameters()[name].shape

    def test_seeds_start_apart(self) -> None:
        theta = game_of("ring8", "gan", "orthogonal-init", runs=2).G.theta
        assert not torch.equal(theta[0], theta[1])

    def test_under_spectral_norm_every_singular_value_is_one(self) -> None:
        game = game_of("ring8", "sngan", ("orthogonal-init", {"where": "D"}))
        weights = game.D.parameters()
        kernels = [value[0] for value in weights.values() if value.ndim == 3]
        assert len(kernels) == 3
        for kernel in kernels:
            singular = torch.linalg.svdvals(kernel)
            torch.testing.assert_close(singular, torch.ones_like(singular), rtol=1e-5, atol=1e-5)

    def test_twice_is_refused(self) -> None:
        spec = make_spec("ring8", "gan", [("orthogonal-init", {"where": "D"})])
        assert refusal(spec) is None
        again = [("orthogonal-init", {}), ("orthogonal-init", {"where": "D"})]
        assert refusal(make_spec("ring8", "gan", again)) == (
            "what orthogonal-init builds is built otherwise by another trick; leave one of them out"
        )
