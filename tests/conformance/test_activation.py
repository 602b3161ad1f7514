"""Proves the activation trick: the functions, where they are put, and what changes nothing."""

import math
from typing import Any

import pytest
import torch
from torch import nn

from harness.networks.layers import activation
from harness.testing.cells import game_of, refusal
from harness.testing.specs import make_spec

FORMULAS = {
    "relu": lambda t: max(t, 0.0),
    "leaky-relu": lambda t: t if t > 0 else 0.2 * t,
    "elu": lambda t: t if t > 0 else math.exp(t) - 1,
}
KINDS = {"relu": nn.ReLU, "leaky-relu": nn.LeakyReLU, "elu": nn.ELU}


def kinds(network: nn.Module) -> set[str]:
    return {
        name for name, kind in KINDS.items() if any(isinstance(m, kind) for m in network.modules())
    }


class TestActivation:
    """Hidden non-linearities of G and D."""

    @pytest.mark.parametrize("kind", FORMULAS)
    def test_formula(self, kind: str) -> None:
        points = [-3.0, -0.5, 0.0, 0.25, 2.0]
        found = activation(kind)(torch.tensor(points, dtype=torch.float64))
        assert found.tolist() == pytest.approx([FORMULAS[kind](t) for t in points], rel=1e-12)

    @pytest.mark.parametrize(("dataset", "variant"), [("ring8", "gan"), ("digits", "dcgan")])
    @pytest.mark.parametrize("where", ["G", "D", "both"])
    @pytest.mark.parametrize("kind", FORMULAS)
    def test_it_is_put_where_it_should_be(
        self, dataset: str, variant: str, where: str, kind: str
    ) -> None:
        game = game_of(dataset, variant, ("activation", {"kind": kind, "where": where}))
        G, D = game.G, game.D
        assert kinds(G) == ({"relu"} if where == "D" else {kind})
        assert kinds(D) == ({"leaky-relu"} if where == "G" else {kind})

    def test_only_what_is_computed_changes(self) -> None:
        plain = game_of("ring8", "wgan")  # whose G has no normalisation
        tricked = game_of("ring8", "wgan", ("activation", {"kind": "elu"}))
        assert torch.equal(plain.G.theta, tricked.G.theta)
        assert torch.equal(plain.D.theta, tricked.D.theta)
        z = torch.randn(1, 5, 4, dtype=torch.float64)
        first, last = "hidden.hidden1.0", "output"
        weights = tricked.G.parameters()
        h = z @ weights[f"{first}.weight"].mT + weights[f"{first}.bias"]
        h = torch.where(h > 0, h, h.exp() - 1)
        h = h @ weights["hidden.hidden2.0.weight"].mT + weights["hidden.hidden2.0.bias"]
        h = torch.where(h > 0, h, h.exp() - 1)
        expected = h @ weights[f"{last}.weight"].mT + weights[f"{last}.bias"]
        torch.testing.assert_close(tricked.G(z), expected)
        assert not torch.equal(plain.G(z), expected)

    @pytest.mark.parametrize(
        ("options", "reason"),
        [
            ({"kind": "relu", "where": "G"}, "toy2d-norm already has relu in G"),
            ({"where": "D"}, "toy2d-norm already has leaky-relu in D"),
            ({}, None),
            ({"kind": "relu"}, None),
            ({"kind": "elu", "where": "D"}, None),
        ],
    )
    def test_what_changes_nothing_is_refused(
        self, options: dict[str, Any], reason: str | None
    ) -> None:
        assert refusal(make_spec("ring8", "gan", [("activation", options)])) == reason

    def test_what_an_earlier_trick_did_counts(self) -> None:
        elu: Any = ("activation", {"kind": "elu", "where": "D"})
        assert refusal(make_spec("digits", "dcgan", [elu, "patchgan"])) is None
        D = game_of("digits", "dcgan", elu, "patchgan").D
        assert kinds(D) == {"elu"}
        back: Any = ("activation", {"where": "D"})
        assert refusal(make_spec("digits", "dcgan", ["patchgan", back])) is not None
