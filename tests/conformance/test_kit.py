"""Every built-in part passes the kit that plugins are held to, and so do combinations of them."""

from typing import Any

import pytest

from harness.parts import tricks, variants
from harness.registry import KINDS
from harness.testing import Check, KitCell, checks
from harness.testing.cells import make_trainer
from harness.testing.kit import cell_checks
from harness.testing.training import Waits, paired_by_seed, trains
from tests.conformance.matrix import CELLS, OPTIONS, combined, crossed


def every_check() -> list[Any]:
    """Make a parameter of each check; what takes long is marked."""
    found = [
        check
        for kind in KINDS
        for name in KINDS[kind].registry.names()
        if (kind, name) != ("extractor", "inception-v3-compat")  # its weights are not shipped
        if kind != "dataset" or embedded(name)
        for check in checks(kind, name, options=OPTIONS.get(name))
    ]
    found += cell_checks(combined())
    slow = pytest.mark.slow
    return [pytest.param(check, id=str(check), marks=[slow] * check.slow) for check in found]


def embedded(name: str) -> bool:
    """Whether a data set needs no files and no options."""
    cls = KINDS["dataset"].registry.get(name)
    required = any(field.is_required() for field in cls.model_fields.values())
    return not cls.needs_root and not required


@pytest.mark.parametrize("check", every_check())
def test_conforms(check: Check) -> None:
    check()


@pytest.mark.parametrize("cell", combined(), ids=str)
def test_combinations_are_accepted_and_paired(cell: KitCell) -> None:
    assert cell.refusal is None
    paired_by_seed(cell)


@pytest.mark.slow
@pytest.mark.parametrize("variant", variants.names())
@pytest.mark.parametrize("dataset", ["ring8", "digits"])
def test_every_trick_is_refused_with_a_reason_or_trains(dataset: str, variant: str) -> None:
    for cell in crossed():
        if (cell.dataset, cell.variant) == (dataset, variant):
            if cell.refusal is None:
                trains(cell)
            else:
                assert len(cell.refusal.split()) >= 4
                assert not cell.refusal.endswith(".")


def test_nothing_is_left_out() -> None:
    assert {cell.variant for cell in CELLS} == set(variants.names())
    laid_over = {name for cell in CELLS for name, _ in cell.tricks}
    assert laid_over == set(tricks.names())
    assert OPTIONS.keys() <= laid_over


def test_a_wait_would_be_seen() -> None:
    trainer = make_trainer([KitCell("ring8", "gan").spec()])
    with Waits() as waits:
        float(trainer.game.G.theta.detach().sum())
    assert waits.operations == ["aten::_local_scalar_dense"]


@pytest.mark.parametrize(
    ("cell", "words"),
    [
        (KitCell("ring8", "gan", ("patchgan",)), "patches need images"),
        (KitCell("ring8", "dcgan"), "convolutional"),
        (KitCell("digits", "wgan", ("label-smoothing",)), "no target"),
        (KitCell("digits", "sngan", ("spectral-norm",)), "already"),
        (KitCell("digits", "vae", ("r1",)), "no adversary"),
        (KitCell("ring8", "gan", ("diffaugment",)), "images"),
        (KitCell("ring8", "gan", (("sampling", {"down": "max"}),)), "cannot be built with another"),
    ],
    ids=str,
)
def test_refusals_say_why(cell: KitCell, words: str) -> None:
    assert cell.refusal is not None
    assert words in cell.refusal
