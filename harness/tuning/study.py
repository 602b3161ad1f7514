"""Proposes learning rates: an Optuna study that is rebuilt from the store for every batch.

No study is kept on disk. Each batch is proposed by a fresh study that is told all finished
trials, with a sampler seeded by their number: the same store gives the same proposals.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import optuna
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.trial import TrialState

from harness.errors import GanbenchError

SAMPLERS = ("tpe", "random")
STARTUP = 8
"""Trials that are drawn at random before TPE has enough to learn from."""

LR_G = FloatDistribution(1e-6, 1e-1, log=True)
RATIO = FloatDistribution(0.1, 10.0, log=True)
SPACE: dict[str, BaseDistribution] = {"lr_g": LR_G, "ttur": RATIO}
"""``ttur`` is lr_d / lr_g."""


@dataclass(frozen=True)
class Rates:
    """One setting of the learning rates."""

    lr_g: float
    lr_d: float

    def __str__(self) -> str:
        return f"lr_g {self.lr_g:.3g}, lr_d {self.lr_d:.3g}"

    @property
    def params(self) -> dict[str, float]:
        """The same point in the study's space; rates outside it are moved to its edge."""
        return {
            "lr_g": min(max(self.lr_g, LR_G.low), LR_G.high),
            "ttur": min(max(self.lr_d / self.lr_g, RATIO.low), RATIO.high),
        }


@dataclass(frozen=True)
class Trial:
    """A finished trial.

    Attributes:
        rates: What was tried.
        value: Fréchet distance at the end; None for a run that diverged or gave none.
        collapsed: Whether it got there, but collapsed: it teaches the study, and cannot win.
    """

    rates: Rates
    value: float | None
    collapsed: bool = False

    @property
    def told(self) -> float:
        """What the study is told: the logarithm, and the worst value for a failure.

        Never NaN: Optuna would file it as FAIL and learn nothing from the cliff.
        """
        if self.value is None or not math.isfinite(self.value):
            return math.inf
        return math.log(max(self.value, 1e-12))


def make_sampler(name: str, seed: int) -> optuna.samplers.BaseSampler:
    """Make a sampler with every choice written out.

    Raises:
        GanbenchError: if the name is unknown.
    """
    if name == "random":
        return optuna.samplers.RandomSampler(seed=seed)
    if name == "tpe":
        return optuna.samplers.TPESampler(
            n_startup_trials=STARTUP,
            n_ei_candidates=24,
            multivariate=True,
            group=False,
            constant_liar=True,
            seed=seed,
        )
    raise GanbenchError(f"unknown sampler {name!r}; choose tpe or random")


def propose(
    finished: Sequence[Trial], default: Rates, count: int, sampler: str, seed: int
) -> list[Rates]:
    """Propose the next batch.

    Args:
        finished: All trials so far, in order.
        default: The recipe's own rates, always the first trial.
        count: How many to propose.
        sampler: ``tpe`` or ``random``.
        seed: Of the study; the number of finished trials is mixed in.

    Returns:
        ``count`` settings; the first of the very first batch is the default.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        direction="minimize",
        sampler=make_sampler(sampler, seed + 1000 * len(finished)),
        pruner=optuna.pruners.NopPruner(),
    )
    for trial in finished:
        study.add_trial(
            optuna.trial.create_trial(
                state=TrialState.COMPLETE,
                value=trial.told,
                params=trial.rates.params,
                distributions=SPACE,
            )
        )
    proposals = [] if finished else [default]
    while len(proposals) < count:
        params = study.ask(fixed_distributions=SPACE).params
        lr_g = float(f"{params['lr_g']:.4g}")
        proposals.append(Rates(lr_g, float(f"{lr_g * params['ttur']:.4g}")))
    return proposals


def best(trials: Sequence[Trial], count: int) -> list[Trial]:
    """Return the trials with the lowest finite values that did not collapse, the best first."""
    good = [trial for trial in trials if math.isfinite(trial.told) and not trial.collapsed]
    return sorted(good, key=lambda trial: trial.told)[:count]
