"""Proposes settings by Optuna, and chooses among those that were tried.

No study is kept on disk: the same trials give the same proposals. By default that is a Sobol list,
which looks at no result, so that a cell and its control are searched at the same places; TPE, for
those who want the best of one cell, is told all finished trials for every batch.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import mean

import optuna
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.trial import TrialState

from harness.errors import GanbenchError
from harness.tuning.numbers import Numbers, Range, rounded

SAMPLERS = ("sobol", "tpe")
SEED = 0
"""Of every sampler: all cells of all suites are searched at the same places."""
BATCH = 8
"""Settings that TPE proposes at once, unless it is said."""
STARTUP = 8
"""Trials that are drawn at random before TPE has enough to learn from."""
FINALISTS = 3
"""Settings that are tried with further seeds."""
ABSENT = FloatDistribution(0.0, 1.0)
"""Stands for a number that only other cells have, so that all cells share the rest of the list."""


@dataclass(frozen=True)
class Trial:
    """A setting and what became of it.

    Attributes:
        numbers: What was tried.
        scores: By seed: the logarithm of the primary metric, less is better; ∞ where there is none.
        failed: By seed: whether the run failed, as one that collapsed, whatever its score.
    """

    numbers: Numbers
    scores: tuple[float, ...]
    failed: tuple[bool, ...]

    @property
    def mean(self) -> float:
        """Mean score of the runs that did not fail; ∞ where all did.

        Never NaN: Optuna would file it as FAIL and learn nothing from the cliff.
        """
        good = [s for s, failed in zip(self.scores, self.failed, strict=True) if not failed]
        return mean(good) if good else math.inf

    @property
    def rank(self) -> tuple[int, float, float]:
        """What settings are ordered by: the mean, in which any failure is worst.

        Where all runs of several failed, their scores decide between them.
        """
        return sum(self.failed), self.mean, mean(self.scores)


def best(trials: Sequence[Trial], count: int) -> list[int]:
    """Return the places of the best trials, the best first; among equals the earlier ones."""
    return sorted(range(len(trials)), key=lambda place: trials[place].rank)[:count]


def propose(
    space: Mapping[str, Range | None],
    default: Numbers,
    finished: Sequence[Trial],
    count: int,
    sampler: str,
) -> list[Numbers]:
    """Propose the next settings.

    Args:
        space: What is searched, by name; None for what only other cells have.
        default: The cell's own numbers, always the first proposal.
        finished: All trials so far, in order; a Sobol list only counts them.
        count: How many to propose.
        sampler: ``sobol`` or ``tpe``.

    Raises:
        GanbenchError: if the sampler is unknown.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="minimize", sampler=make_sampler(sampler, len(finished)))
    distributions: dict[str, BaseDistribution] = {
        name: ABSENT if each is None else each.distribution(default[name])
        for name, each in space.items()
        if each is not None or sampler == "sobol"
    }
    told = finished if sampler == "tpe" else [Trial(default, (math.inf,), (True,))]
    for trial in told:
        study.add_trial(
            optuna.trial.create_trial(
                state=TrialState.COMPLETE,
                value=trial.mean,
                params={name: inside(space[name], trial.numbers) for name in distributions},
                distributions=distributions,
            )
        )
    skipped = max(0, len(finished) - 1) if sampler == "sobol" else 0
    drawn = count - (not finished)
    asked = [study.ask(fixed_distributions=distributions).params for _ in range(skipped + drawn)]
    proposals: list[Numbers] = [] if finished else [default]
    for params in asked[skipped:]:
        proposals.append(
            {
                name: params[name] if isinstance(default[name], int) else rounded(params[name])
                for name, each in space.items()
                if each is not None
            }
        )
    return proposals


def make_sampler(name: str, finished: int) -> optuna.samplers.BaseSampler:
    """Make a sampler with every choice written out.

    Args:
        name: ``sobol`` or ``tpe``.
        finished: Trials so far, from which TPE's random numbers derive.

    Raises:
        GanbenchError: if the name is unknown.
    """
    if name == "sobol":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            return optuna.samplers.QMCSampler(qmc_type="sobol", scramble=True, seed=SEED)
    if name == "tpe":
        return optuna.samplers.TPESampler(
            n_startup_trials=STARTUP,
            n_ei_candidates=24,
            multivariate=True,
            group=False,
            constant_liar=True,
            seed=SEED + 1000 * finished,
        )
    raise GanbenchError(f"unknown sampler {name!r}; choose {' or '.join(SAMPLERS)}")


def inside(searched: Range | None, numbers: Numbers) -> float:
    """Return a number as Optuna takes it: moved to its range's edge where it lies outside."""
    if searched is None:
        return ABSENT.low
    return min(max(numbers[searched.name], searched.low), searched.high)
