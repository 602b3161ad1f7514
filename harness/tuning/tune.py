"""Tunes the learning rates of cells: batches of trials, each trained as cohorts, then fresh seeds.

Trials look at the data set's validation split; what is reported is measured as everywhere else,
by the suite's own settings, on seeds that tuning never saw.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from harness.datasets.base import dataset_of
from harness.engines.base import Engine
from harness.errors import ExitStatus, GanbenchError, StoreError
from harness.jobs.cohort import JobOptions
from harness.metrics.applicable import protocol
from harness.planning.backlog import backlog
from harness.planning.changed_code import changes_of, code_for, settle_code
from harness.planning.checks import check_device
from harness.planning.cost_curves import Measured
from harness.planning.dispatch import train_pending
from harness.spec import RunSpec, Settings, TuningSplit, content_id, encode_number
from harness.store.code import Answer
from harness.store.folders import Store, write_json
from harness.store.reading import ReportedRun, RunRecord, TrialRun
from harness.store.records import FAILURES, REACHED_THE_END, PlannedRun, SuitePlan
from harness.tracking.base import Mirror
from harness.tuning.study import Rates, Trial, best, propose

TUNING_SEED = 1_000_000_007
"""Seed of every trial; suites use small ones, so the seeds of the report stay fresh."""

TUNING_SPLIT: TuningSplit = "validation"
"""What trials are measured against; no reported number can be (harness/datasets/splits.py)."""

WINNERS = 3
TRIALS_SCHEMA = 1


@dataclass(frozen=True)
class TunedCell:
    """A cell to tune.

    Attributes:
        dataset: Label of its data set.
        variant: Label of its variant.
        tricks: Label of its tricks.
        specs: Its runs in the suite, one per seed.
    """

    dataset: str
    variant: str
    tricks: str
    specs: tuple[RunSpec, ...]

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
    def default(self) -> Rates:
        """The suite's own rates."""
        settings = self.specs[0].settings
        return Rates(settings.lr_g, settings.lr_d)


@dataclass
class Tuner:
    """Tunes cells with an equal number of trials each.

    Attributes:
        folder: Results folder of the suite; tuning keeps a store of its own under ``tuning/``.
        suite: The suite's plan, for its name.
        engine: Where the jobs run.
        mirror: Told of everything as it happens.
        device: ``cpu`` or ``cuda``.
        options: What each job is told; the store is replaced by tuning's own.
        sampler: ``tpe`` or ``random``.
        measured: Says what is known of the cost of cohorts of some runs.
        changed_code: What is to become of runs that other code has trained.
        announce: Told what has become of them, in a line.
    """

    folder: Path
    suite: SuitePlan
    engine: Engine
    mirror: Mirror
    device: str
    options: JobOptions
    sampler: str = "tpe"
    measured: Callable[[Sequence[RunSpec]], Measured | None] = lambda specs: None
    changed_code: Answer = "refuse"
    announce: Callable[[str], None] = print

    def __post_init__(self) -> None:
        self.store = Store(self.folder / "tuning")
        self.planned: dict[str, PlannedRun] = {}
        # Only labels of cells that were tuned before; a damaged plan is written again.
        before = self.store.begun_plan()
        if before is not None:
            self.planned = {run.id: run for run in before.runs}

    def tune(self, cells: Sequence[TunedCell], trials: int, batch: int) -> ExitStatus:
        """Tune, retrain the best on fresh seeds, write each cell's ``summary.json``.

        Args:
            cells: What to tune.
            trials: Trials per cell, the default among them.
            batch: Trials of a cell trained together.
        """
        asked = {cell.name: self._asked(cell) for cell in cells}
        while True:
            # What an earlier invocation asked for comes first: later proposals rest on it.
            most = max(map(len, asked.values()), default=0)
            code = self._train(
                [(cell, asked[cell.name]) for cell in cells], f"trials, {most} of {trials} per cell"
            )
            if code != ExitStatus.DONE:
                return code
            lacking = [cell for cell in cells if len(asked[cell.name]) < trials]
            if not lacking:
                break
            for cell in lacking:
                specs = asked[cell.name]
                finished = [trial for _, trial in self._finished(specs)]
                count = min(batch, trials - len(specs))
                rates = propose(finished, cell.default, count, self.sampler, seed=0)
                specs += [trial_spec(cell, rate) for rate in rates]
                self._remember(cell, specs)
        winners = {cell.name: self._winners(asked[cell.name]) for cell in cells}
        fresh = [
            (cell, [with_rates(spec, rates) for rates in settings for spec in cell.specs])
            for cell in cells
            for settings in [self._settings(cell, winners[cell.name])]
        ]
        code = self._train(
            [(cell, self._missing(specs)) for cell, specs in fresh], "the best on fresh seeds"
        )
        if code == ExitStatus.DONE:
            for cell in cells:
                self._summarise(cell, asked[cell.name], winners[cell.name])
        return code

    def on_fresh_seeds(self, cell: TunedCell) -> list[tuple[str, Rates, list[float | None]]]:
        """List the default and the winners: name, rates, and the values on the suite's seeds.

        None stands for a run that failed.
        """
        names = {cell.default: "default"}
        for place, trial in enumerate(self._winners(self._asked(cell)), start=1):
            same = f"{names[trial.rates]} = " if trial.rates in names else ""
            names[trial.rates] = f"{same}best {place}"
        finalists = []
        for rates, name in names.items():
            records = self._reported(with_rates(spec, rates) for spec in cell.specs)
            values = [None if has_collapsed(r) else final_value(r) for r in records.values()]
            finalists.append((name, rates, values))
        return finalists

    def _winners(self, asked: Sequence[RunSpec]) -> list[Trial]:
        return best([trial for _, trial in self._finished(asked)], WINNERS)

    @staticmethod
    def _settings(cell: TunedCell, winners: Sequence[Trial]) -> list[Rates]:
        """List the default and the winners, each once."""
        return list(dict.fromkeys([cell.default, *(trial.rates for trial in winners)]))

    def _asked(self, cell: TunedCell) -> list[RunSpec]:
        """Read which trials were asked for, in order.

        Raises:
            StoreError: if the file is damaged, or another sampler proposed them.
        """
        file = self.store.root / cell.name / "trials.json"
        try:
            data = json.loads(file.read_bytes())
            schema, sampler = data["schema"], data["sampler"]
            specs = [RunSpec.model_validate(spec) for spec in data["specs"]]
        except FileNotFoundError:
            return []
        except (ValueError, KeyError, TypeError) as error:
            raise StoreError(
                f"{file} is damaged ({type(error).__name__}); delete it to tune this cell anew"
            ) from error
        if schema != TRIALS_SCHEMA:
            raise StoreError(f"{file} was written by another version of ganbench; delete it")
        if sampler != self.sampler:
            raise StoreError(
                f"{file}: these trials were proposed by {sampler}; go on with --sampler {sampler}, "
                "or delete the file to tune this cell anew"
            )
        return specs

    def _remember(self, cell: TunedCell, specs: Sequence[RunSpec]) -> None:
        """Write down which trials were asked for, before any is trained."""
        folder = self.store.root / cell.name
        folder.mkdir(exist_ok=True)
        dumped = [spec.model_dump(mode="json") for spec in specs]
        value = {"schema": TRIALS_SCHEMA, "sampler": self.sampler, "specs": dumped}
        write_json(folder / "trials.json", value)

    def _train(
        self, wanted: Iterable[tuple[TunedCell, Sequence[RunSpec]]], phase: str
    ) -> ExitStatus:
        specs: dict[str, RunSpec] = {}
        notes: dict[str, str] = {}
        for cell, of_cell in wanted:
            for spec in of_cell:
                specs[spec.id] = spec
                self.planned[spec.id] = PlannedRun(
                    spec.id, spec.slug, cell.dataset, cell.variant, cell.tricks, spec.seed
                )
                seed = "" if spec.seed == TUNING_SEED else f"s{spec.seed}, "
                notes[spec.id] = f"{seed}{rates_of(spec)}"
        settled = settle_code(self.store, list(specs.values()), self.suite.code, self.changed_code)
        check_device(settled.todo, self.device)
        for line in settled.told:
            self.announce(line)
        for spec in settled.again:
            self.store.make_room(spec)
        plan = SuitePlan(
            suite=f"{self.suite.suite}-tuning",
            summary=f"Learning rates for {self.suite.suite}",
            fingerprint=content_id(sorted(self.planned)),
            runs=tuple(self.planned.values()),
            code=settled.code,
        )
        self.store.write_plan(plan)
        todo = settled.todo
        if not todo.pending:
            return ExitStatus.DONE
        return train_pending(
            self.store,
            replace(plan, suite=f"{plan.suite}: {phase}"),
            todo,
            self.engine,
            self.mirror,
            device=self.device,
            options=replace(self.options, store=self.store.root, code=settled.code),
            notes=notes,
            measured=self.measured(todo.pending),
        )

    def _reported(self, specs: Iterable[RunSpec]) -> dict[str, ReportedRun]:
        """Read finished runs on fresh seeds: the suite's own where it has them, else tuning's.

        Of the suite's own, those of other code do not count.
        """
        specs = list(specs)
        own = backlog(self.store, specs).finished
        main = Store(self.folder)
        code = code_for(main.root, self.suite.code)
        records = {
            run: record
            for run, record in backlog(main, specs).finished.items()
            if not changes_of(record, code)
        } | own
        return {name: ReportedRun.of(record) for name, record in records.items()}

    def _missing(self, specs: Iterable[RunSpec]) -> list[RunSpec]:
        """Leave out runs that the suite itself has finished."""
        specs = list(specs)
        done = self._reported(specs)
        return [spec for spec in specs if spec.id not in done]

    def _finished(self, specs: Sequence[RunSpec]) -> list[tuple[TrialRun, Trial]]:
        """Read the trials that have a result, in order."""
        records = backlog(self.store, specs).finished
        return [
            (TrialRun.of(record), Trial(rates_of(spec), final_value(record), has_collapsed(record)))
            for spec in specs
            if (record := records.get(spec.id)) is not None
        ]

    def _summarise(
        self, cell: TunedCell, asked: Sequence[RunSpec], winners: Sequence[Trial]
    ) -> None:
        finished = self._finished(asked)
        metric = finished[0][0].primary
        fresh = self._reported(with_rates(spec, cell.default) for spec in cell.specs)
        reported = next((r.primary for r in fresh.values() if r.primary), None)
        write_json(
            self.store.root / cell.name / "summary.json",
            {
                "schema": 1,
                "cell": {"dataset": cell.dataset, "variant": cell.variant, "tricks": cell.tricks},
                "metric": metric.name if metric else None,
                "reported_metric": reported.name if reported else None,
                "trials": [
                    {
                        "number": number,
                        "params": asdict(trial.rates),
                        "value": _stored(trial.value),
                        "outcome": (record.outcome or {})["outcome"],
                        "run": record.spec.id,
                    }
                    for number, (record, trial) in enumerate(finished)
                ],
                "default": self._fresh(cell, cell.default),
                "best": [self._fresh(cell, trial.rates) for trial in winners],
                "sampler": self.sampler,
                "optuna_version": version("optuna"),
            },
        )

    def _fresh(self, cell: TunedCell, rates: Rates) -> dict[str, Any]:
        """Describe a setting by its runs on the suite's seeds."""
        records = self._reported(with_rates(spec, rates) for spec in cell.specs)
        return {
            "params": asdict(rates),
            "fresh": [
                {
                    "seed": record.spec.seed,
                    "value": _stored(final_value(record)),
                    "outcome": (record.outcome or {})["outcome"],
                }
                for record in records.values()
            ],
        }


def with_rates(spec: RunSpec, rates: Rates) -> RunSpec:
    """Give a run other learning rates."""
    values = {**spec.settings.model_dump(), "lr_g": rates.lr_g, "lr_d": rates.lr_d}
    return spec.model_copy(update={"settings": Settings(**values)})


def trial_spec(cell: TunedCell, rates: Rates) -> RunSpec:
    """Make a trial's run: tuning's own seed, measured against the validation split.

    All trials share the seed, so that they differ by their rates alone.

    Raises:
        GanbenchError: if the cell is reported against the same split.
    """
    spec = with_rates(cell.specs[0], rates)
    if spec.settings.reference == TUNING_SPLIT:
        raise GanbenchError(
            f"{cell.dataset} × {cell.variant} × {cell.tricks} is reported against the "
            f"{TUNING_SPLIT} split, which tuning looks at; set `reference: test` or `train`"
        )
    # Trials are compared by their primary metric; what D learned is for the runs that are reported.
    changed = {"reference": TUNING_SPLIT, "probes": (), "metrics": ()}
    settings = Settings(**{**spec.settings.model_dump(), **changed})
    metrics = protocol(
        dataset_of(spec),
        extractor=settings.extractor,
        samples=settings.evaluation_samples,
        reference=settings.reference,
    )
    return spec.model_copy(update={"settings": settings, "metrics": metrics, "seed": TUNING_SEED})


def rates_of(spec: RunSpec) -> Rates:
    """Read a run's learning rates."""
    return Rates(spec.settings.lr_g, spec.settings.lr_d)


def final_value(record: RunRecord) -> float | None:
    """Return the primary metric at the end, None for a run that did not get there."""
    if record.outcome is None or record.outcome["outcome"] not in REACHED_THE_END:
        return None
    return record.last(record.primary.name) if record.primary else None


def has_collapsed(record: RunRecord) -> bool:
    """Say whether a run got to its end, but collapsed or never learnt."""
    return record.outcome is not None and record.outcome["outcome"] in FAILURES


def _stored(value: float | None) -> float | dict[str, str] | None:
    return None if value is None else encode_number(value)
