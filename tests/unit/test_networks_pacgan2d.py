"""The networks of PacGAN's mixtures: layers, first weights, what packing changes."""

import pytest
import torch
from torch import nn

from harness.networks.base import build_discriminator, build_generator, networks, unsupported
from harness.networks.blueprint import Blueprint, DiscriminatorPlan, GeneratorPlan
from harness.networks.maxout import Maxout
from harness.parts.blueprint import blueprint_of
from harness.testing.cells import make_trainer, refusal
from harness.testing.specs import make_spec

FAMILY = networks.get("pacgan2d")


def plan_of(pack: int = 1, condition: int = 0, width: int = 200) -> Blueprint:
    return Blueprint(
        GeneratorPlan("pacgan2d", width, condition=condition),
        DiscriminatorPlan("pacgan2d", width, condition=condition, pack=pack),
        FAMILY.default_latent,
        (2,),
        batch=100,
    )


def parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def test_parameters_are_those_of_the_paper() -> None:
    blueprint = plan_of()
    assert (FAMILY.default_width, FAMILY.default_latent) == (200, 2)
    G, D = build_generator(blueprint), build_discriminator(blueprint)
    # Four layers of 400 with biases, and a scale and a shift after each; then two coordinates.
    assert parameters(G) == 3 * 400 + 3 * 401 * 400 + 4 * 800 + 401 * 2
    assert parameters(D) == 3 * 1000 + 2 * 201 * 1000 + 201
    assert sum(isinstance(m, nn.BatchNorm1d) for m in G.modules()) == 4
    assert sum(isinstance(m, nn.ReLU) for m in G.modules()) == 4
    assert [m.pieces for m in D.modules() if isinstance(m, Maxout)] == [5, 5, 5]
    assert not any("Norm" in type(m).__name__ for m in D.modules())


def test_a_point_is_judged_by_the_greatest_of_five_pieces() -> None:
    torch.manual_seed(0)
    D = build_discriminator(plan_of(width=3)).double()
    x = torch.randn(4, 2, dtype=torch.float64)
    judged = D(x)
    for example in range(4):
        h = x[example].tolist()
        for layer in ("hidden1", "hidden2", "hidden3"):
            linear = D.hidden[layer][0].linear
            values = [
                sum(w * v for w, v in zip(row, h, strict=True)) + b
                for row, b in zip(linear.weight.tolist(), linear.bias.tolist(), strict=True)
            ]
            h = [max(values[5 * unit : 5 * unit + 5]) for unit in range(3)]
            assert judged.features[layer][example].tolist() == pytest.approx(h)


def test_first_weights_are_small() -> None:
    torch.manual_seed(0)
    for module in (build_generator(plan_of()), build_discriminator(plan_of())):
        for layer in module.modules():
            if isinstance(layer, nn.Linear) and layer.weight.numel() > 10_000:
                assert layer.weight.std().item() == pytest.approx(0.02, rel=0.02)
                assert layer.bias.abs().max() == 0


@pytest.mark.parametrize("pack", [2, 4])
def test_packing_grows_only_the_first_layer(pack: int) -> None:
    plain, packed = build_discriminator(plan_of()), build_discriminator(plan_of(pack))
    assert unsupported(plan_of(pack)) is None
    grown = {
        name
        for name, value in packed.named_parameters()
        if value.shape != dict(plain.named_parameters())[name].shape
    }
    assert grown == {"hidden.hidden1.0.linear.weight"}
    assert packed(torch.zeros(3, 2 * pack)).logits.shape == (3,)


def test_a_condition_is_joined() -> None:
    blueprint = plan_of(condition=8)
    y = torch.eye(8)[:3]
    made = build_generator(blueprint)(torch.zeros(3, 2), y)
    assert made.shape == (3, 2)
    assert build_discriminator(blueprint)(made, y).logits.unique().numel() == 3


@pytest.mark.parametrize("variant", ["gan", "cgan", "infogan", "mad-gan", "vae", "wgan-gp"])
def test_variants_train_on_it(variant: str) -> None:
    spec = make_spec("grid25", variant, network="pacgan2d", width=6)
    assert refusal(spec) is None
    assert blueprint_of(spec).generator.network == "pacgan2d"
    trainer = make_trainer([spec])
    before = trainer.game.G.theta.detach().clone()
    for _ in range(2):
        trainer.train_step()
    rows, divergences = trainer.read()
    assert divergences == [None]
    assert not torch.equal(trainer.game.G.theta, before)
    assert rows[0]["g_loss"] == rows[0]["g_loss"]


def test_images_are_refused() -> None:
    reason = refusal(make_spec("digits", "gan", network="pacgan2d"))
    assert reason == "pacgan2d makes points, the data set holds images"
