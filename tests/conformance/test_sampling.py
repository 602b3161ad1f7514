"""Proves sampling: how maps double and halve, pixel by pixel, and where it applies."""

from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from harness.networks.dcgan import doubling, halving
from harness.parts import tricks
from harness.testing.cells import game_of, refusal
from harness.testing.specs import make_spec

Image = list[list[float]]


def convolved(x: Tensor, weight: Tensor, stride: int) -> Tensor:
    """Convolve ``(channels, height, width)`` with padding 1, sum by sum."""
    after, before, kernel, _ = weight.shape
    side = (x.shape[1] + 2 - kernel) // stride + 1
    out = torch.zeros(after, side, side, dtype=x.dtype)
    for o in range(after):
        for i in range(side):
            for j in range(side):
                for c in range(before):
                    for k in range(kernel):
                        for m in range(kernel):
                            row, column = i * stride + k - 1, j * stride + m - 1
                            if 0 <= row < x.shape[1] and 0 <= column < x.shape[2]:
                                out[o, i, j] += weight[o, c, k, m] * x[c, row, column]
    return out


def doubled(kind: str, layer: nn.Module, x: Tensor) -> Tensor:
    """Double by the definition."""
    side = x.shape[1]
    if kind == "transposed":
        weight = layer.weight
        out = torch.zeros(weight.shape[1], 2 * side, 2 * side, dtype=x.dtype)
        for c, i, j, o, k, m in torch.cartesian_prod(
            *map(torch.arange, (len(x), side, side, len(out), 4, 4))
        ).tolist():
            row, column = 2 * i + k - 1, 2 * j + m - 1
            if 0 <= row < 2 * side and 0 <= column < 2 * side:
                out[o, row, column] += x[c, i, j] * weight[c, o, k, m]
        return out
    if kind == "nearest":
        grown = torch.zeros(len(x), 2 * side, 2 * side, dtype=x.dtype)
        for i in range(2 * side):
            for j in range(2 * side):
                grown[:, i, j] = x[:, i // 2, j // 2]
        return convolved(grown, layer[1].weight, 1)
    maps = convolved(x, layer[0].weight, 1)
    out = torch.zeros(len(maps) // 4, 2 * side, 2 * side, dtype=x.dtype)
    for o, i, j in torch.cartesian_prod(
        *map(torch.arange, (len(out), 2 * side, 2 * side))
    ).tolist():
        out[o, i, j] = maps[4 * o + 2 * (i % 2) + j % 2, i // 2, j // 2]
    return out


def halved(kind: str, layer: nn.Module, x: Tensor) -> Tensor:
    """Halve by the definition."""
    if kind == "stride":
        return convolved(x, layer.weight, 2)
    maps = convolved(x, layer[0].weight, 1)
    side = x.shape[1] // 2
    out = torch.zeros(len(maps), side, side, dtype=x.dtype)
    for o, i, j in torch.cartesian_prod(*map(torch.arange, (len(maps), side, side))).tolist():
        four = maps[o, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2]
        out[o, i, j] = four.max() if kind == "max" else four.sum() / 4
    return out


def layers(network: nn.Module, *kinds: type[nn.Module]) -> int:
    return sum(isinstance(layer, kinds) for layer in network.modules())


class TestSampling:
    """Ways to double and to halve."""

    @pytest.mark.parametrize("kind", ["transposed", "pixel-shuffle", "nearest"])
    def test_doubling(self, kind: str) -> None:
        torch.manual_seed(5)
        layer = doubling(kind, 2, 3, bias=False).double()
        x = torch.randn(2, 3, 3, dtype=torch.float64)
        with torch.no_grad():
            torch.testing.assert_close(layer(x[None])[0], doubled(kind, layer, x))

    @pytest.mark.parametrize("kind", ["stride", "average", "max"])
    def test_halving(self, kind: str) -> None:
        torch.manual_seed(5)
        layer = halving(kind, 2, 3, bias=False).double()
        x = torch.randn(2, 4, 4, dtype=torch.float64)
        with torch.no_grad():
            torch.testing.assert_close(layer(x[None])[0], halved(kind, layer, x))

    @pytest.mark.parametrize(
        ("up", "kind"), [("pixel-shuffle", nn.PixelShuffle), ("nearest", nn.Upsample)]
    )
    def test_the_generator_is_built_of_it_throughout(self, up: str, kind: type) -> None:
        G = game_of("digits", "dcgan", ("sampling", {"up": up})).G
        assert layers(G, kind) == 2  # 4×4 to 8×8 to 16×16
        assert layers(G, nn.ConvTranspose2d) == 1  # from z to 4×4

    @pytest.mark.parametrize(("down", "kind"), [("average", nn.AvgPool2d), ("max", nn.MaxPool2d)])
    def test_the_discriminator_is_built_of_it_throughout(self, down: str, kind: type) -> None:
        D = game_of("digits", "dcgan", ("sampling", {"down": down})).D
        assert layers(D, kind) == 2
        assert all(layer.stride == (1, 1) for layer in D.modules() if isinstance(layer, nn.Conv2d))

    def test_a_direction_that_is_not_given_stays(self) -> None:
        plain = game_of("digits", "dcgan")
        up = game_of("digits", "dcgan", ("sampling", {"up": "nearest"}))
        down = game_of("digits", "dcgan", ("sampling", {"down": "max"}))
        assert torch.equal(up.D.theta, plain.D.theta)
        assert torch.equal(down.G.theta, plain.G.theta)
        assert up.G.sizes != plain.G.sizes
        assert down.D.sizes != plain.D.sizes

    def test_nothing_given_is_refused(self) -> None:
        with pytest.raises(ValidationError, match="give up, down or both"):
            tricks.get("sampling")()

    @pytest.mark.parametrize(
        ("options", "reason"),
        [
            (
                {"up": "transposed"},
                "the networks of dcgan16 already sample by transposed",
            ),
            (
                {"up": "transposed", "down": "stride"},
                "the networks of dcgan16 already sample by transposed and stride",
            ),
            ({"up": "transposed", "down": "max"}, None),
            ({"up": "nearest"}, None),
        ],
    )
    def test_what_changes_nothing_is_refused(
        self, options: dict[str, Any], reason: str | None
    ) -> None:
        assert refusal(make_spec("digits", "dcgan", [("sampling", options)])) == reason

    @pytest.mark.parametrize("network", ["mlp-small", "toy2d"])
    def test_networks_without_maps_are_refused(self, network: str) -> None:
        dataset = "ring8" if network == "toy2d" else "digits"
        spec = make_spec(dataset, "gan", [("sampling", {"down": "max"})], network=network)
        reason = refusal(spec)
        assert reason == f"the discriminator {network} cannot be built with another downsampling"

    def test_a_patch_discriminator_only_strides(self) -> None:
        both = ["patchgan", ("sampling", {"down": "max"})]
        reason = refusal(make_spec("digits", "dcgan", both))
        assert reason == "the discriminator patch cannot be built with another downsampling"
        assert (
            refusal(make_spec("digits", "dcgan", ["patchgan", ("sampling", {"up": "nearest"})]))
            is None
        )
