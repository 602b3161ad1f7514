"""Which checks a part of each kind must pass."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import torch
from pydantic.fields import FieldInfo

from harness.errors import UnknownNameError
from harness.parts import Part, variants
from harness.registry import KINDS, nearest
from harness.testing import contents, sight, training
from harness.testing.cells import DATASETS, HOSTS, SHORT, STEPS, KitCell, accepted, train
from harness.testing.training import require
from harness.training.trainer import Trainer

CELL_CHECKS: tuple[Callable[[KitCell], None], ...] = (
    training.trains,
    training.failure_stays_alone,
    training.resumes,
    training.replays,
    training.precision,
    training.never_waits,
)
"""What holds of every cell that is not refused."""


CONTENT_CHECKS: dict[str, tuple[Callable[[str], None], ...]] = {
    "network": (
        contents.answers_by_shape,
        contents.every_weight_learns,
        contents.stacked_equals_alone,
        contents.declared_support_is_true,
    ),
    "dataset": (contents.splits_are_sound, contents.images_survive_their_range),
    "metric": (contents.metric_is_sound,),
    "probe": (contents.probe_has_columns,),
}
"""By kind, what holds of a part that is looked at by itself."""

SIGHT_CHECKS: tuple[Callable[[str, Path | None], None], ...] = (
    sight.real_falls_with_count,
    sight.repeats_itself,
    sight.is_frozen,
    sight.batches_do_not_matter,
    sight.takes_what_it_declares,
    sight.knows_its_classes,
)
"""What holds of every extractor, wherever the data root with its weights may be."""


ACTING = 2
"""Steps in which a trick that has begun to act must change something."""


@dataclass(frozen=True)
class Check:
    """One named proof, to be called.

    Attributes:
        name: What is proved of what.
        run: Raises :class:`AssertionError` with what is wrong.
        slow: Whether it takes more than a moment, for the same to be proved in short by another.
    """

    name: str
    run: Callable[[], None]
    slow: bool = False

    def __call__(self) -> None:
        """Make the proof."""
        self.run()

    def __str__(self) -> str:
        return self.name


def checks(
    kind: str,
    name: str,
    *,
    options: Mapping[str, Any] | None = None,
    datasets: Sequence[str] = DATASETS,
    hosts: Sequence[tuple[str, str]] = HOSTS,
    starts: int = 0,
    root: Path | None = None,
) -> list[Check]:
    """Collect what a part must pass, besides its formula.

    Args:
        kind: What it is, such as ``variant``; one of :data:`harness.registry.KINDS`.
        name: Its id; import its module first, or name it with ``load_plugin``.
        options: Options under which a variant or trick has the most to do.
        datasets: Data sets that a variant is tried on.
        hosts: Data sets and variants that a trick is tried on; of each kind of data the first
            that it applies to.
        starts: Steps after which a trick begins to act, at most 48 of the 50 that the kit trains;
            before them it must change nothing.
        root: The data root, where an extractor's weights may lie.

    Raises:
        UnknownNameError: if there is no such kind, or nothing of the kind has the name.
        ValueError: if ``starts`` is out of range.
    """
    if kind not in KINDS:
        raise UnknownNameError(f"unknown kind {kind!r}{nearest(kind, list(KINDS))}")
    cls = KINDS[kind].registry.get(name)
    checklist = [Check(f"{name}: described", partial(described, cls))]
    given = dict(options or {})
    if kind == "variant":
        cells = accepted(KitCell(dataset, (name, given)) for dataset in datasets)
        checklist.append(Check(f"{name}: applies somewhere", partial(applies, name, cells)))
        checklist += cell_checks(cells)
    elif kind == "trick":
        if not 0 <= starts <= STEPS - ACTING:
            raise ValueError(f"starts is {starts}, not 0 to {STEPS - ACTING}")
        cells = [replace(cell, starts=starts) for cell in trick_cells(name, given, hosts)]
        checklist.append(Check(f"{name}: applies somewhere", partial(applies, name, cells)))
        checklist.append(Check(f"{name}: refusals have reasons", partial(refusals, name, given)))
        for cell in cells:
            checklist.append(Check(f"{cell}: changes the step", partial(changes_the_step, cell)))
            checklist.append(Check(f"{cell}: paired", partial(training.paired_by_seed, cell)))
        checklist += cell_checks(cells)
    elif kind == "extractor":
        for change in sight.LEVELS:
            run = partial(sight.grows, change, name, root)
            checklist.append(Check(f"{name}: the distance grows with {change}", run))
        for proof in SIGHT_CHECKS:
            checklist.append(Check(f"{name}: {words(proof)}", partial(proof, name, root)))
    else:
        for check in CONTENT_CHECKS[kind]:
            checklist.append(Check(f"{name}: {words(check)}", partial(check, name)))
    return checklist


def words(check: Callable[..., None]) -> str:
    """Write a check's name as words."""
    return check.__name__.replace("_", " ")


def cell_checks(cells: Sequence[KitCell]) -> list[Check]:
    """Make every check of every cell; stacked convolutions take long for 50 steps."""
    checklist = []
    for cell in cells:
        for steps in (SHORT, STEPS) if cell.convolutional else (STEPS,):
            name = f"{cell}: {words(training.alone_equals_cohort)} after {steps} steps"
            run = partial(training.alone_equals_cohort, cell, steps)
            checklist.append(Check(name, run, slow=cell.convolutional and steps == STEPS))
        checklist += [
            Check(f"{cell}: {words(check)}", partial(check, cell)) for check in CELL_CHECKS
        ]
    return checklist


def trick_cells(
    name: str, options: Mapping[str, Any], hosts: Sequence[tuple[str, str]] = HOSTS
) -> list[KitCell]:
    """Choose the cells that prove a trick: the first of each data set that accept it."""
    cells: dict[str, KitCell] = {}
    for dataset, variant in hosts:
        cell = KitCell(dataset, variant, ((name, dict(options)),))
        if dataset not in cells and cell.refusal is None:
            cells[dataset] = cell
    return list(cells.values())


def described(cls: type[Any]) -> None:
    """A part says what it is and where it comes from, and describes each option."""
    require(len(cls.summary.split()) >= 3, f"the docstring's first line says {cls.summary!r}")
    require(len(cls.source.split()) >= 2, f"the source {cls.source!r} names no work")
    if issubclass(cls, Part):
        options = cls.model_fields.items()
        silent = [name for name, field in options if not explained(cls, name, field)]
        require(not silent, f"nothing describes {', '.join(silent)}")


def explained(cls: type[Part], name: str, field: FieldInfo) -> bool:
    """Say whether an option has a description, or is named in the docstring."""
    return bool(field.description) or f"``{name}``" in (cls.__doc__ or "")


def applies(name: str, cells: Sequence[KitCell]) -> None:
    """A part can be used on at least one of the kit's data sets."""
    require(bool(cells), f"{name} is refused everywhere")


def refusals(name: str, options: Mapping[str, Any]) -> None:
    """Every refusal is a phrase that gives a reason."""
    for dataset in DATASETS:
        for variant in variants.names():
            reason = KitCell(dataset, variant, ((name, dict(options)),)).refusal
            if reason is not None:
                phrase = len(reason.split()) >= 4 and not reason.endswith(".")
                require(phrase, f"{reason!r} is no reason")


def changes_the_step(cell: KitCell) -> None:
    """Two steps with the trick and without it, from when on it acts, end elsewhere."""
    plain = cell.without_tricks()
    if cell.starts:
        early = alike(after_steps(cell, cell.starts), after_steps(plain, cell.starts))
        require(early, f"it acts before it starts, after {cell.starts} steps")
    steps = cell.starts + ACTING
    same = alike(after_steps(cell, steps), after_steps(plain, steps))
    require(
        not same,
        f"{steps} steps end where they end without it"
        + ("" if cell.starts else "; if it acts later, say when: checks(…, starts=STEPS)"),
    )


def alike(one: Trainer, other: Trainer) -> bool:
    """Whether two trainings have the same weights, and the same ones that are measured."""
    for player in ("G", "D"):
        pair = [getattr(trainer.game, player).theta for trainer in (one, other)]
        if pair[0].shape != pair[1].shape or not torch.equal(*pair):
            return False
    # Weights averaged beside the training change what is measured.
    return torch.equal(*(trainer.game.sample(16, "evaluation") for trainer in (one, other)))


@lru_cache(maxsize=8)
def after_steps(cell: KitCell, steps: int) -> Trainer:
    """Train a cell alone for some steps, in double precision."""
    return train([cell.spec(precision="float64")], steps)
