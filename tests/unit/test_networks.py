"""Network families: shapes, layers, parameter counts, and what does not fit."""

from dataclasses import replace
from typing import get_args

import pytest
import torch
from torch import nn

from harness.networks.base import (
    Judgement,
    build_discriminator,
    build_generator,
    networks,
    resolve,
    structure,
    unsupported,
)
from harness.networks.blueprint import (
    Activation,
    Blueprint,
    DiscriminatorPlan,
    Downsampling,
    GeneratorPlan,
    Normalization,
    Upsampling,
)
from harness.networks.dropout import StreamDropout, dropout
from harness.networks.layers import normalization
from harness.networks.patchgan import receptive_field
from harness.networks.spectral import SpectralNorm, normalize_spectrally

SHAPES = [(2,), (1, 16, 16), (3, 16, 16), (1, 32, 32), (3, 32, 32), (3, 64, 64)]
FITTING = [
    (name, shape)
    for name in networks.names()
    for shape in SHAPES
    if networks.get(name)().misfit(shape) is None
]
NORMED = [
    (name, shape, norm)
    for name, shape in FITTING
    for norm in (None, *networks.get(name).normalizations)
]
GENERATING = [
    (name, shape, norm) for name, shape, norm in NORMED if networks.get(name).has_generator
]
JUDGING = [(name, shape, norm) for name, shape, norm in NORMED if norm != "virtual"]


def plan_of(name: str, shape: tuple[int, ...], norm: Normalization | None = None) -> Blueprint:
    return Blueprint(
        GeneratorPlan(name, 8, norm), DiscriminatorPlan(name, 8, norm, strided=1), 5, shape
    )


def noisy(module: nn.Module) -> nn.Module:
    """Give every dropout layer fresh noise when it is called, as training does."""

    def draw(layer: StreamDropout, inputs: tuple[torch.Tensor, ...]) -> None:
        layer.noise = torch.rand_like(inputs[0])

    for layer in module.modules():
        if isinstance(layer, StreamDropout):
            layer.register_forward_pre_hook(draw)
    return module


def parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize(("name", "shape", "norm"), GENERATING)
def test_generators_make_examples(
    name: str, shape: tuple[int, ...], norm: Normalization | None
) -> None:
    torch.manual_seed(0)
    module = build_generator(plan_of(name, shape, norm))
    with torch.no_grad():
        last = module.module.output if norm == "virtual" else module.output
        next(last.parameters()).mul_(1e7)
    examples = module(torch.randn(3, 5))
    assert examples.shape == (3, *shape)
    if len(shape) == 3:
        assert examples.abs().max() <= 1
    else:
        assert examples.abs().max() > 1


@pytest.mark.parametrize(("name", "shape", "norm"), JUDGING)
def test_discriminators_judge_examples(
    name: str, shape: tuple[int, ...], norm: Normalization | None
) -> None:
    torch.manual_seed(0)
    module = noisy(build_discriminator(plan_of(name, shape, norm)))
    judgement = module(torch.randn(3, *shape))
    assert isinstance(judgement, Judgement)
    assert judgement.logits.shape[0] == 3
    assert judgement.logits.ndim == (3 if name == "patch" else 1)
    assert judgement.features
    assert all(features.shape[0] == 3 for features in judgement.features.values())
    assert (
        torch.unique(judgement.logits.flatten(1) if name == "patch" else judgement.logits).numel()
        > 1
    )


@pytest.mark.parametrize(("name", "shape"), [g[:2] for g in GENERATING if g[2] is None])
def test_hidden_layers_are_named_and_take_dropout(name: str, shape: tuple[int, ...]) -> None:
    family = networks.get(name)()
    layers = family.hidden_layers(shape)
    assert layers
    for chosen in (None, layers[:1], layers[-1:], ()):
        plan = GeneratorPlan(name, 8, dropout=0.3, dropout_layers=chosen, dropout_at_test=True)
        module = build_generator(Blueprint(plan, DiscriminatorPlan(name, 8), 5, shape))
        found = [
            (layer_name, layer)
            for layer_name, layer in module.named_modules()
            if isinstance(layer, StreamDropout)
        ]
        assert [layer_name.split(".")[1] for layer_name, _ in found] == list(
            layers if chosen is None else chosen
        )
        assert all((layer.p, layer.at_test) == (0.3, True) for _, layer in found)


@pytest.mark.parametrize(("name", "shape"), [g[:2] for g in GENERATING if g[2] is None])
def test_first_weights_come_from_the_global_generator(name: str, shape: tuple[int, ...]) -> None:
    def first(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        return torch.cat([p.flatten() for p in build_generator(plan_of(name, shape)).parameters()])

    assert torch.equal(first(1), first(1))
    assert not torch.equal(first(1), first(2))


@pytest.mark.parametrize("name", networks.names())
def test_what_does_not_fit_is_said(name: str) -> None:
    family = networks.get(name)()
    misfits = [
        reason for shape in [*SHAPES, (1, 17, 17), (1, 16, 32)] if (reason := family.misfit(shape))
    ]
    assert misfits
    assert all(len(reason.split()) > 3 for reason in misfits)


@pytest.mark.parametrize(
    ("name", "shape", "found"),
    [
        ("dcgan", (1, 16, 16), "dcgan16"),
        ("dcgan", (3, 32, 32), "dcgan32"),
        ("dcgan16", (3, 32, 32), "dcgan16"),
        ("mlp-small", (1, 16, 16), "mlp-small"),
        ("toy2d", (2,), "toy2d"),
        ("dcgan", (1, 17, 17), "dcgan"),
        ("nothing", (1, 16, 16), "nothing"),
    ],
)
def test_a_stem_is_completed_by_the_image_size(
    name: str, shape: tuple[int, ...], found: str
) -> None:
    assert resolve(name, shape) == found


class TestMLP:
    """Fully connected networks."""

    def test_parameter_counts(self) -> None:
        plan = Blueprint(GeneratorPlan("toy2d", 128), DiscriminatorPlan("toy2d", 128), 16, (2,))
        assert parameters(build_generator(plan)) == 17 * 128 + 129 * 128 + 129 * 2
        assert parameters(build_discriminator(plan)) == 3 * 128 + 129 * 128 + 129

    def test_activations(self) -> None:
        plan = plan_of("mlp-small", (1, 16, 16))
        G, D = build_generator(plan), build_discriminator(plan)
        assert sum(isinstance(m, nn.ReLU) for m in G.modules()) == 2
        slopes = [m.negative_slope for m in D.modules() if isinstance(m, nn.LeakyReLU)]
        assert slopes == [0.2, 0.2]
        assert not any(isinstance(m, nn.Sigmoid | nn.Softmax) for m in D.modules())


class TestDCGAN:
    """All-convolutional networks."""

    def test_weights_are_drawn_from_the_papers_distribution(self) -> None:
        torch.manual_seed(0)
        plan = Blueprint(
            GeneratorPlan("dcgan32", 32), DiscriminatorPlan("dcgan32", 32), 100, (3, 32, 32)
        )
        for module in (build_generator(plan), build_discriminator(plan)):
            for layer in module.modules():
                if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
                    assert layer.weight.std().item() == pytest.approx(0.02, rel=0.15)
                    assert abs(layer.weight.mean().item()) < 0.003
                if isinstance(layer, nn.BatchNorm2d):
                    assert layer.weight.mean().item() == pytest.approx(1, abs=0.02)
                    assert layer.weight.std().item() == pytest.approx(0.02, rel=0.5)
                    assert (layer.bias == 0).all()

    def test_sizes_double_and_widths_halve(self) -> None:
        plan = Blueprint(
            GeneratorPlan("dcgan32", 4), DiscriminatorPlan("dcgan32", 4), 7, (3, 32, 32)
        )
        D = build_discriminator(plan).eval()
        shapes = [tuple(f.shape[1:]) for f in D(torch.zeros(1, 3, 32, 32)).features.values()]
        assert shapes == [(4, 16, 16), (8, 8, 8), (16, 4, 4)]
        convolutions = [
            m for m in build_generator(plan).modules() if isinstance(m, nn.ConvTranspose2d)
        ]
        assert [(m.in_channels, m.out_channels) for m in convolutions] == [
            (7, 16), (16, 8), (8, 4), (4, 3),
        ]  # fmt: skip

    def test_no_bias_before_a_batch_norm_and_one_without(self) -> None:
        for norm, bias in (("batch", False), ("none", True)):
            for build in (build_generator, build_discriminator):
                module = build(plan_of("dcgan16", (1, 16, 16), norm))
                convolutions = [
                    m for m in module.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)
                ]
                assert {m.bias is not None for m in convolutions} == {bias}

    def test_neither_the_first_layer_of_d_nor_the_last_of_g_is_normalised(self) -> None:
        plan = plan_of("dcgan16", (1, 16, 16))
        D, G = build_discriminator(plan), build_generator(plan)
        assert isinstance(D.hidden["hidden1"][1], nn.Identity)
        assert isinstance(D.hidden["hidden2"][1], nn.BatchNorm2d)
        assert isinstance(G.hidden["hidden1"][1], nn.BatchNorm2d)
        assert isinstance(G.output, nn.ConvTranspose2d)


class TestNormalization:
    """Normalisation layers."""

    @pytest.mark.parametrize(("dimensions", "shape"), [(1, (6,)), (2, (6, 3, 3))])
    def test_kinds(self, dimensions: int, shape: tuple[int, ...]) -> None:
        generator = torch.Generator().manual_seed(0)
        x = torch.randn(50, *shape, generator=generator, dtype=torch.float64) * 3 + 5
        assert torch.equal(normalization("none", 6, dimensions=dimensions)(x), x)
        by_example = normalization("layer", 6, dimensions=dimensions).double()(x).flatten(1)
        torch.testing.assert_close(by_example.mean(1), torch.zeros(50, dtype=torch.float64))
        assert by_example.var(1, unbiased=False).detach().numpy() == pytest.approx(1, rel=1e-4)
        by_channel = normalization("batch", 6, dimensions=dimensions).double()(x)
        flat = by_channel.transpose(0, 1).flatten(1)
        torch.testing.assert_close(flat.mean(1), torch.zeros(6, dtype=torch.float64))
        assert flat.var(1, unbiased=False).detach().numpy() == pytest.approx(1, rel=1e-4)


class TestDropout:
    """Dropout from given noise."""

    def test_it_zeroes_below_p_and_scales_the_rest(self) -> None:
        layer = StreamDropout(0.25)
        layer.noise = torch.tensor([[0.0, 0.2499, 0.25, 0.9]])
        found = layer(torch.tensor([[1.0, 2.0, 3.0, -6.0]]))
        assert found.tolist() == [[0.0, 0.0, 4.0, -8.0]]

    def test_it_keeps_the_expectation(self) -> None:
        layer = StreamDropout(0.3)
        generator = torch.Generator().manual_seed(0)
        layer.noise = torch.rand(200_000, generator=generator)
        assert layer(torch.ones(200_000)).mean().item() == pytest.approx(1.0, abs=0.01)

    @pytest.mark.parametrize(("training", "at_test", "acts"), [
        (True, False, True), (True, True, True), (False, False, False), (False, True, True),
    ])  # fmt: skip
    def test_when_it_acts(self, training: bool, at_test: bool, acts: bool) -> None:
        layer = StreamDropout(0.5, at_test=at_test).train(training)
        layer.noise = torch.zeros(3)
        assert layer.active == acts
        assert layer(torch.ones(3)).tolist() == ([0.0] * 3 if acts else [1.0] * 3)

    def test_a_dropped_infinity_is_gone(self) -> None:
        layer = StreamDropout(0.5)
        layer.noise = torch.tensor([0.0, 0.9])
        assert layer(torch.tensor([torch.inf, 1.0])).tolist() == [0.0, 2.0]

    def test_no_layer_where_nothing_is_dropped(self) -> None:
        assert isinstance(dropout(0.0, at_test=True), nn.Identity)
        assert isinstance(dropout(0.1, at_test=False), StreamDropout)


class TestSpectral:
    """Which layers are normalised; the arithmetic is proved with the variant that uses it."""

    @pytest.mark.parametrize(("name", "shape"), [f for f in FITTING if networks.get(f[0]).spectral])
    def test_every_weight_is_normalised(self, name: str, shape: tuple[int, ...]) -> None:
        plan = plan_of(name, shape, "none")
        spectral = Blueprint(
            plan.generator,
            DiscriminatorPlan(name, 8, "none", spectral_norm=True, strided=1),
            5,
            shape,
        )
        torch.manual_seed(0)
        plain = build_discriminator(plan)
        torch.manual_seed(0)
        module = build_discriminator(spectral)
        weighted = [m for m in module.modules() if isinstance(m, nn.Linear | nn.Conv2d)]
        assert weighted
        originals = {
            name.replace("parametrizations.weight.original", "weight"): value
            for name, value in module.named_parameters()
        }
        for layer_name, value in plain.named_parameters():
            assert torch.equal(originals[layer_name], value)
        with torch.no_grad():  # Power iterations, of which small matrices can need many.
            noisy(module)
            module(torch.zeros(2, *shape))
            for layer in weighted * 100:
                _ = layer.weight  # what reads it iterates once
        module.eval()
        for layer in weighted:
            assert isinstance(layer.parametrizations.weight[0], SpectralNorm)
            largest = torch.linalg.svdvals(layer.weight.flatten(1).double())[0].item()
            assert largest == pytest.approx(1.0, abs=0.02)

    @pytest.mark.parametrize("name", [n for n in networks.names() if not networks.get(n).spectral])
    def test_weights_that_start_at_zero_have_no_norm(self, name: str) -> None:
        family = networks.get(name)()
        shape = next(shape for shape in SHAPES if family.misfit(shape) is None)
        plan = Blueprint.plain(name, 8, 5, shape)
        assert unsupported(plan) is None
        spectral = replace(plan, discriminator=replace(plan.discriminator, spectral_norm=True))
        assert "start at 0" in unsupported(spectral)
        weights = [
            m.weight for m in build_discriminator(plan).modules() if isinstance(m, nn.Conv2d)
        ]
        assert any((weight == 0).all() for weight in weights)

    def test_two_passes_can_be_differentiated_together(self) -> None:
        layer = normalize_spectrally(nn.Sequential(nn.Linear(4, 4)))
        (layer(torch.ones(1, 4)) + layer(torch.zeros(1, 4))).sum().backward()
        assert layer[0].parametrizations.weight.original.grad.isfinite().all()


class TestPatch:
    """The patch discriminator."""

    @pytest.mark.parametrize(
        ("strided", "flat", "field"),
        [(1, 0, 10), (2, 0, 22), (3, 0, 46), (1, 1, 16), (2, 1, 34), (3, 1, 70), (5, 1, 286)],
    )
    def test_receptive_fields(self, strided: int, flat: int, field: int) -> None:
        assert receptive_field(strided, flat) == field

    def test_it_has_no_generator(self) -> None:
        with pytest.raises(TypeError, match="no generator"):
            build_generator(plan_of("patch", (1, 16, 16)))
        assert networks.get("patch")().hidden_layers((1, 16, 16)) == ()

    def test_widths_stop_growing_after_three_doublings(self) -> None:
        plan = Blueprint(
            GeneratorPlan("patch", 2), DiscriminatorPlan("patch", 2, strided=5), 4, (1, 128, 128)
        )
        module = build_discriminator(plan)
        convolutions = [m for m in module.modules() if isinstance(m, nn.Conv2d)]
        assert [m.out_channels for m in convolutions] == [2, 4, 8, 16, 16, 1]


CHOICES: dict[str, dict[str, tuple[str, ...]]] = {
    "generator": {
        "activation": get_args(Activation),
        "upsampling": get_args(Upsampling),
    },
    "discriminator": {
        "activation": get_args(Activation),
        "downsampling": get_args(Downsampling),
    },
}


@pytest.mark.parametrize(("name", "shape"), FITTING)
def test_what_a_plan_changes_can_be_read(name: str, shape: tuple[int, ...]) -> None:
    family = networks.get(name)
    player = name if family.has_generator else "mlp-small"
    plain = Blueprint(GeneratorPlan(player, 8), DiscriminatorPlan(name, 8), 5, shape)
    for role, own in (("generator", networks.get(player)), ("discriminator", family)):
        normalizations = tuple(kind for kind in own.normalizations if kind != "virtual")
        choices = {"normalization": normalizations, **CHOICES[role]}
        for field, values in choices.items():
            if field != "normalization" and field not in own.supports:
                continue
            changed = {
                structure(replace(plain, **{role: replace(getattr(plain, role), **{field: value})}))
                for value in values
            }
            assert len(changed) == len(values), f"{role} {field}"
