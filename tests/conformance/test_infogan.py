"""Proves InfoGAN: the bound on the information, whom it teaches, and what D is not told."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from harness.networks.base import Judgement, build_discriminator, build_generator
from harness.parts import Condition, Recipe, Schedule, variants
from harness.parts.blueprint import blueprint_of
from harness.testing.cells import game_of, make_trainer, refusal
from harness.testing.specs import make_spec
from harness.testing.stubs import FixedBatch, FixedGame
from harness.training.batch import Batch
from harness.training.streams import seeded


def test_reference_settings() -> None:
    variant = variants.get("infogan")
    assert variant.recipe == Recipe("adam", 1e-3, 2e-4, 0.5, 0.999)
    assert variant().schedule(Schedule()) == Schedule()
    assert variant().joins(7) == Condition(categories=(10,), continuous=2)
    assert variant(categories=4, continuous=0).joins(None) == Condition(categories=(4,))


def codes_batch() -> FixedBatch:
    """Make a batch of two runs of four examples with a code of three values and two numbers."""
    generator = torch.Generator().manual_seed(2)
    category = torch.tensor([[0, 2, 1, 1], [2, 2, 0, 1]])
    numbers = torch.rand(2, 4, 2, generator=generator, dtype=torch.float64) * 2 - 1
    code = torch.cat([nn.functional.one_hot(category, 3).double(), numbers], dim=2)
    answer = torch.randn(2, 4, 5, generator=generator, dtype=torch.float64) * 3
    logits = torch.randn(2, 2, 4, generator=generator, dtype=torch.float64)
    return FixedBatch(
        Judgement(logits[0], {}), Judgement(logits[1], {}, {"code": answer}), condition=code
    )


def information_by_hand(code: list[list[float]], answer: list[list[float]]) -> tuple[float, float]:
    """Compute both bounds with unit variance, one example at a time."""
    categorical = continuous = 0.0
    for c, q in zip(code, answer, strict=True):
        total = sum(math.exp(value) for value in q[:3])
        categorical += math.log(3) + math.log(math.exp(q[c[:3].index(1.0)]) / total)
        for number, mean in zip(c[3:], q[3:], strict=True):
            density = math.exp(-((number - mean) ** 2) / 2) / math.sqrt(2 * math.pi)
            continuous += math.log(2) + math.log(density)
    return categorical / len(code), continuous / len(code)


@pytest.mark.parametrize("method", ["discriminator_objective", "generator_objective"])
def test_formula(method: str) -> None:
    variant = variants.get("infogan")(
        categories=3, continuous=2, weight=1.5, continuous_weight=0.25
    )
    batch = codes_batch()
    assert batch.condition is not None
    before = torch.tensor([0.4, -2.0], dtype=torch.float64)
    found = getattr(variant, method)(FixedGame(2), batch, before)
    for run in range(2):
        categorical, continuous = information_by_hand(
            batch.condition[run].tolist(), batch.judged_fake.outputs["code"][run].tolist()
        )
        expected = before[run].item() - 1.5 * categorical - 0.25 * continuous
        assert found[run].item() == pytest.approx(expected, rel=1e-12)


def test_the_bound_is_watched_in_nats() -> None:
    variant = variants.get("infogan")(categories=3, continuous=2)
    batch = codes_batch()
    assert batch.condition is not None
    found = variant.watch(FixedGame(2), batch)
    assert len(found) == len(variant.watched) == 2
    for run in range(2):
        code = batch.condition[run].tolist()
        answer = batch.judged_fake.outputs["code"][run].tolist()
        assert found[0][run].item() == pytest.approx(information_by_hand(code, answer)[0])
        bound = 0.0
        for k in (3, 4):
            variance = sum((c[k] - q[k]) ** 2 for c, q in zip(code, answer, strict=True)) / 4
            bound += math.log(2) - 0.5 * math.log(2 * math.pi * math.e * variance)
        assert found[1][run].item() == pytest.approx(bound, rel=1e-12)


def test_a_code_that_is_read_without_error_has_the_information_of_the_code() -> None:
    variant = variants.get("infogan")(categories=3, continuous=0)
    batch = codes_batch()
    assert batch.condition is not None
    answer = 60 * batch.condition[..., :3] - 30
    sure = FixedBatch(
        judged_fake=Judgement(torch.zeros(2, 4), {}, {"code": answer}),
        condition=batch.condition[..., :3],
    )
    found = variant.generator_objective(FixedGame(2), sure, torch.zeros(2, dtype=torch.float64))
    assert (-found).tolist() == pytest.approx([math.log(3)] * 2, abs=1e-9)
    assert variant.watch(FixedGame(2), sure)[1].tolist() == [0.0, 0.0]


def test_mistake_5_the_cross_entropy_takes_logits() -> None:
    # Of a softmax of a softmax the best possible answer would still cost log(1 + 2/e).
    variant = variants.get("infogan")(categories=3, continuous=0)
    code = torch.eye(3, dtype=torch.float64)[None]
    batch = FixedBatch(
        judged_fake=Judgement(torch.zeros(1, 3), {}, {"code": 100 * code}), condition=code
    )
    (log_likelihood, _) = variant.reading(batch)
    assert -log_likelihood.mean().item() < 1e-12 < math.log(1 + 2 / math.e)


@pytest.mark.parametrize("dataset", ["ring8", "digits"])
def test_mistake_6_the_information_teaches_the_generator_and_q(dataset: str) -> None:
    game = game_of(dataset, ("infogan", {"categories": 4}), runs=2)
    zero = torch.zeros(2, dtype=torch.float64)
    batch = Batch(game, "generator", 0)
    term = game.variant.generator_objective(game, batch, zero)
    (found,) = torch.autograd.grad(term.sum(), game.G.theta)
    # The same by a difference of both signs along the gradient.
    with torch.no_grad():
        direction = found / found.norm()
        values = []
        for sign in (1, -1):
            game.G.theta.add_(direction, alpha=sign * 1e-4)
            moved = Batch(game, "generator", 0)
            values.append(game.variant.generator_objective(game, moved, zero).sum().item())
            game.G.theta.add_(direction, alpha=-sign * 1e-4)
    assert (values[0] - values[1]) / 2e-4 == pytest.approx(found.norm().item(), rel=1e-3)
    batch = Batch(game, "discriminator", 0)
    term = game.variant.discriminator_objective(game, batch, zero)
    (found,) = torch.autograd.grad(term.sum(), game.D.theta)
    by_name = game.D.parameters(found)
    for name, slope in by_name.items():
        reached = bool((slope != 0).any())
        assert reached == (not name.startswith("head.output")), name


def test_the_discriminator_does_not_see_the_code() -> None:
    spec = make_spec("digits", "infogan")
    blueprint = blueprint_of(spec)
    assert blueprint.generator.condition == blueprint.discriminator.code == 12
    assert blueprint.discriminator.condition == 0
    game = make_trainer([spec]).game
    batch, other = Batch(game, "discriminator", 0), Batch(game, "discriminator", 0)
    assert batch.condition is not None
    other.__dict__["condition"] = batch.condition.flip(1)
    assert torch.equal(
        batch.judge(batch.fake, "fake").logits, other.judge(batch.fake, "fake").logits
    )
    assert not torch.equal(batch.fake, other.fake)


def test_real_data_say_nothing_of_the_code() -> None:
    game = game_of("ring8", "infogan")
    batch = Batch(game, "discriminator", 0)
    game.variant.discriminator_objective(game, batch, torch.zeros(1))
    assert "judged_real" not in batch.__dict__


def loss_of(answer: Tensor, code: Tensor, weights: tuple[float, float]) -> Tensor:
    """Compute −λ·I as one would with torch's own losses."""
    entropy = nn.functional.cross_entropy(answer[:, :10], code[:, :10].argmax(1))
    likelihood = torch.distributions.Normal(answer[:, 10:], 1.0).log_prob(code[:, 10:])
    information = math.log(10) - entropy, (math.log(2) + likelihood).sum(1).mean()
    return -weights[0] * information[0] - weights[1] * information[1]


@pytest.mark.parametrize("dataset", ["ring8", "digits"])
def test_steps_equal_a_plain_loop(dataset: str) -> None:
    options: dict[str, Any] = {"weight": 0.7, "continuous_weight": 0.3}
    spec = make_spec(dataset, ("infogan", options), seed=5, precision="float64")
    trainer, source = make_trainer([spec]), make_trainer([spec]).game
    with seeded(spec.seed, "init/generator"):
        G = build_generator(blueprint_of(spec)).double()
    with seeded(spec.seed, "init/discriminator"):
        D = build_discriminator(blueprint_of(spec)).double()
    optimizer_g = torch.optim.Adam(G.parameters(), 1e-3, betas=(0.5, 0.999))
    optimizer_d = torch.optim.Adam(D.parameters(), 2e-4, betas=(0.5, 0.999))
    softplus = nn.functional.softplus
    for step in range(4):
        trainer.train_step()
        batch = Batch(source, "discriminator", step)
        z, c = batch.latents[0], batch.condition[0]  # type: ignore[index]
        real, fake = D(batch.real[0]), D(G(z, c).detach())
        loss = softplus(-real.logits).mean() + softplus(fake.logits).mean()
        loss = loss + loss_of(fake.outputs["code"], c, (0.7, 0.3))
        optimizer_d.zero_grad()
        loss.backward()
        optimizer_d.step()
        batch = Batch(source, "generator", step)
        z, c = batch.latents[0], batch.condition[0]  # type: ignore[index]
        fake = D(G(z, c))
        loss = softplus(-fake.logits).mean() + loss_of(fake.outputs["code"], c, (0.7, 0.3))
        optimizer_g.zero_grad()
        loss.backward()
        optimizer_g.step()
    found = trainer.state(0)
    for player, module in (("generator", G), ("discriminator", D)):
        for name, value in module.state_dict().items():
            torch.testing.assert_close(
                found[f"{player}/{name}"], value, rtol=1e-9, atol=1e-10, msg=name
            )


def test_feature_matching_leaves_the_information_where_it_is() -> None:
    game = game_of("ring8", "infogan", "feature-matching")
    batch = Batch(game, "generator", 0)
    variant, matching = game.parts
    expected = matching.distance(batch) - variant.information(batch)
    torch.testing.assert_close(game.generator_loss(batch), expected)


def test_a_head_that_cannot_read_codes_is_refused() -> None:
    reason = refusal(make_spec("digits", "infogan", ["patchgan"]))
    assert reason == "the discriminator patch cannot be built with another code"
