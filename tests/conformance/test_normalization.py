"""Proves the normalisation trick: over what it averages, where it is put, whom it overrules."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from harness.networks.layers import normalization
from harness.testing.cells import game_of, refusal, train
from harness.testing.specs import make_spec
from harness.training.batch import Batch

AXES = {"batch": (0, 2, 3), "layer": (1, 2, 3), "instance": (2, 3)}
KINDS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.GroupNorm)


def normalized(x: Tensor, kind: str) -> Tensor:
    """Normalise by the definition."""
    axes = AXES[kind]
    mean = x.mean(axes, keepdim=True)
    variance = ((x - mean) ** 2).mean(axes, keepdim=True)
    return (x - mean) / torch.sqrt(variance + 1e-5)


def layers(network: nn.Module) -> list[nn.Module]:
    return [layer for layer in network.modules() if isinstance(layer, KINDS)]


def is_of(layer: nn.Module, kind: str) -> bool:
    if kind == "batch":
        return isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d)
    groups = 1 if kind == "layer" else layer.num_channels
    return isinstance(layer, nn.GroupNorm) and layer.num_groups == groups


class TestNormalization:
    """Normalisation of G, D or both."""

    @pytest.mark.parametrize("kind", AXES)
    def test_formula(self, kind: str) -> None:
        x = torch.randn(4, 3, 5, 5, generator=torch.Generator().manual_seed(2)).double() * 3 + 1
        layer = normalization(kind, 3, dimensions=2).double()
        torch.testing.assert_close(layer(x), normalized(x, kind))

    @pytest.mark.parametrize("where", ["G", "D", "both"])
    @pytest.mark.parametrize("kind", ["layer", "instance", "none"])
    def test_it_is_put_where_it_should_be(self, where: str, kind: str) -> None:
        game = game_of("digits", "dcgan", ("normalization", {"kind": kind, "where": where}))
        for network, own in ((game.G, "D"), (game.D, "G")):
            expected = "batch" if where == own else kind
            found = layers(network)
            assert (found == []) == (expected == "none")
            assert all(is_of(layer, expected) for layer in found)

    def test_it_can_break_a_critic_on_request(self) -> None:
        # The mistake of S6: batch normalisation couples the examples of a wgan-gp critic's batch.
        trick: Any = ("normalization", {"kind": "batch", "where": "D"})
        broken, sound = game_of("digits", "wgan-gp", trick), game_of("digits", "wgan-gp")
        assert layers(sound.D) == []
        assert all(is_of(layer, "batch") for layer in layers(broken.D))
        for game, coupled in ((broken, True), (sound, False)):
            batch = Batch(game, "discriminator", 0)
            x = batch.real
            other = torch.cat([x[:, :1], -x[:, 1:]], dim=1)
            first, second = (batch.judge(data, "x").logits[0, 0] for data in (x, other))
            assert (not torch.equal(first, second)) == coupled
        spec = make_spec("digits", "wgan-gp", [trick])
        assert refusal(spec) is None
        assert train([spec], 2).read()[1] == [None]

    def test_mlps_can_be_normalised_too(self) -> None:
        game = game_of("ring8", "gan", ("normalization", {"kind": "batch"}))
        for network in (game.G, game.D):
            found = layers(network)
            assert len(found) == 2
            assert all(is_of(layer, "batch") for layer in found)

    def test_spectral_normalisation_stays(self) -> None:
        game = game_of("digits", "sngan", ("normalization", {"kind": "layer", "where": "D"}))
        assert {name.rpartition(".")[2] for name in game.D.buffers} == {"u", "v"}
        assert layers(game.D)

    @pytest.mark.parametrize(
        ("dataset", "variant", "options", "reason"),
        [
            ("digits", "dcgan", {"kind": "batch"}, "dcgan16 under dcgan already has batch in both"),
            (
                "digits",
                "wgan-gp",
                {"kind": "none", "where": "D"},
                "dcgan16 under wgan-gp already has none in D",
            ),
            ("digits", "wgan-gp", {"kind": "batch"}, None),
            ("ring8", "wgan", {"kind": "none"}, "toy2d under wgan already has none in both"),
            (
                "ring8",
                "gan",
                {"kind": "instance"},
                "the generator toy2d-norm has no instance normalisation",
            ),
        ],
    )
    def test_refusals(
        self, dataset: str, variant: str, options: dict[str, Any], reason: str | None
    ) -> None:
        assert refusal(make_spec(dataset, variant, [("normalization", options)])) == reason
