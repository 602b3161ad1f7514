"""Trainings that several proofs about a cell are held against, each made once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from harness.spec import RunSpec
from harness.testing.cells import SHORT, STEPS, KitCell, State, make_trainer
from harness.training.monitor import Divergence
from harness.training.trainer import Trainer

Reading = tuple[list[dict[str, float]], list[Divergence | None]]


def states(trainer: Trainer) -> list[State]:
    """Return the state of every run."""
    return [trainer.state(run) for run in range(trainer.game.runs)]


@dataclass(frozen=True)
class Moment:
    """A cohort after some steps.

    Attributes:
        states: Of every run, before the diagnostics were read.
        counters: What counts with them.
        kimg: Thousands of images seen.
        reading: The diagnostics and divergences, where they are read; else None.
    """

    states: list[State]
    counters: dict[str, int]
    kimg: float
    reading: Reading | None


class Trajectory:
    """A cohort that trains as far as it is asked for, and remembers some moments.

    Args:
        specs: Its runs.
        marks: Steps of the moments, rising.
        read_at: The one of them at which diagnostics are read.
    """

    def __init__(self, specs: Sequence[RunSpec], marks: Sequence[int], read_at: int) -> None:
        self.specs = list(specs)
        self.marks = marks
        self.read_at = read_at
        self.trainer = make_trainer(specs)
        self._moments: dict[int, Moment] = {}

    def at(self, step: int) -> Moment:
        """Return a moment, by its step."""
        for mark in self.marks:
            if self.trainer.step < mark <= step:
                while self.trainer.step < mark:
                    self.trainer.train_step()
                self._moments[mark] = self._moment(mark)
        return self._moments[step]

    def _moment(self, mark: int) -> Moment:
        trainer = self.trainer
        held, counters = states(trainer), trainer.counters()
        reading = trainer.read() if mark == self.read_at else None
        return Moment(held, counters, trainer.kimg, reading)

    def resumed(self, step: int, runs: Sequence[int] | None = None) -> Trainer:
        """Make a trainer that goes on from a moment, with all runs or some, by position."""
        chosen = range(len(self.specs)) if runs is None else runs
        trainer, moment = make_trainer([self.specs[run] for run in chosen]), self.at(step)
        for position, run in enumerate(chosen):
            trainer.load(position, moment.states[run], moment.counters)
        return trainer


def in_double_precision(specs: Sequence[RunSpec]) -> Trajectory:
    """Prepare a trajectory with the moments that proofs about cohorts compare."""
    return Trajectory(specs, (2, 4, 6, SHORT, STEPS), read_at=4)


@lru_cache(maxsize=1)
def three_runs(cell: KitCell) -> Trajectory:
    """Return the cell's cohort of three, in double precision."""
    return in_double_precision([cell.spec(position, precision="float64") for position in range(3)])


@lru_cache(maxsize=3)
def as_trained(cell: KitCell, runs: int = 2) -> Trajectory:
    """Return a cohort of some of the cell's runs, 1 to 3, as it would be trained."""
    return Trajectory([cell.spec(position) for position in range(runs)], (3, 6), read_at=6)
