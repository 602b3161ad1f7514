"""Proves the conditional GAN: what is joined to z and to x, in training and for samples."""

from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from harness.datasets.base import Dataset
from harness.networks.base import build_discriminator, build_generator
from harness.parts import Condition, Context, variants
from harness.parts.blueprint import blueprint_of
from harness.parts.conditions import in_proportion
from harness.testing.cells import game_of, refusal, trainer_of
from harness.testing.specs import make_spec
from harness.training.batch import Batch
from harness.training.streams import Stream


@pytest.mark.parametrize("phase", ["discriminator", "generator"])
@pytest.mark.parametrize("dataset", ["ring8", "digits"])
def test_generated_data_have_the_classes_of_the_batchs_real_data(dataset: str, phase: Any) -> None:
    game = game_of(dataset, "cgan", runs=2)
    classes = {"ring8": 8, "digits": 10}[dataset]
    batch = Batch(game, phase, 3)
    assert batch.labels is not None
    assert batch.condition is not None
    assert batch.condition.shape == (2, 8, classes)
    for run in range(2):
        for example, label in enumerate(batch.labels[run].tolist()):
            expected = [float(k == label) for k in range(classes)]
            assert batch.condition[run, example].tolist() == expected


@pytest.mark.parametrize("join", ["input", "every-layer"])
@pytest.mark.parametrize("network", ["mlp-small", "dcgan"])
def test_both_networks_see_the_class(network: str, join: str) -> None:
    spec = make_spec("digits", ("cgan", {"join": join}), network=network, precision="float64")
    blueprint = blueprint_of(spec)
    plain = blueprint_of(make_spec("digits", "gan", network=network))
    for build, first in ((build_generator, "generator"), (build_discriminator, "discriminator")):
        conditional, unconditional = build(blueprint), build(plain)
        grown = [
            name
            for name, weight in conditional.named_parameters()
            if weight.shape != dict(unconditional.named_parameters())[name].shape
        ]
        weights = [n for n, w in conditional.named_parameters() if w.ndim > 1]
        assert grown == (weights[:1] if join == "input" else weights), first
    game = game_of("digits", ("cgan", {"join": join}))
    batch = Batch(game, "generator", 0)
    z, y = batch.latents[:, :1].expand(1, 10, -1), torch.eye(10, dtype=torch.float64)[None]
    made = game.G(z, y, training=False)
    judged = game.D(made[:, :1].expand_as(made), y, training=False).logits
    assert made[0].flatten(1).unique(dim=0).shape[0] == 10
    assert judged[0].unique().numel() == 10


def test_discriminator_and_generator_meet_under_the_same_class() -> None:
    game = game_of("ring8", "cgan")
    batch = Batch(game, "discriminator", 0)
    asked: list[tuple[Any, ...]] = []
    inner = game.D

    class Recorder:
        def __call__(self, x: Any, y: Any, **options: Any) -> Any:
            asked.append((x, y))
            return inner(x, y, **options)

        def __getattr__(self, name: str) -> Any:
            return getattr(inner, name)

    game.D = Recorder()  # type: ignore[assignment]
    game.discriminator_loss(batch)
    assert len(asked) == 2
    assert all(torch.equal(y, batch.condition) for _, y in asked)
    torch.testing.assert_close(batch.fake, game.G(batch.latents, batch.condition))


def test_samples_have_each_class_as_often_as_the_data() -> None:
    game = game_of("digits", "cgan", runs=2)
    asked: list[torch.Tensor] = []
    inner = game.G

    def recording(z: Any, y: Any, **options: Any) -> Any:
        asked.append(y)
        return inner(z, y, **options)

    game.G = type("G", (), {"__call__": staticmethod(recording), "runs": 2, "theta": inner.theta})()  # type: ignore[assignment]
    counts = (5, 1, 0, 2, 2, 0, 0, 0, 0, 10)
    for shares, count in ((game.class_counts, 1000), (counts, 20), (counts, 700)):
        assert shares is not None
        asked.clear()
        game.class_counts = shares
        made = game.sample(count, "evaluation")
        assert made.shape == (2, count, 1, 16, 16)
        y = torch.cat(asked, dim=1)[:, :count]
        assert torch.equal(y.sum(2), torch.ones(2, count, dtype=torch.float64))
        for run in range(2):
            expected = torch.tensor(shares).double() / sum(shares) * count
            assert (y[run].sum(0) - expected).abs().max() <= 1
        exact = [n * count / sum(shares) for n in shares]
        if all(share == int(share) for share in exact):
            assert y[0].sum(0).tolist() == exact


@given(st.lists(st.integers(0, 50), min_size=1, max_size=12).filter(any), st.integers(1, 200))
def test_every_beginning_has_the_shares(counts: list[int], length: int) -> None:
    line = in_proportion(tuple(counts), length)
    assert torch.equal(line, in_proportion(tuple(counts), length + 37)[:length])
    for end in (1, length // 2 + 1, length):
        found = torch.bincount(line[:end], minlength=len(counts)).double()
        assert (found - torch.tensor(counts).double() / sum(counts) * end).abs().max() < len(counts)
        assert found[[count == 0 for count in counts]].sum() == 0


def test_unlabelled_data_are_refused() -> None:
    class Unlabelled(Dataset):
        id: ClassVar[str] = "pictures"
        kind = "images"
        shape = (1, 16, 16)

    variant = variants.get("cgan")()
    context = Context(Unlabelled(), variant, (), make_spec("digits", "cgan").settings)
    assert variant.inapplicable(context) == (
        "cgan joins the class to z and to x; pictures has no labels"
    )
    assert refusal(make_spec("digits", "cgan")) is None


def test_the_class_changes_what_is_learned() -> None:
    conditional, plain = trainer_of("ring8", "cgan"), trainer_of("ring8", "gan")
    for trainer in (conditional, plain):
        trainer.train_step()
    (gradient,) = torch.autograd.grad(
        conditional.game.generator_loss(Batch(conditional.game, "generator", 5)).sum(),
        conditional.game.G.theta,
    )
    first = conditional.game.G.parameters(gradient)["hidden.hidden1.0.weight"][0]
    assert first.shape == (8, 4 + 8)
    assert (first[:, 4:].abs().sum(0) > 0).any()


class TestCondition:
    """What a variant says of what it joins, and how a user's choice becomes numbers."""

    everything = Condition(classes=3, categories=(2, 4), continuous=2)

    def drawn(self) -> torch.Tensor:
        game = game_of("ring8", "gan", runs=2)
        labels = torch.tensor([[0, 1, 2, 0, 1], [2, 2, 1, 0, 0]])
        return self.everything.draw(Stream(game.streams, "test", 0), labels, 5, torch.float64)

    def test_a_class_is_never_made_up(self) -> None:
        game = game_of("ring8", "gan", runs=2)
        with pytest.raises(ValueError, match="no labels are given"):
            self.everything.draw(Stream(game.streams, "test", 0), None, 5, torch.float64)

    def test_its_parts_lie_in_order(self) -> None:
        assert self.everything.size == 11
        y = self.drawn()
        assert y.shape == (2, 5, 11)
        for place in (slice(0, 3), slice(3, 5), slice(5, 9)):
            assert torch.equal(y[..., place].sum(2), torch.ones(2, 5, dtype=torch.float64))
            assert set(y[..., place].unique().tolist()) == {0.0, 1.0}
        assert y[..., 9:].abs().max() <= 1
        assert (y[..., 9:] < 0).any()

    def test_a_choice_leaves_the_rest_as_drawn(self) -> None:
        y = self.drawn()
        found = self.everything.chosen(y, label=2, categories={1: 3}, continuous={0: -0.5})
        assert found[..., :3].unique(dim=1).tolist() == [[[0.0, 0.0, 1.0]]] * 2
        assert torch.equal(found[..., 3:5], y[..., 3:5])
        assert found[..., 5:9].unique(dim=1).tolist() == [[[0.0, 0.0, 0.0, 1.0]]] * 2
        assert (found[..., 9] == -0.5).all()
        assert torch.equal(found[..., 10], y[..., 10])
        assert not torch.equal(found, y)

    @pytest.mark.parametrize(
        ("choice", "message"),
        [
            ({"label": 3}, "no class 3, there are 0 to 2"),
            ({"label": -1}, "no class -1, there are 0 to 2"),
            ({"categories": {2: 0}}, "no categorical code 2, there are 0 to 1"),
            ({"categories": {0: 2}}, "no value of categorical code 0: 2, there are 0 to 1"),
            ({"continuous": {2: 0.0}}, "no continuous code 2, there are 0 to 1"),
        ],
    )
    def test_what_there_is_not_is_said(self, choice: dict[str, Any], message: str) -> None:
        with pytest.raises(ValueError, match=message):
            self.everything.chosen(self.drawn(), **choice)

    def test_nothing_is_joined_by_most_variants(self) -> None:
        variant = variants.get("gan")()
        assert variant.joins(10) == Condition()
        game = SimpleNamespace(classes=10)
        assert variant.condition(game, None, None, 4) is None
        with pytest.raises(ValueError, match="this generator has none"):
            Condition().chosen(torch.zeros(1, 1, 0), label=0)
