"""Proves MAD-GAN: which generator an example is from, the softmax, and what the losses pull."""

import math

import pytest
import torch
from torch import Tensor, nn

from harness.networks.base import Judgement, build_discriminator, build_generator
from harness.networks.multiple import Generators
from harness.parts import Recipe, Schedule, variants
from harness.parts.blueprint import blueprint_of
from harness.testing.cells import game_of, make_trainer, refusal
from harness.testing.specs import make_spec
from harness.testing.stubs import FixedBatch, FixedGame
from harness.training.batch import Batch
from harness.training.streams import seeded


def test_reference_settings() -> None:
    variant = variants.get("mad-gan")
    assert variant.recipe == Recipe("adam", 2e-4, 2e-4, 0.5, 0.999)
    assert variant().schedule(Schedule()) == Schedule()
    assert variant().generators == 4


def softmax_batch(*shape: int) -> FixedBatch:
    """Make answers of two runs to six examples with four classes, for three generators."""
    generator = torch.Generator().manual_seed(6)
    draws = 3 * torch.randn(2, 2, 6, *shape, 4, generator=generator, dtype=torch.float64)
    empty = torch.empty(0)
    return FixedBatch(
        Judgement(empty, {}, {"classes": draws[0]}), Judgement(empty, {}, {"classes": draws[1]})
    )


def minus_log_softmax(row: list[float], label: int) -> float:
    return math.log(sum(math.exp(value) for value in row)) - row[label]


@pytest.mark.parametrize("shape", [(), (2, 3)], ids=["logits", "maps"])
def test_losses_are_the_papers(shape: tuple[int, ...]) -> None:
    variant = variants.get("mad-gan")(generators=3)
    batch = softmax_batch(*shape)
    d_loss = variant.discriminator_loss(FixedGame(2), batch)
    g_loss = variant.generator_loss(FixedGame(2), batch)
    for run in range(2):
        real, fake = (
            judged.outputs["classes"][run].reshape(6, -1, 4).tolist()
            for judged in (batch.judged_real, batch.judged_fake)
        )
        patches = len(real[0])
        expected = sum(minus_log_softmax(p, 0) for x in real for p in x) / 6 / patches
        # Each generator made two of the six examples, and its expectation has weight one.
        for j, example in enumerate(fake):
            expected += sum(minus_log_softmax(p, 1 + j % 3) for p in example) / 2 / patches
        assert d_loss[run].item() == pytest.approx(expected, rel=1e-12)
        fooling = sum(minus_log_softmax(p, 0) for x in fake for p in x) / 6 / patches
        assert g_loss[run].item() == pytest.approx(fooling, rel=1e-12)


def test_the_best_answer_is_that_of_proposition_1() -> None:
    # Four places; p_data and three generators have known chances there. D's loss, written with
    # these chances as weights, has its minimum at p_data / (p_data + Σ p_G).
    chances = torch.tensor(
        [[0.4, 0.3, 0.2, 0.1], [0.7, 0.1, 0.1, 0.1], [0.1, 0.1, 0.4, 0.4], [0.25] * 4],
        dtype=torch.float64,
    )
    table = torch.zeros(4, 4, dtype=torch.float64, requires_grad=True)
    variant = variants.get("mad-gan")(generators=3)
    count = 60
    places = [torch.repeat_interleave(torch.arange(4), (p * count).round().long()) for p in chances]
    fakes = torch.stack(places[1:], dim=1).flatten()
    optimizer = torch.optim.LBFGS([table], max_iter=500, tolerance_grad=1e-12)

    def loss() -> Tensor:
        optimizer.zero_grad()
        empty = torch.empty(0)
        batch = FixedBatch(
            Judgement(empty, {}, {"classes": table[places[0]][None]}),
            Judgement(empty, {}, {"classes": table[fakes][None]}),
        )
        value = variant.discriminator_loss(FixedGame(1), batch).sum()
        value.backward()
        return value

    for _ in range(5):
        optimizer.step(loss)
    found = table.detach().softmax(1)
    torch.testing.assert_close(found, (chances / chances.sum(0)).T, rtol=1e-4, atol=1e-4)


def test_the_logit_is_the_evidence_for_real_data() -> None:
    game = game_of("ring8", "mad-gan", runs=2)
    judged = Batch(game, "discriminator", 0).judged_fake
    p = judged.outputs["classes"].softmax(2)[..., 0]
    torch.testing.assert_close(judged.logits, (p / (1 - p)).log())


class Labelled(nn.Module):
    """A generator that adds its own number to z, after a first layer that doubles it."""

    def __init__(self, number: int) -> None:
        super().__init__()
        layer = nn.Linear(1, 1, bias=False)
        nn.init.constant_(layer.weight, 2.0 if number == 0 else 77.0)
        self.hidden = nn.ModuleDict({"hidden1": layer})
        self.number = number

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        made: Tensor = self.hidden["hidden1"](z) + 100 * self.number
        return made if y is None else made + y


def test_generators_take_turns_and_share_their_first_layer() -> None:
    G = Generators([Labelled(i) for i in range(3)])
    z = torch.arange(6.0)[:, None]
    # While training a turn shares the latent of its first example.
    assert G.train()(z).flatten().tolist() == [0, 100, 200, 6, 106, 206]
    assert G.eval()(z).flatten().tolist() == [0, 102, 204, 6, 108, 210]
    assert G.eval()(z[:4]).flatten().tolist() == [0, 102, 204, 6]
    y = torch.arange(6.0)[:, None] * 1000
    assert G.eval()(z, y).flatten().tolist() == [0, 1102, 2204, 3006, 4108, 5210]
    assert len(list(G.parameters())) == 1


@pytest.mark.parametrize("dataset", ["ring8", "digits"])
def test_the_position_in_a_batch_tells_the_generator(dataset: str) -> None:
    game = game_of(dataset, ("mad-gan", {"generators": 2}))
    batch = Batch(game, "generator", 0)
    names = game.G.names
    assert any(name.startswith("members.0.hidden.hidden1") for name in names)
    assert not any(name.startswith("members.1.hidden.hidden1") for name in names)
    for i in range(2):
        slope = torch.autograd.grad(batch.fake[:, i::2].sum(), game.G.theta, retain_graph=True)[0]
        reached = {name for name, value in game.G.parameters(slope).items() if (value != 0).any()}
        assert reached
        assert not any(name.startswith(f"members.{1 - i}.output") for name in reached)
        assert any(name.startswith(f"members.{i}.output") for name in reached)
        assert any(name.startswith("members.0.hidden.hidden1") for name in reached)


def test_the_discriminator_is_taught_which_generator_it_was() -> None:
    game = game_of("ring8", ("mad-gan", {"generators": 2}))
    batch = Batch(game, "discriminator", 0)
    scores = batch.judged_fake.outputs["classes"]
    (slope,) = torch.autograd.grad(game.discriminator_loss(batch), scores, torch.ones(1).double())
    # The cross-entropy's slope is negative at the right class alone.
    assert (slope[0, 0::2] < 0).nonzero()[:, 1].unique().tolist() == [1]
    assert (slope[0, 1::2] < 0).nonzero()[:, 1].unique().tolist() == [2]


@pytest.mark.parametrize("dataset", ["ring8", "digits"])
def test_steps_equal_a_plain_loop(dataset: str) -> None:
    spec = make_spec(dataset, ("mad-gan", {"generators": 2}), seed=5, precision="float64")
    trainer, source = make_trainer([spec]), make_trainer([spec]).game
    with seeded(spec.seed, "init/generator"):
        G = build_generator(blueprint_of(spec)).double()
    with seeded(spec.seed, "init/discriminator"):
        D = build_discriminator(blueprint_of(spec)).double()
    optimizer_g = torch.optim.Adam(G.parameters(), 2e-4, betas=(0.5, 0.999))
    optimizer_d = torch.optim.Adam(D.parameters(), 2e-4, betas=(0.5, 0.999))
    entropy = nn.functional.cross_entropy

    def made_by(z: Tensor) -> list[Tensor]:
        """Let each generator make its own batch of the first latent of every turn."""
        return [member(z[::2]) for member in G.members]

    for step in range(4):
        trainer.train_step()
        batch = Batch(source, "discriminator", step)
        made = [x.detach() for x in made_by(batch.latents[0])]
        loss = entropy(D(batch.real[0]).outputs["classes"], torch.zeros(8).long())
        # All generated data at once, for the batch normalisation's sake, one after the other.
        scores = D(torch.cat(made)).outputs["classes"].split(4)
        for i, own in enumerate(scores):
            loss = loss + entropy(own, torch.full((4,), i + 1))
        optimizer_d.zero_grad()
        loss.backward()
        optimizer_d.step()
        batch = Batch(source, "generator", step)
        scores = D(torch.cat(made_by(batch.latents[0]))).outputs["classes"]
        loss = entropy(scores, torch.zeros(8).long())
        optimizer_g.zero_grad()
        loss.backward()
        optimizer_g.step()
    found = trainer.state(0)
    for player, module in (("generator", G), ("discriminator", D)):
        for name, parameter in module.named_parameters():
            torch.testing.assert_close(
                found[f"{player}/{name}"], parameter.detach(), rtol=1e-9, atol=1e-10, msg=name
            )


def test_samples_come_from_all_generators_at_latents_of_their_own() -> None:
    game = game_of("ring8", ("mad-gan", {"generators": 2}))
    drawn = game.sample(6, "evaluation")
    z = game.streams.normal("evaluation/latent", 0, (512, 4))
    everything = game.G(z, training=False)
    torch.testing.assert_close(drawn, everything[:, :6])
    assert drawn[0].unique(dim=0).shape[0] == 6


def test_a_batch_must_hold_as_much_of_each_generator() -> None:
    spec = make_spec("ring8", ("mad-gan", {"generators": 3}), batch=8)
    assert refusal(spec) == "a batch of 8 is no multiple of 3"
    assert refusal(make_spec("ring8", ("mad-gan", {"generators": 3}), batch=9)) is None


def test_packing_is_refused() -> None:
    reason = refusal(make_spec("ring8", "mad-gan", ["packing"]))
    assert reason == "a pack would mix the generators that D has to tell apart"
