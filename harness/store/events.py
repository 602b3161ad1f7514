"""What a run's log tells: one class for each type of record.

``step`` counts rounds of the schedule, ``kimg`` thousands of examples that D had seen. Fields that
are None or empty by default do not apply, or are of records that do not say.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from harness.store.code import PartCode
from harness.store.fields import OPTIONAL, Amount, Count, Facts, Flag, Named, Number, Players, Text
from harness.store.records import DataFacts, MetricInfo, Outcome, Provenance


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """A job begins to train the run, or goes on.

    Attributes:
        attempt: From 1.
        resumed_from: Step.
        cohort: Ids of the runs that train together.
        device: ``cpu`` or ``cuda``.
        time: In ISO 8601.
        code: Of the parts that are not ganbench's own.
    """

    type: Literal["attempt"] = "attempt"
    attempt: Count
    resumed_from: Count
    cohort: tuple[str, ...] = ()
    device: str | None = field(default=None, metadata=OPTIONAL)
    time: str | None = field(default=None, metadata=OPTIONAL)
    code: tuple[PartCode, ...] = field(default=(), metadata=OPTIONAL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Protocol:
    """What all numbers of an attempt are, and rest on.

    Attributes:
        metrics: Columns of evaluations.
        provenance: Of their numbers.
        data: Facts of data and reference.
        probes: By id, ``columns`` as of metrics and what else the probe says of itself, such as
            its ``baselines``.
        parameters: Of one run's networks, ``g`` and ``d``.
    """

    type: Literal["protocol"] = "protocol"
    metrics: tuple[MetricInfo, ...]
    provenance: Provenance | None = field(default=None, metadata=OPTIONAL)
    data: DataFacts = field(default_factory=DataFacts)
    probes: Facts | None = field(default=None, metadata=OPTIONAL)
    parameters: Players | None = field(default=None, metadata=OPTIONAL)


@dataclass(frozen=True, slots=True, kw_only=True)
class LossRow:
    """Means of what training tells of itself, since the row before."""

    type: Literal["losses"] = "losses"
    step: Count
    kimg: Amount
    values: Named


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationRow:
    """The generator is measured; at step 0 it is untrained.

    Attributes:
        values: By metric name.
        raw: The same of the weights as they are trained, where ``values`` are of averaged ones.
        histogram: Generated examples per class or mode; None where they are not counted.
        diversity: Mean pairwise feature distance over the real data's.
        mode_coverage: Share of modes or classes that were hit; NaN without a histogram.
        seconds: That it took.
    """

    type: Literal["evaluation"] = "evaluation"
    step: Count
    kimg: Amount
    values: Named
    raw: Named | None = field(default=None, metadata=OPTIONAL)
    histogram: list[Count] | None = None
    diversity: Number | None = field(default=None, metadata=OPTIONAL)
    mode_coverage: Number | None = field(default=None, metadata=OPTIONAL)
    seconds: Amount | None = field(default=None, metadata=OPTIONAL)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeRow:
    """A probe looks at the untrained or the trained discriminator.

    Attributes:
        probe: Its id.
        values: By column.
        details: What else it found.
        seconds: That it took.
    """

    type: Literal["probe"] = "probe"
    probe: str
    step: Count
    values: Named
    details: Facts = field(default_factory=dict)
    seconds: Amount | None = field(default=None, metadata=OPTIONAL)


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleFile:
    """Generated examples are saved in ``file``, relative to the run's folder."""

    type: Literal["samples"] = "samples"
    step: Count
    file: Text


@dataclass(frozen=True, slots=True, kw_only=True)
class LineFile:
    """Densities of one-dimensional data are saved.

    Attributes:
        file: An ``.npz`` with ``x``, the densities ``data`` and ``generated``, and, unless D judges
            several examples at once, D's ``answer``.
        share: Whether the best answer would be data / (data + generated).
    """

    type: Literal["line"] = "line"
    step: Count
    file: Text
    share: Flag


@dataclass(frozen=True, slots=True)
class Sign:
    """A sign of instability: the step at which it began, and how strong it is."""

    step: Count
    size: Number | None = field(default=None, metadata=OPTIONAL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """What became of the run, or of an attempt that did not end it.

    Attributes:
        outcome: In a word.
        onset: Step at which a failure began; None where that is not known.
        reason: One sentence; empty for ``ok``.
        signs: By name; records of earlier versions have a number in place of each.
        seconds: Of training.
        evaluation_seconds: Of evaluations.
        kimg: Thousand examples that D had seen.
        updates: Of ``d`` and ``g``.
        peak_memory: In bytes.
    """

    type: Literal["outcome"] = "outcome"
    outcome: Outcome
    step: Count
    onset: Count | None = None
    reason: Text = ""
    signs: dict[str, Sign | Number] | None = field(default=None, metadata=OPTIONAL)
    seconds: Amount | None = field(default=None, metadata=OPTIONAL)
    evaluation_seconds: Amount | None = field(default=None, metadata=OPTIONAL)
    kimg: Amount | None = field(default=None, metadata=OPTIONAL)
    updates: Players | None = field(default=None, metadata=OPTIONAL)
    peak_memory: Count | None = field(default=None, metadata=OPTIONAL)

    @property
    def failed_at(self) -> int:
        """The step at which a failure began, or else that at which the run ended."""
        return self.step if self.onset is None else self.onset


Event = (
    Attempt | Protocol | LossRow | EvaluationRow | ProbeRow | SampleFile | LineFile | Ending
)  # fmt: skip


def effective(events: Iterable[Event]) -> list[Event]:
    """Leave out what a later attempt did again: one record for each thing that happened.

    Attempts are all kept; of the others, those that tell of a step after the one from which a
    later attempt resumed, and outcomes that were not final, go.
    """
    kept: list[Event] = []
    for event in events:
        if isinstance(event, Attempt):
            # An attempt that starts over evaluates the untrained generator again, at step 0.
            resumed = event.resumed_from or -1
            kept = [
                e
                for e in kept
                if isinstance(e, Attempt)
                or (not isinstance(e, Ending | Protocol) and e.step <= resumed)
            ]
        kept.append(event)
    return kept


def last_step(events: Iterable[Event]) -> int:
    """Return the last step that events tell of, 0 if they tell of none."""
    return max((e.step for e in events if not isinstance(e, Attempt | Protocol)), default=0)
