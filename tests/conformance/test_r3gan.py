"""Proves R3GAN's penalties and schedules, and that nothing normalises its networks."""

import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from harness.datasets.base import datasets
from harness.networks.base import build_discriminator, build_generator
from harness.networks.blueprint import Blueprint
from harness.parts import Context, Rates, Trick, variants
from harness.parts.blueprint import blueprint_of
from harness.testing.cells import game_of, make_trainer, refusal
from harness.testing.specs import make_spec
from harness.testing.stubs import FixedBatch, FixedGame
from harness.training.batch import Batch

NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.GroupNorm, nn.LayerNorm)


def test_the_penalty_is_half_gamma_times_r1_and_r2() -> None:
    generator = torch.Generator().manual_seed(6)
    real, fake = torch.randn(2, 2, 5, 3, generator=generator, dtype=torch.float64)
    batch = FixedBatch(real=real, fake=fake, formula=lambda x: x.pow(3).sum(2))
    none = torch.zeros(2, dtype=torch.float64)
    found = variants.get("r3gan")(gamma=0.3).discriminator_objective(FixedGame(2), batch, none)
    for run in range(2):
        r1, r2 = (
            sum((3 * v * v) ** 2 for v in data[run].flatten().tolist()) / 5 for data in (real, fake)
        )
        assert abs(r1 - r2) > 0.1
        assert found[run].item() == pytest.approx(0.3 / 2 * (r1 + r2), rel=1e-12)
    assert batch.judged == ["r1", "r2"]


@pytest.mark.parametrize(
    ("progress", "gamma"), [(0.0, 0.05), (0.5, 0.0275), (1.0, 0.005), (1 / 3, 0.03875)]
)
def test_gamma_falls_along_half_a_cosine(progress: float, gamma: float) -> None:
    x = torch.ones(1, 1, 1, dtype=torch.float64)
    batch = FixedBatch(real=x, fake=x, formula=lambda value: value.sum(2))
    found = variants.get("r3gan")().discriminator_objective(
        FixedGame(1, progress=progress), batch, torch.zeros(1, dtype=torch.float64)
    )
    assert found.item() == pytest.approx(gamma, rel=1e-12)


@pytest.mark.parametrize("progress", [0.0, 0.1, 0.5, 0.9, 1.0])
def test_rates_follow_half_a_cosine(progress: float) -> None:
    like = torch.ones(1, 1, dtype=torch.float64)
    start = Rates(2e-4 * like, 3e-4 * like, 0.0 * like, 0.9 * like)
    found = variants.get("r3gan")().rates(start, progress)
    left = 0.5 * (1 + math.cos(math.pi * progress))
    assert found.lr_g.item() == pytest.approx(5e-5 + left * 1.5e-4, rel=1e-12)
    assert found.lr_d.item() == pytest.approx(7.5e-5 + left * 2.25e-4, rel=1e-12)
    assert found.beta1.item() == 0.0
    assert found.beta2.item() == pytest.approx(0.99 - left * 0.09, rel=1e-12)


def test_training_follows_them() -> None:
    trainer = make_trainer([make_spec("ring8", "r3gan", steps=4, precision="float64")])
    seen = []
    for _ in range(4):
        trainer.train_step()
        seen.append((trainer.optimizer_g.lr.item(), trainer.optimizer_d.beta2.item()))
    shares = [0.5 * (1 + math.cos(math.pi * step / 4)) for step in range(4)]
    assert [lr for lr, _ in seen] == pytest.approx([5e-5 + s * 1.5e-4 for s in shares])
    assert [beta for _, beta in seen] == pytest.approx([0.99 - s * 0.09 for s in shares])
    batch = Batch(trainer.game, "discriminator", 9)
    game = trainer.game
    terms = []
    for progress in (0.0, 1.0):
        game.progress = progress
        terms.append(game.discriminator_loss(batch) - game.variant.discriminator_loss(game, batch))
    torch.testing.assert_close(terms[0], 10 * terms[1], rtol=1e-9, atol=0)


def test_the_penalty_is_in_every_update_of_d_and_in_none_of_g() -> None:
    game = game_of("digits", "r3gan", runs=2)
    for counter in range(3):
        batch = Batch(game, "discriminator", counter)
        term = game.discriminator_loss(batch) - game.variant.discriminator_loss(game, batch)
        assert (term > 0).all()
    batch = Batch(game, "generator", 0)
    assert torch.equal(game.generator_loss(batch), game.variant.generator_loss(game, batch))


@pytest.mark.parametrize("network", ["r3gan16", "dcgan16", "mlp-small"])
def test_no_network_has_normalisation(network: str) -> None:
    blueprint = blueprint_of(make_spec("digits", "r3gan", network=network))
    for build in (build_generator, build_discriminator):
        assert not any(isinstance(module, NORMS) for module in build(blueprint).modules())


class Normalizing(Trick):
    """Normalises G."""

    id = "normalizing"

    def build(self, blueprint: Blueprint) -> Blueprint:
        return replace(blueprint, generator=replace(blueprint.generator, normalization="batch"))


def test_a_trick_that_normalises_is_refused() -> None:
    spec = make_spec("digits", "r3gan", network="dcgan16")
    variant = variants.get("r3gan")()
    context = Context(datasets.get("digits")(), variant, (Normalizing(),), spec.settings)
    reason = variant.inapplicable(context)
    assert reason is not None
    assert "normalizing" in reason
    assert refusal(spec) is None


def test_an_optimiser_without_beta2_is_refused() -> None:
    assert "beta2" in refusal(make_spec("ring8", "r3gan", optimizer="sgd"))
    assert refusal(make_spec("ring8", "r3gan")) is None
