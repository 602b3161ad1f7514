"""A whole suite on a GPU, cohort by cohort, against the reference loop's cost for the same steps.

Neither side trains it to the end. Of each of our cohorts, as they are planned here, some steps are
timed and multiplied; of the reference loop one update of D and one of G are timed for each variant,
data set and network *without* tricks, and multiplied by the updates of every run. So tricks cost
the opponent nothing but their updates, and the ratio is a lower bound. Evaluations and the start of
processes are on neither side.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from harness.planning.calibration import Calibration
from harness.planning.cohorts import make_cohorts, updates
from harness.spec import RunSpec, canonical_json
from harness.suite.load import load_suite
from harness.suite.matrix import expand
from harness.training.programs import recorder_for
from harness.training.trainer import Trainer
from tests.benchmarks.racing import race
from tests.benchmarks.reference import reference_loop
from tests.benchmarks.table import NO_GPU, Row
from tests.benchmarks.training import EXAMPLES, as_jobs_do, examples_of

ROUNDS = 3
SECONDS = 0.2
TARGET = 30


def plain(spec: RunSpec) -> RunSpec:
    """Return the run without its tricks."""
    return spec.model_copy(update={"tricks": (), "seed": 0})


def reference_seconds(
    spec: RunSpec, where: torch.device, rounds: int, seconds: float, examples: int
) -> list[tuple[float, float]]:
    """Time one update of D, with its data, and one of G, by round."""
    loop = reference_loop(plain(spec), examples_of(spec.dataset.id, examples), where)
    ways = {"discriminator": loop.update_discriminator, "generator": loop.update_generator}
    found = race(ways, rounds, where, seconds)
    return list(zip(found["discriminator"], found["generator"], strict=True))


def cohort_seconds(
    specs: Sequence[RunSpec], where: torch.device, rounds: int, seconds: float, examples: int
) -> list[float]:
    """Time a step of a whole cohort, by round."""
    data = examples_of(specs[0].dataset.id, examples)
    trainer = Trainer(specs, data, where, recorder_for(where))
    return race({"step": trainer.train_step}, rounds, where, seconds)["step"]


def measure(
    suite: str = "stability",
    *,
    device: str = "cuda",
    rounds: int = ROUNDS,
    seconds: float = SECONDS,
    examples: int = EXAMPLES,
) -> Row:
    """Return how many times as long the reference loop would train a suite's runs."""
    name = f"whole suite {suite}, {'GPU' if device == 'cuda' else 'CPU'}"
    where = torch.device(device)
    if where.type == "cuda" and not torch.cuda.is_available():
        return Row(name, TARGET, "×", skipped=NO_GPU)
    specs = expand(load_suite(suite)).specs
    calibration = Calibration(where.type, [device], announce=lambda line: None)
    cohorts = make_cohorts(specs, where.type, measured=calibration.measure_missing(specs))
    theirs, ours = [0.0] * rounds, [0.0] * rounds
    known: dict[str, list[tuple[float, float]]] = {}
    with as_jobs_do():
        for cohort in cohorts:
            first = cohort.specs[0]
            kind = canonical_json(plain(first).identity)
            if kind not in known:
                known[kind] = reference_seconds(first, where, rounds, seconds, examples)
            d_updates, g_updates = updates(first)
            steps = cohort_seconds(cohort.specs, where, rounds, seconds, examples)
            for number, (of_d, of_g) in enumerate(known[kind]):
                alone = d_updates * of_d + g_updates * of_g
                theirs[number] += len(cohort.specs) * alone
                ours[number] += first.settings.steps * steps[number]
    return Row(
        name,
        TARGET,
        "×",
        [slow / fast for slow, fast in zip(theirs, ours, strict=True)],
        figures={
            "run_steps": sum(spec.settings.steps for spec in specs),
            "cohorts": len(cohorts),
            "reference_seconds": theirs,
            "our_seconds": ours,
        },
    )
