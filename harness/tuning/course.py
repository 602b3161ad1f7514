"""How the search of a cell goes on from the results that there are: trials, finalists, choice.

Every cell gets the same: some settings once, its own among them, then the best three with two more
seeds. Trials look at the data set's validation half; the setting with the best mean, in which a
failure is worst, and the cell's own are then trained on the suite's seeds, which the search never
saw, and measured as everything else is.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from harness.datasets.base import dataset_of
from harness.errors import GanbenchError
from harness.metrics.applicable import protocol
from harness.spec import RunSpec, Settings, TuningSplit, content_id
from harness.store.reading import RunRecord
from harness.store.records import OfCell, PlannedCell
from harness.tuning.numbers import Numbers, Range, numbers_of, with_numbers, written
from harness.tuning.study import FINALISTS, Trial, best

SEEDS = (1_000_000_007, 1_000_000_008, 1_000_000_009)
"""Of trials, the last two of finalists; suites use small ones, so the report's stay fresh."""

TUNING_SPLIT: TuningSplit = "validation"
"""What trials are measured against; no reported number can be (harness/datasets/splits.py)."""


@dataclass(frozen=True)
class TunedCell(OfCell):
    """A cell to tune.

    Attributes:
        cell: What the suite's plan says of it.
        specs: Its runs in the suite, one per seed.
        space: What is searched, by name; None for what only other cells have.
    """

    cell: PlannedCell
    specs: tuple[RunSpec, ...]
    space: Mapping[str, Range | None]

    @property
    def name(self) -> str:
        """Folder name: readable, and different for different cells."""
        spec = self.specs[0]
        tricks = "+".join(trick.id for trick in spec.tricks) or "none"
        key = content_id(
            spec.model_dump(mode="json", exclude={"seed": True, "dataset": {"where"}}), 8
        )
        return f"{spec.dataset.id}-{spec.variant.id}-{tricks}"[:72] + f"-{key}"

    @property
    def title(self) -> str:
        """The cell for people."""
        return " · ".join(self.labels)

    @property
    def searched(self) -> dict[str, Range]:
        """What is searched in this cell, by name."""
        return {name: each for name, each in self.space.items() if each is not None}

    @cached_property
    def default(self) -> Numbers:
        """The suite's own numbers."""
        own = numbers_of(self.specs[0])
        return {name: own[name] for name in self.searched}

    def trial(self, numbers: Numbers, seed: int = SEEDS[0]) -> RunSpec:
        """Make a trial's run: a seed of the search, measured against the validation half.

        Raises:
            GanbenchError: if the cell is reported against the same split, or on such a seed.
        """
        spec = with_numbers(self.specs[0], numbers)
        if spec.settings.reference == TUNING_SPLIT:
            raise GanbenchError(
                f"{self.title} is reported against the {TUNING_SPLIT} split, which tuning looks "
                "at; set `reference: test` or `train`"
            )
        if any(own.seed in SEEDS for own in self.specs):
            raise GanbenchError(f"{self.title} has a seed of {SEEDS}, which are those of trials")
        # Trials are compared by their primary metric; the rest is for runs that are reported.
        changed = {"reference": TUNING_SPLIT, "probes": (), "metrics": ()}
        settings = Settings(**{**spec.settings.model_dump(), **changed})
        metrics = protocol(
            dataset_of(spec),
            extractor=settings.extractor,
            samples=settings.evaluation_samples,
            reference=settings.reference,
        )
        return spec.model_copy(update={"settings": settings, "metrics": metrics, "seed": seed})

    def fresh(self, numbers: Numbers) -> list[RunSpec]:
        """Return the runs of a setting on the suite's seeds."""
        return [with_numbers(spec, numbers) for spec in self.specs]


@dataclass(frozen=True)
class Course:
    """The search of one cell.

    Attributes:
        cell: The cell.
        settings: What is tried, the cell's own first.
        records: Finished trials by id; what is not there counts as failed so far.
    """

    cell: TunedCell
    settings: Sequence[Numbers]
    records: Mapping[str, RunRecord]

    @cached_property
    def once(self) -> list[RunSpec]:
        """The trials of all settings; none where nothing is searched."""
        return [self.cell.trial(numbers) for numbers in self.settings] if self.cell.searched else []

    @property
    def firsts(self) -> list[Trial]:
        """The settings with what became of their first trial."""
        return [self.tried(place, SEEDS[:1]) for place in range(len(self.once))]

    def tried(self, place: int, seeds: Sequence[int]) -> Trial:
        """Return a setting with what became of it on some seeds."""
        numbers = self.settings[place]
        runs = [self.records.get(self.cell.trial(numbers, seed).id) for seed in seeds]
        failed = tuple(run is None or not succeeded(run) for run in runs)
        return Trial(numbers, tuple(map(score_of, runs)), failed)

    @cached_property
    def finalists(self) -> list[int]:
        """Numbers of the settings that get more seeds, the best first."""
        return best(self.firsts, FINALISTS)

    @cached_property
    def again(self) -> list[RunSpec]:
        """The finalists' trials with more seeds."""
        return [
            self.cell.trial(self.settings[place], seed)
            for place in self.finalists
            for seed in SEEDS[1:]
        ]

    @cached_property
    def chosen(self) -> Numbers:
        """The finalist with the best mean, failures worst."""
        trials = [self.tried(place, SEEDS) for place in sorted(self.finalists)]
        return trials[best(trials, 1)[0]].numbers if trials else self.cell.default

    @property
    def edges(self) -> list[str]:
        """Names of the chosen numbers at an edge of their range: better ones may lie outside."""
        searched = self.cell.searched
        return [name for name, value in self.chosen.items() if searched[name].at_edge(value)]

    @property
    def fresh(self) -> list[RunSpec]:
        """The runs of the cell's own setting and of the chosen one on the suite's seeds."""
        both = [*self.cell.specs, *self.cell.fresh(self.chosen)]
        return list({spec.id: spec for spec in both}.values())

    @property
    def notes(self) -> dict[str, str]:
        """What tells each run from its like, by id: number of the setting, and its numbers."""
        total = len(self.settings)
        notes = {}
        for spec in self.cell.specs:
            notes[spec.id] = f"s{spec.seed}, default: {written(self.cell.default)}"
        for number, (numbers, spec) in enumerate(zip(self.settings, self.once, strict=False), 1):
            notes[spec.id] = f"trial {number} of {total}: {written(numbers)}"
        for place, spec in enumerate(self.again):
            number = self.finalists[place // len(SEEDS[1:])]
            seed = SEEDS.index(spec.seed) + 1
            words = written(self.settings[number])
            notes[spec.id] = f"trial {number + 1}, seed {seed} of {len(SEEDS)}: {words}"
        for spec in self.cell.fresh(self.chosen):
            notes.setdefault(spec.id, f"s{spec.seed}, chosen: {written(self.chosen)}")
        return notes


def succeeded(record: RunRecord) -> bool:
    """Say whether a run got to its end, did not fail on the way, and has a value."""
    ended_well = record.outcome is not None and record.outcome.outcome == "ok"
    return ended_well and math.isfinite(score_of(record))


def value_of(record: RunRecord) -> float | None:
    """Return the primary metric at the last evaluation; None without."""
    return record.last(record.primary.name) if record.primary else None


def score_of(record: RunRecord | None) -> float:
    """Return the logarithm of the primary metric at the end, less is better; ∞ without."""
    value = value_of(record) if record else None
    if record is None or record.primary is None or value is None or not math.isfinite(value):
        return math.inf
    score = math.log(max(value, 1e-12))
    return -score if record.primary.better == "higher" else score
