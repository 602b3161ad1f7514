"""The families of particular papers: sizes, layers, first weights, and what is special."""

import math
from itertools import pairwise, product
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from harness.networks.base import build_discriminator, build_generator, networks, unsupported
from harness.networks.blueprint import Blueprint, DiscriminatorPlan, GeneratorPlan
from harness.networks.dropout import StreamDropout
from harness.networks.maxout import Maxout
from harness.networks.r3gan import Basis, Block, Doubled, Halved

DIGIT, PHOTO = (1, 28, 28), (3, 32, 32)


def pair(name: str, shape: tuple[int, ...], **asked: Any) -> tuple[nn.Module, nn.Module]:
    """Build both networks at the family's own width and latent."""
    family = networks.get(name)
    torch.manual_seed(0)
    plan = Blueprint(
        GeneratorPlan(name, family.default_width, **asked),
        DiscriminatorPlan(name, family.default_width, **asked),
        family.default_latent,
        shape,
    )
    return build_generator(plan), build_discriminator(plan)


def count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def dense(*units: int) -> int:
    """Count the weights and biases of a chain of linear layers."""
    return sum((before + 1) * after for before, after in pairwise(units))


def of_kind(module: nn.Module, kind: Any) -> list[Any]:
    return [child for child in module.modules() if isinstance(child, kind)]


class TestDCGAN64:
    """The counts that the all-convolutional form is known by."""

    def test_the_all_convolutional_form(self) -> None:
        assert tuple(map(count, pair("dcgan64", (3, 64, 64)))) == (3_576_704, 2_765_696)

    def test_the_form_with_fully_connected_layers(self) -> None:
        # G's first layer gains a bias of 16·512; D's logit one.
        found = tuple(map(count, pair("dcgan64-fc", (3, 64, 64))))
        assert found == (3_576_704 + 16 * 512, 2_765_696 + 1)


class TestMLPS1:
    """z → 128 → 256 → 512 → 1024 → image; image → 512 → 256 → 1."""

    @pytest.mark.parametrize("name", ["mlp-s1", "mlp-s1-eps"])
    def test_sizes(self, name: str) -> None:
        G, D = pair(name, DIGIT)
        found = [(m.in_features, m.out_features) for m in of_kind(G, nn.Linear)]
        assert found == [(100, 128), (128, 256), (256, 512), (512, 1024), (1024, 784)]
        found = [(m.in_features, m.out_features) for m in of_kind(D, nn.Linear)]
        assert found == [(784, 512), (512, 256), (256, 1)]
        assert count(G) == dense(100, 128, 256, 512, 1024, 784) + 2 * (256 + 512 + 1024)
        assert count(D) == dense(784, 512, 256, 1)

    def test_layers(self) -> None:
        G, D = pair("mlp-s1", DIGIT)
        assert [m.num_features for m in of_kind(G, nn.BatchNorm1d)] == [256, 512, 1024]
        assert not of_kind(D, nn.BatchNorm1d)
        assert [m.negative_slope for m in of_kind(G, nn.LeakyReLU)] == [0.2] * 4
        assert [m.negative_slope for m in of_kind(D, nn.LeakyReLU)] == [0.2] * 2
        assert not of_kind(G, nn.ReLU)
        assert len(of_kind(G, nn.Tanh)) == 1

    @pytest.mark.parametrize(
        ("name", "eps", "momentum"), [("mlp-s1", 1e-5, 0.8), ("mlp-s1-eps", 0.8, 0.1)]
    )
    @pytest.mark.parametrize("asked", [{}, {"normalization": "batch"}])
    def test_where_the_eight_tenths_go(
        self, name: str, eps: float, momentum: float, asked: dict[str, Any]
    ) -> None:
        norms = [m for net in pair(name, DIGIT, **asked) for m in of_kind(net, nn.BatchNorm1d)]
        assert len(norms) == (5 if asked else 3)
        assert {(m.eps, m.momentum) for m in norms} == {(eps, momentum)}

    def test_the_two_readings_differ_in_training_by_the_eps_alone(self) -> None:
        z = torch.randn(64, 100, generator=torch.Generator().manual_seed(0))
        (G, _), (other, _) = pair("mlp-s1", DIGIT), pair("mlp-s1-eps", DIGIT)
        assert torch.equal(*(next(net.parameters()) for net in (G, other)))
        seen = {}
        for name, net in (("momentum", G), ("eps", other)):
            norm = of_kind(net, nn.BatchNorm1d)[0]
            norm.register_forward_hook(
                lambda layer, inputs, output, name=name: seen.update({name: (inputs[0], output)})
            )
            net(z)
        (before, plain), (same, damped) = seen["momentum"], seen["eps"]
        assert torch.equal(before, same)
        variance = before.var(0, correction=0)
        torch.testing.assert_close(plain.var(0, correction=0), variance / (variance + 1e-5))
        torch.testing.assert_close(damped.var(0, correction=0), variance / (variance + 0.8))
        assert variance.max() < 0.8  # so that the eps outweighs what it should only protect


class TestMaxout:
    """The first GAN's networks."""

    def test_sizes(self) -> None:
        G, D = pair("maxout", DIGIT)
        assert count(G) == dense(100, 1200, 1200, 784)
        assert count(D) == dense(784, 240 * 5) + dense(240, 240 * 5) + dense(240, 1)
        assert len(of_kind(G, nn.ReLU)) == 2
        assert [layer.p for layer in of_kind(D, StreamDropout)] == [0.2, 0.5, 0.5]

    def test_a_unit_is_the_greatest_of_its_pieces(self) -> None:
        torch.manual_seed(1)
        layer = Maxout(3, 2, 4).double()
        x = torch.randn(5, 3, dtype=torch.float64)
        found = layer(x)
        weight, bias = layer.linear.weight.tolist(), layer.linear.bias.tolist()
        for i, row in enumerate(x.tolist()):
            for unit in range(2):
                pieces = [
                    sum(w * v for w, v in zip(weight[k], row, strict=True)) + bias[k]
                    for k in range(4 * unit, 4 * unit + 4)
                ]
                assert found[i, unit].item() == pytest.approx(max(pieces), rel=1e-12)

    def test_first_weights(self) -> None:
        G, D = pair("maxout", DIGIT)
        for net, bound in ((G, 0.05), (D, 0.005)):
            for layer in of_kind(net, nn.Linear):
                assert layer.weight.abs().max() <= bound
                assert layer.weight.abs().max() > 0.9 * bound
                assert (layer.bias == 0).all()

    def test_images_are_in_the_unit_interval_inside(self) -> None:
        G, D = pair("maxout", DIGIT)
        z = torch.randn(6, 100)
        raw = []
        G.output.register_forward_hook(lambda layer, inputs, output: raw.append(output))
        images = G(z)
        torch.testing.assert_close((images.flatten(1) + 1) / 2, raw[0].sigmoid())
        seen = []
        D.eval().hidden["hidden1"].register_forward_pre_hook(
            lambda layer, inputs: seen.append(inputs[0])
        )
        D(torch.stack([torch.full(DIGIT, v) for v in (-1.0, 0.0, 1.0)]))
        assert seen[0][:, 0].tolist() == [0.0, 0.5, 1.0]

    def test_its_activation_cannot_be_another(self) -> None:
        plan = Blueprint(
            GeneratorPlan("maxout", 8), DiscriminatorPlan("maxout", 8, activation="elu"), 4, DIGIT
        )
        assert "activation" in unsupported(plan)


def residual(before: int, after: int, *, shortcut: bool) -> int:
    """Count two 3×3 convolutions, and a 1×1 one beside them."""
    branch = (9 * before + 1) * after + (9 * after + 1) * after
    return branch + ((before + 1) * after if shortcut else 0)


class TestResNet32:
    """Table 4 of SNGAN's paper."""

    def test_sizes(self) -> None:
        G, D = pair("resnet32", PHOTO)
        norms = 3 * 2 * 2 * 256 + 2 * 256
        blocks = 3 * residual(256, 256, shortcut=True)
        assert count(G) == dense(128, 16 * 256) + blocks + norms + (9 * 256 + 1) * 3
        assert count(D) == (
            residual(3, 128, shortcut=True)
            + residual(128, 128, shortcut=True)
            + 2 * residual(128, 128, shortcut=False)
            + dense(128, 1)
        )
        assert not of_kind(D, nn.BatchNorm2d)
        assert len(of_kind(G, nn.BatchNorm2d)) == 7

    def test_sides_of_the_feature_maps(self) -> None:
        plan = Blueprint.plain("resnet32", 4, 5, PHOTO)
        judged = build_discriminator(plan)(torch.randn(2, *PHOTO))
        shapes = {name: tuple(h.shape[1:]) for name, h in judged.features.items()}
        assert shapes == {
            "hidden1": (4, 16, 16), "hidden2": (4, 8, 8), "hidden3": (4, 8, 8),
            "hidden4": (4, 8, 8), "pooled": (4,),
        }  # fmt: skip

    def test_the_logit_is_linear_in_the_sum_of_the_last_map(self) -> None:
        D = build_discriminator(Blueprint.plain("resnet32", 4, 5, PHOTO)).double()
        judged = D(torch.randn(2, *PHOTO, dtype=torch.float64))
        pooled = judged.features["hidden4"].clamp(min=0).sum((2, 3))
        expected = pooled @ D.head.output.weight[0] + D.head.output.bias
        torch.testing.assert_close(judged.logits, expected, rtol=1e-12, atol=1e-12)

    def test_first_weights_are_glorots(self) -> None:
        for net in pair("resnet32", PHOTO):
            for layer in of_kind(net, nn.Linear | nn.Conv2d):
                weight = layer.weight
                area = weight[0, 0].numel()
                bound = math.sqrt(6 / (area * (weight.shape[0] + weight.shape[1])))
                inside = area == 9 and weight.shape[0] != 3
                largest = weight.abs().max().item() / bound
                assert largest == pytest.approx(math.sqrt(2) if inside else 1.0, rel=0.1)
                assert largest <= (math.sqrt(2) if inside else 1.0) * (1 + 1e-6)
                assert (layer.bias == 0).all()

    def test_a_spectral_norm_reaches_every_layer(self) -> None:
        plan = Blueprint(
            GeneratorPlan("resnet32", 4),
            DiscriminatorPlan("resnet32", 4, normalization="none", spectral_norm=True),
            5,
            PHOTO,
        )
        D = build_discriminator(plan)
        layers = of_kind(D, nn.Linear | nn.Conv2d)
        assert len(layers) == 8 + 2 + 1
        assert all(hasattr(layer, "parametrizations") for layer in layers)


class TestCNN32:
    """Table 3 of SNGAN's paper."""

    def test_sizes(self) -> None:
        G, D = pair("cnn32", PHOTO)
        doubled = sum((16 * before + 1) * after for before, after in pairwise([512, 256, 128, 64]))
        norms = 2 * (512 + 256 + 128 + 64)
        assert count(G) == dense(128, 16 * 512) + doubled + norms + (9 * 64 + 1) * 3
        widths = [3, 64, 128, 128, 256, 256, 512, 512]
        convolutions = sum(
            ((16 if i % 2 else 9) * before + 1) * after
            for i, (before, after) in enumerate(pairwise(widths))
        )
        assert count(D) == convolutions + dense(16 * 512, 1)
        assert not of_kind(D, nn.BatchNorm2d)
        assert {layer.negative_slope for layer in of_kind(D, nn.LeakyReLU)} == {0.1}

    def test_sides_of_the_feature_maps(self) -> None:
        plan = Blueprint.plain("cnn32", 2, 5, PHOTO)
        judged = build_discriminator(plan)(torch.randn(2, *PHOTO))
        assert [tuple(h.shape[1:]) for h in judged.features.values()] == [
            (2, 32, 32), (4, 16, 16), (4, 16, 16), (8, 8, 8), (8, 8, 8), (16, 4, 4), (16, 4, 4),
        ]  # fmt: skip
        assert build_generator(plan)(torch.randn(2, 5)).shape == (2, *PHOTO)

    def test_first_weights_are_small_and_normal(self) -> None:
        for net in pair("cnn32", PHOTO):
            for layer in of_kind(net, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
                if layer.weight.numel() > 10_000:
                    assert layer.weight.std().item() == pytest.approx(0.02, rel=0.03)
                assert (layer.bias == 0).all()


def by_filter(x: Tensor, *, up: bool) -> Tensor:
    """Resample one map by the filter [1, 3, 3, 1] in both directions, number by number.

    Tap t of the filter lies at 2i + t − 1, i being the place in the smaller of both maps: halving
    gathers from there, doubling scatters to there.
    """
    taps = [1 / 8, 3 / 8, 3 / 8, 1 / 8]
    small = len(x) if up else len(x) // 2
    big = 2 * small
    made = torch.zeros(big, big, dtype=x.dtype) if up else torch.zeros(small, small, dtype=x.dtype)
    for i, j, p, q in product(range(small), range(small), range(4), range(4)):
        row, column = 2 * i + p - 1, 2 * j + q - 1
        if 0 <= row < big and 0 <= column < big:
            if up:
                made[row, column] += 4 * taps[p] * taps[q] * x[i, j]
            else:
                made[i, j] += taps[p] * taps[q] * x[row, column]
    return made


class TestR3GAN:
    """Residual blocks that begin as the identity."""

    def test_sizes(self) -> None:
        G, D = pair("r3gan32", PHOTO)
        w, inner = 768, 1536
        block = (w + 1) * inner + (9 * 16 + 1) * inner + inner * w
        assert count(G) == 16 * w + 64 * w + 8 * block + 3 * w
        assert count(D) == 3 * w + 8 * block + 16 * w + w
        grouped = [m for m in of_kind(G, nn.Conv2d) if m.groups > 1]
        # The paper has 20.78 million, with its embedding of classes.
        assert count(G) == 20_732_160
        assert [(m.in_channels, m.groups) for m in grouped] == [(1536, 96)] * 8

    def test_nothing_normalises(self) -> None:
        for net in pair("r3gan32", PHOTO):
            assert not of_kind(net, nn.modules.batchnorm._BatchNorm | nn.GroupNorm)
        plan = Blueprint(
            GeneratorPlan("r3gan32", 8, normalization="batch"),
            DiscriminatorPlan("r3gan32", 8),
            4,
            PHOTO,
        )
        assert "no batch normalisation" in unsupported(plan)

    def test_a_block_begins_as_the_identity_and_with_the_scale_of_its_depth(self) -> None:
        torch.manual_seed(0)
        block = Block(64, depth=16)
        x = torch.randn(2, 64, 4, 4)
        assert torch.equal(block(x), x)
        gain = math.sqrt(2 / 1.04) * 16**-0.25
        first, second = block.branch[0].weight, block.branch[2].weight
        assert first.std().item() == pytest.approx(gain / math.sqrt(64), rel=0.05)
        assert second.std().item() == pytest.approx(gain / math.sqrt(9 * 16), rel=0.05)
        assert (block.branch[4].weight == 0).all()

    @pytest.mark.parametrize(("width", "groups"), [(32, 4), (8, 1), (6, 6), (5, 5), (1, 1)])
    def test_groups_of_sixteen_where_the_width_allows(self, width: int, groups: int) -> None:
        assert Block(width, 2).branch[2].groups == groups

    @pytest.mark.parametrize("up", [True, False])
    def test_resampling_is_the_papers_filter(self, up: bool) -> None:
        x = torch.randn(6, 6, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
        found = (Doubled() if up else Halved())(x[None, None])[0, 0]
        torch.testing.assert_close(found, by_filter(x, up=up), rtol=1e-12, atol=1e-12)

    def test_the_basis_is_weighted_by_the_latent(self) -> None:
        torch.manual_seed(3)
        basis = Basis(5, 3)
        z = torch.randn(2, 5)
        expected = torch.einsum("bi,ci,chw->bchw", z, basis.weigh.weight, basis.maps)
        torch.testing.assert_close(basis(z), expected)

    def test_sides_and_widths(self) -> None:
        for name, side, stages in (("r3gan16", 16, 3), ("r3gan32", 32, 4), ("r3gan64", 64, 5)):
            shape = (3, side, side)
            assert len(networks.get(name)().hidden_layers(shape)) == stages
            judged = build_discriminator(Blueprint.plain(name, 4, 5, shape))(torch.randn(2, *shape))
            sides = [h.shape[2] if h.ndim == 4 else 1 for h in judged.features.values()]
            assert sides == [side >> i for i in range(1, stages)] + [1]
