"""Proves that the order in which two tricks are written does not matter, or that ganbench says so.

A trick that silently undid another would be named in results that it has no part in.
"""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from harness.datasets.base import dataset_of
from harness.parts import Context, Trick, parts_of, refused, remarks, tricks
from harness.spec import RunSpec
from harness.testing.cells import make_trainer, refusal
from harness.testing.specs import Named, make_spec
from harness.training.batch import Batch

ACTING: dict[str, dict[str, Any]] = {
    "ada": {"speed": 20.0, "target": -0.9, "interval": 1},
    "sampling": {"up": "nearest", "down": "average"},
}
"""Options of tricks that do nothing, or nothing soon, by their defaults."""
HOSTS = [("ring8", "gan"), ("digits", "dcgan")]


def specs(dataset: str, variant: str, first: Named, second: Named) -> tuple[RunSpec, RunSpec]:
    """Describe a run of two tricks in both orders."""
    pair = (first, second), (second, first)
    one, other = (make_spec(dataset, variant, each, precision="float64") for each in pair)
    return one, other


def result(spec: RunSpec) -> list[Tensor]:
    """Train for three steps; return both players' weights and what would be measured."""
    trainer = make_trainer([spec])
    for _ in range(3):
        trainer.train_step()
    game = trainer.game
    return [game.G.theta.detach(), game.D.theta.detach(), game.sample(8, "evaluation")]


def alike(one: RunSpec, other: RunSpec) -> bool:
    """Whether two runs end in the same place, to rounding."""
    return all(
        a.shape == b.shape and torch.allclose(a, b, rtol=1e-9, atol=1e-9)
        for a, b in zip(result(one), result(other), strict=True)
    )


@pytest.mark.slow
@pytest.mark.parametrize(("dataset", "variant"), HOSTS)
@pytest.mark.parametrize("first", tricks.names())
def test_two_tricks_in_both_orders(dataset: str, variant: str, first: str) -> None:
    unsaid = []
    for second in tricks.names():
        if second <= first:
            continue
        pair: list[Named] = [(name, ACTING.get(name, {})) for name in (first, second)]
        one, other = specs(dataset, variant, *pair)
        if refusal(one) or refusal(other):
            continue
        named = all(any(first in r and second in r for r in remarks(s)) for s in (one, other))
        if not named and not alike(one, other):
            unsaid.append(second)
    assert not unsaid


class TestKnownPairs:
    """Pairs whose order did matter, each by the mechanism that settles it now."""

    def test_a_term_outlives_the_replacement_of_gs_loss(self) -> None:
        terms = ["historical-averaging", ("consistency", {"mode": "icr"}), "loss-sum"]
        for dataset, term in (("ring8", terms[0]), ("digits", terms[1]), ("ring8", terms[2])):
            one, other = specs(dataset, "lsgan", term, "feature-matching")
            assert alike(one, other)
            trainer = make_trainer([one])
            trainer.train_step()
            game = trainer.game
            batch = Batch(game, "generator", 1)
            matching = game.parts[2].replaced_generator_loss(game, batch)
            assert not torch.equal(game.generator_loss(batch), matching)

    def test_an_average_is_that_of_clipped_weights(self) -> None:
        one, other = specs("ring8", "gan", "historical-averaging", "weight-clipping")
        assert alike(one, other)
        trainer = make_trainer([one])
        trainer.train_step()
        held = trainer.game.memory["historical-averaging"]["D"]
        start = make_trainer([one]).game.D.theta
        torch.testing.assert_close(held, (start + trainer.game.D.theta) / 2)

    @pytest.mark.parametrize("where", ["G", "both"])
    def test_what_another_trick_builds_over_is_refused_in_both_orders(self, where: str) -> None:
        layers = ("normalization", {"where": where})
        for spec in specs("digits", "dcgan", layers, "virtual-batch-norm"):
            assert "built otherwise by another trick" in str(refusal(spec)) or "already has" in str(
                refusal(spec)
            )
        for spec in specs(
            "digits", "dcgan", ("normalization", {"where": "D"}), "virtual-batch-norm"
        ):
            assert refusal(spec) is None

    def test_any_trick_that_is_built_over_is_refused(self) -> None:
        """Also a plugin's: what counts is the plan of the networks."""

        class Wide(Trick):
            """Builds a wide G."""

            id = "wide"
            factor: int

            def build(self, blueprint: Any) -> Any:
                G = blueprint.generator
                return replace(blueprint, generator=replace(G, width=G.width * self.factor))

        class Fixed(Wide):
            """Builds a G of one width, whatever it was."""

            id = "fixed"

            def build(self, blueprint: Any) -> Any:
                G = replace(blueprint.generator, width=self.factor)
                return replace(blueprint, generator=G)

        spec = make_spec("ring8", "gan")
        variant, _ = parts_of(spec)
        wide, fixed = Wide(factor=2), Fixed(factor=32)
        for order, lost in (((wide, fixed), wide), ((fixed, wide), None)):
            context = Context(dataset_of(spec), variant, order, spec.settings)
            for part in order:
                assert (refused(part, context) is not None) == (part is lost)

    @pytest.mark.parametrize("other", ["r2", "gradient-penalty", "consistency"])
    def test_passes_that_move_spectral_norms_are_named_in_their_order(self, other: str) -> None:
        one, swapped = specs("digits", "sngan", "r1", other)
        assert not alike(one, swapped)
        said = f"r1, then {other} ask D in this order"
        assert any(remark.startswith(said) for remark in remarks(one))
        assert any(remark.startswith(f"{other}, then r1 ask D") for remark in remarks(swapped))
        assert remarks(specs("digits", "gan", "r1", other)[0]) == []

    def test_tricks_that_change_what_d_sees_are_named_in_their_order(self) -> None:
        one, other = specs("digits", "dcgan", "diffaugment", "instance-noise")
        said = "diffaugment, then instance-noise change what D sees, in this order"
        assert said in remarks(one)
        assert said not in remarks(other)
        assert remarks(make_spec("digits", "dcgan", ["diffaugment"])) == []
