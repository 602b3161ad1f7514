"""What of a run goes where in W&B: pure functions from its records to rows, tags and summary."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from harness.spec import RunSpec, canonical_json, content_id
from harness.store.events import EvaluationRow, Event, LossRow, SampleFile
from harness.store.fields import as_json
from harness.store.reading import RunRecord
from harness.store.records import NONE, PlannedPart, PlannedRun

AXIS = "kimg"
"""Thousands of training images seen: the horizontal axis of every chart."""

SECTIONS = ("evaluation", "raw", "losses")
TAG_LENGTH = 64
FORBIDDEN = frozenset("/\\#?%:")
"""What W&B refuses in a run's id."""


@dataclass(frozen=True)
class Row:
    """One line of a W&B run's history.

    Attributes:
        values: By chart, such as ``losses/d``, together with ``kimg``; may be non-finite.
        picture: File of generated examples, relative to the run's folder; None without.
    """

    values: dict[str, float]
    picture: str | None = None

    @property
    def text(self) -> str:
        """The same for equal rows; unlike the row itself, also where a value is NaN."""
        return canonical_json([as_json(self.values), self.picture])


@dataclass(frozen=True)
class Identity:
    """How a run is called and found in W&B."""

    id: str
    name: str
    group: str
    tags: tuple[str, ...]
    config: dict[str, Any] = field(repr=False)
    job_type: str = "train"


def identity(suite: str, fingerprint: str, planned: PlannedRun, spec: RunSpec) -> Identity:
    """Name a run: the id is the run's own, the group is the suite with its fingerprint."""
    if FORBIDDEN & set(planned.id):
        raise ValueError(f"W&B refuses the id {planned.id!r}")
    labels = (
        planned.variant,
        *([planned.tricks] if planned.cell.tricks else []),
        planned.dataset,
        f"seed {planned.seed}",
    )
    return Identity(
        id=planned.id,
        name=" · ".join(labels),
        group=f"{suite}-{fingerprint}",
        tags=tags(planned),
        config=spec.identity,
    )


def tags(planned: PlannedRun) -> tuple[str, ...]:
    """Return ``variant:``, one ``trick:`` for each trick (or ``trick:none``) and ``data:``."""
    labels = [
        f"variant:{planned.variant}",
        *(f"trick:{trick.label}" for trick in planned.cell.tricks or (PlannedPart(NONE),)),
        f"data:{planned.dataset}",
    ]
    shortened = (tag if len(tag) <= TAG_LENGTH else f"{tag[: TAG_LENGTH - 1]}…" for tag in labels)
    return tuple(dict.fromkeys(shortened))


def rows(events: Iterable[Event]) -> list[Row]:
    """Turn effective events into history rows, in order.

    A longer log of the same run begins with the same rows, so that rows which were sent stay
    valid. Examples join the evaluation of their step, or follow it where they were recorded
    after it.
    """
    pictures: dict[int, str] = {}
    evaluated: dict[int, float] = {}
    history: list[Row] = []
    for event in events:
        if isinstance(event, LossRow):
            history.append(Row({AXIS: event.kimg, **_in_section("losses", event.values)}))
        elif isinstance(event, EvaluationRow):
            beside = {"diversity": event.diversity, "mode_coverage": event.mode_coverage}
            values = {
                AXIS: event.kimg,
                **_in_section("evaluation", event.values),
                **_in_section("evaluation", beside),
                # Where the average of G's weights is measured, they themselves are too.
                **_in_section("raw", event.raw or {}),
            }
            history.append(Row(values, pictures.pop(event.step, None)))
            evaluated[event.step] = event.kimg
        elif isinstance(event, SampleFile) and _is_inside(event.file):
            if event.step in evaluated:
                history.append(Row({AXIS: evaluated[event.step]}, event.file))
            else:
                pictures[event.step] = event.file
    return history


def _in_section(section: str, values: Mapping[str, float | None]) -> dict[str, float]:
    return {f"{section}/{name}": value for name, value in values.items() if value is not None}


def _is_inside(file: str) -> bool:
    path = PurePosixPath(file)
    return not path.is_absolute() and ".." not in path.parts


def summary(record: RunRecord) -> dict[str, Any]:
    """Say in single values what became of a run; empty while it has no outcome.

    ``primary`` is the metric that verdicts go by at the last evaluation, ``untrained`` its value
    before training.
    """
    outcome = record.outcome
    if outcome is None:
        return {}
    names = ("outcome", "onset", "reason", "seconds", "evaluation_seconds", "peak_memory")
    entries: dict[str, Any] = {name: getattr(outcome, name) for name in names}
    entries["steps"] = outcome.step
    entries["attempts"] = len(record.attempts)
    primary = record.primary
    if primary is not None:
        steps, values = record.curve(primary.name)
        entries["primary_metric"] = primary.name
        if values:
            entries["primary"] = values[-1]
            entries["untrained"] = values[0] if steps[0] == 0 else None
    return {name: value for name, value in entries.items() if value is not None}


def digest(
    who: Identity, history: Sequence[Row], totals: dict[str, Any], *, length: int = 16
) -> str:
    """Name everything that W&B is told of a run, so that a second push knows it is there."""
    told = {
        "who": [who.id, who.name, who.group, who.tags, who.job_type, who.config],
        "rows": [row.text for row in history],
        "summary": totals,
    }
    return content_id(as_json(told), length)
