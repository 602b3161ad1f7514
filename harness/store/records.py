"""What a results folder records beside events: the plan, and what is measured in a run, of what."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import Field

from harness.store.code import PartCode
from harness.store.fields import OPTIONAL, Count, Finite, Flag, Number, Text

Outcome = Literal["ok", "collapsed", "unlearned", "diverged", "oom", "crashed", "preempted"]
FAILURES = ("collapsed", "unlearned", "diverged")
"""Outcomes that are results, and bad ones. A run that never was above a threshold of collapse has
learnt nothing (``unlearned``); one that fell below it for good has ``collapsed``."""
FINAL: frozenset[str] = frozenset({"ok", *FAILURES})
"""Outcomes that are results; the others are tried again by the next invocation."""
REACHED_THE_END = ("ok", "collapsed", "unlearned")
"""Outcomes of runs that made all their steps."""
CRASHES = ("oom", "crashed")
"""Outcomes that are none: what such a run had measured says nothing of its cell."""


TUNING_SCHEMA = 2
"""Of ``trials.json`` and ``summary.json`` of a cell below ``tuning/``.

The summary holds ``cell`` {dataset, variant, tricks}; ``metric`` of trials and ``reported_metric``
on fresh seeds, of which ``better`` says the direction; ``space`` {name: {low, high, log}};
``trials``, each with ``number`` of the setting, ``params``, ``seed``, ``value``, ``outcome`` and
``run``; ``default`` and ``chosen``: ``params``, names of those at ``edges``, and ``fresh`` runs in
the same form.
"""


@dataclass(frozen=True)
class MetricInfo:
    """One column of an evaluation.

    Attributes:
        name: With its protocol, such as ``fd[digits-cnn@1a2b3c4d]@1000/train``.
        metric: Id in the registry, such as ``frechet``.
        summary: What it measures, one line.
        better: ``lower``, ``higher`` or ``none`` (a diagnostic without a direction).
        primary: Whether verdicts and tuning go by it; true of exactly one per data set.
        floor: Its value for real held-out data; None where not defined.
        floor_count: Of how many examples: as many as are generated, or all that there are.
        version: Of the metric's definition; None in records that do not say.
        calibration: Its values for samples of which the right answer is known, by what they are:
            the mean over draws, and the limits that 95 % of them lie between where there were
            several. Older records have their standard deviation in place of these.
    """

    name: str
    metric: str
    summary: str
    better: Literal["lower", "higher", "none"]
    primary: Flag = False
    floor: Finite | None = None
    floor_count: Count | None = None
    version: Count | None = None
    calibration: dict[str, list[Number]] = field(default_factory=dict)


@dataclass(frozen=True)
class Provenance:
    """What every number of a run's evaluations rests on, beside its name.

    Attributes:
        extractor: Its label, such as ``digits-cnn@1a2b3c4d``; ``data`` for points.
        weights_sha256: Of the extractor's weights file; empty where there is none.
        samples: Generated samples per evaluation.
        reference: Split that they are compared with.
        reference_count: Examples in it.
        floor: Split that floors are drawn from.
        dtype: Precision of features and statistics.
        preprocessing: Version of how samples become what the extractor sees.
        device: ``cpu`` or ``cuda``, where the extractor computes.
        libraries: Version of each that takes part.
        weights: Whose weights of G are measured: ``raw``, or what averages them, such as ``ema``.
        normalization: By which statistics G normalises while it is measured.
        classes: How often a conditional G is asked for each class; empty for another G.
    """

    extractor: str
    weights_sha256: str
    samples: Count
    reference: str
    reference_count: Count
    floor: str
    dtype: str
    preprocessing: Count
    device: str
    libraries: dict[str, str]
    weights: str = "raw"
    normalization: str = ""
    classes: str = ""


@dataclass(frozen=True)
class DataFacts:
    """What a run's data are, and those that its samples are compared with.

    Attributes:
        kind: ``images`` or ``points``.
        shape: Of one example.
        classes: Labelled classes.
        modes: Centres of the modes of points.
        sigma: Standard deviation around them.
        reference_count: Examples that samples are compared with.
        extractor: Features that metrics look through.
        class_counts: Of those examples, by label.
        class_names: What classes are called, by label; None if they are only numbered.
        notes: What its files say.
        content: Hash of each split that nothing pins.
    """

    kind: str | None = None
    shape: tuple[Count, ...] = ()
    classes: Count | None = None
    modes: list[list[Finite]] | None = None
    sigma: Finite | None = None
    reference_count: Count | None = None
    extractor: str | None = None
    class_counts: tuple[Count, ...] | None = field(default=None, metadata=OPTIONAL)
    class_names: tuple[Text, ...] | None = field(default=None, metadata=OPTIONAL)
    notes: tuple[Text, ...] = field(default=(), metadata=OPTIONAL)
    content: Mapping[str, str] | None = field(default=None, metadata=OPTIONAL)


def short_name(metric: str) -> str:
    """Return a metric's name without extractor and protocol: ``fd`` of ``fd[data]@1000/train``."""
    return metric.partition("[")[0].partition("@")[0]


Weights = Literal["values", "raw"]
"""Which numbers of an evaluation: those of the weights that are measured, which may be averaged,
or beside them those of the weights as they are trained."""


NONE = "none"
"""Label of no tricks."""
PositiveCount = Annotated[Count, Field(ge=1)]
Seed = Annotated[int, Field(strict=True, ge=0, lt=2**31)]
CellKey = tuple[str, str, str]
"""Labels of data set, variant and tricks."""
PLAN_SCHEMA = 2
"""Of ``suite.json``, which lists the cells once, and of each run the place of its cell among them;
the first one had labels."""


@dataclass(frozen=True)
class PlannedPart:
    """A data set, variant or trick of a plan, or the settings that a cell changes.

    Attributes:
        id: Its id, with the place of its files if it has some; ``settings`` for settings.
        options: Those that differ from their defaults.
    """

    id: str
    options: dict[str, Any] = field(default_factory=dict, hash=False)

    @cached_property
    def label(self) -> str:
        """Such as ``update-ratio(d=5)``."""
        written = ", ".join(f"{key}={plain(value)}" for key, value in self.options.items())
        return f"{self.id}({written})" if written else self.id


def plain(value: Any) -> str:
    """Write an option's value: names as they are, everything else as JSON."""
    if isinstance(value, str) and re.fullmatch(r"[A-Za-z_][\w.-]*", value, re.ASCII):
        return value
    return json.dumps(value)


def joined(tricks: Iterable[PlannedPart]) -> str:
    """Write tricks as one label."""
    return " + ".join(trick.label for trick in tricks) or NONE


@dataclass(frozen=True)
class PlannedCell:
    """A cell of a plan.

    Attributes:
        dataset: Its data set.
        variant: Its variant.
        tricks: Its tricks in their order, and last the settings that it changes, if it does.
    """

    dataset: PlannedPart
    variant: PlannedPart
    tricks: tuple[PlannedPart, ...] = ()


class OfCell:
    """What has a cell is known by its labels."""

    cell: PlannedCell

    @property
    def dataset(self) -> str:
        """Label of its data set."""
        return self.cell.dataset.label

    @property
    def variant(self) -> str:
        """Label of its variant."""
        return self.cell.variant.label

    @property
    def tricks(self) -> str:
        """Label of its tricks."""
        return joined(self.cell.tricks)

    @property
    def labels(self) -> CellKey:
        """All three."""
        return self.dataset, self.variant, self.tricks


@dataclass(frozen=True)
class PlannedRun(OfCell):
    """One run of a suite's plan.

    Attributes:
        id: The run's id.
        folder: Name of its folder under ``runs/``.
        cell: What it trains.
        seed: Its seed.
    """

    id: str
    folder: str
    cell: PlannedCell
    seed: Seed


@dataclass(frozen=True)
class SkippedCell:
    """A cell that is not run, and why."""

    dataset: str
    variant: str
    tricks: str
    reason: str


SEEDS_FOR_A_CLAIM = 5
"""With fewer, a report claims nothing."""
LOOKS = (5, 10, 20, 40)
"""Seeds at which a suite that goes on until it is decided looks at its results."""


@dataclass(frozen=True)
class Look:
    """A look at the results of a suite that goes on until it is decided.

    Attributes:
        seeds: Seeds of what was still open.
        time: When, in ISO 8601.
        settled: What was found of each trick that needs no more seeds, by its label.
    """

    seeds: PositiveCount
    time: str
    settled: dict[str, str]


@dataclass(frozen=True)
class Standing:
    """How a trick stands after a look; the reports say it.

    Attributes:
        tricks: Its label.
        verdict: What may be said of it.
        settled: Whether it needs no more seeds, or would need more than there may be.
        ratio: Its ratio with interval, in words.
        need: Seeds that would decide, in words; empty where that is not known or not needed.
        cells: Labels (data set, variant, tricks) of its cells, and of those they are compared with.
    """

    tricks: str
    verdict: str
    settled: bool
    ratio: str
    need: str
    cells: frozenset[CellKey]


@dataclass(frozen=True)
class SuitePlan:
    """What ``suite.json`` holds.

    Attributes:
        suite: Its name.
        summary: The question it asks.
        fingerprint: Of its runs and skipped cells.
        runs: All of them, in order.
        skipped: Cells that are not run.
        source: Name of the built-in suite, or path of the file.
        profile: The profile that was asked for.
        seeds: The number of seeds that was asked for in place of the suite's own.
        plugins: Modules that were imported first.
        extractors: Networks in files, as ``--extractor`` takes them.
        baseline: Labels of the variant and the tricks of the cell that all others of its data set
            are compared with; None where tricks are compared with their variant without tricks.
        code: Of all parts of its runs that are not ganbench's own.
        margin: Ratio of the primary metric, above 1, within which a change is negligible; None for
            what its metric takes without saying.
        contrasts: Pairs of labels of tricks, the first of which is compared with the second.
        spent: Seeds whose verdicts were there to be read before others were added: those others
            alone are judged, as a new study.
        looks: Of a suite that goes on until it is decided, the seeds at which its results are
            looked at, fixed before the first run; empty for a suite that is looked at once.
        taken: The looks that have been taken.
    """

    suite: str
    summary: str
    fingerprint: str
    runs: tuple[PlannedRun, ...]
    skipped: tuple[SkippedCell, ...] = ()
    source: str = ""
    profile: str | None = None
    seeds: PositiveCount | None = None
    plugins: tuple[str, ...] = ()
    extractors: tuple[str, ...] = ()
    baseline: tuple[str, str] | None = None
    code: tuple[PartCode, ...] = ()
    margin: Annotated[float, Field(strict=True, gt=1, le=100)] | None = None
    contrasts: tuple[tuple[str, str], ...] = ()
    spent: tuple[Seed, ...] = ()
    looks: tuple[PositiveCount, ...] = ()
    taken: tuple[Look, ...] = ()
