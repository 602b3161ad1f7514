"""Groups runs into cohorts and estimates what they cost."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache

import torch

from harness.jobs.cohort import Cohort
from harness.networks.base import networks
from harness.networks.summary import count_operations, count_parameters
from harness.parts import parts_of, schedule_of, variants
from harness.parts.blueprint import blueprint_of
from harness.planning.cost_model import CostModel, Measured, cut
from harness.spec import RunSpec, Settings, canonical_json, per_run_fields

LARGEST = {("cpu", False): 16, ("cpu", True): 5, ("cuda", False): 128, ("cuda", True): 32}
"""The rule where nothing has been measured: most runs of a cohort by (device, convolutional).

On a CPU, stacking makes small fully connected nets several times faster. Convolutions gain
nothing from it there once they are wide (0.9–1.1× measured at widths 16 and 64), so their
cohorts only save the start of a process for each run and stay small enough to share the cores
evenly.
"""

TYPICAL_RATE = 3e10
"""Operations per second of one core; only ratios between cohorts rest on it."""

STEP_OVERHEAD = 3e-3
"""Seconds per update that no arithmetic accounts for: calls, noise and diagnostics."""


@dataclass(frozen=True)
class Work:
    """What a run computes.

    Attributes:
        d_updates: Discriminator updates.
        g_updates: Generator updates.
        flops: Floating-point operations, without evaluations.
    """

    d_updates: int
    g_updates: int
    flops: float

    def seconds(self, runs: int, rate: float) -> float:
        """Estimate how long so many of them train together, at so many operations per second."""
        return runs * self.flops / rate + (self.d_updates + self.g_updates) * STEP_OVERHEAD


def cohort_key(spec: RunSpec) -> str:
    """Name what fixes a run's shapes and graph: all but its seed and its scalars."""
    data = spec.model_dump(mode="json", exclude={"seed": True, "dataset": {"where"}})
    for name in per_run_fields(Settings):
        data["settings"].pop(name, None)
    described = [data["variant"], *data["tricks"]]
    variant, laid_over = parts_of(spec)
    for part, entry in zip((variant, *laid_over), described, strict=True):
        for name in part.scalar_fields():
            entry["options"].pop(name, None)
    return canonical_json(data)


def workload_of(spec: RunSpec) -> str:
    """Name what decides how an update's cost grows with the cohort, variants and tricks aside.

    Curves of a plain variant and of one with a penalty and five updates of D agree within an
    eighth, so one measurement serves all that share networks, widths, batch and precision.
    """
    blueprint = blueprint_of(spec)
    G, D = blueprint.generator, blueprint.discriminator
    return canonical_json(
        {
            "generator": [G.network, G.width, G.copies],
            "discriminator": [D.network, D.width, D.pack],
            "latent": blueprint.latent,
            "shape": blueprint.shape,
            "batch": blueprint.batch,
            "precision": spec.settings.precision,
        }
    )


def make_cohorts(
    specs: Iterable[RunSpec],
    device: str,
    begun: Mapping[str, tuple[str, ...]] | None = None,
    measured: Measured | None = None,
) -> list[Cohort]:
    """Group runs into cohorts, the most expensive first.

    Runs that have trained together go on together and with no others: a cohort resumes from a
    checkpoint that all of its runs have, and those of a newcomer are none.

    How many train together follows from what was measured for their kind: so many that the whole
    group takes least time, fewer where memory is short or slots would be idle. Without a
    measurement it follows from :data:`LARGEST`, unless it is settled.

    Args:
        specs: Runs to train.
        device: ``cpu`` or ``cuda``, which decides how many train together.
        begun: Ids of the cohort in which a run trained last, by the run's id.
        measured: What is known of the cost of cohorts.
    """
    groups: dict[tuple[str, tuple[str, ...]], list[RunSpec]] = {}
    for spec in specs:
        before = (begun or {}).get(spec.id, ())
        groups.setdefault((cohort_key(spec), before), []).append(spec)
    costs = [
        # In a cohort of another size the last bits of their sums would be others.
        (len(group), _cost_model(group[0], device, measured, len(group) if before else None))
        for (_, before), group in groups.items()
    ]
    pieces = cut(costs, measured.slots if measured else 1)
    # Every n-th run, so that they differ by at most one in size.
    cohorts = [
        Cohort(tuple(group[piece::count]))
        for group, count in zip(groups.values(), pieces, strict=True)
        for piece in range(count)
    ]
    return sorted(cohorts, key=lambda cohort: -cohort_seconds(cohort, TYPICAL_RATE))


def _cost_model(
    spec: RunSpec, device: str, measured: Measured | None, largest: int | None
) -> CostModel:
    """Say what cohorts of runs like one cost: as measured, unless their largest size is settled."""
    if largest is None and measured:
        largest = measured.largest
        curve = measured.curves.get(workload_of(spec))
        if largest is None and curve:
            return curve.model(sum(updates(spec)), measured.memory)
    work = work_of(spec)
    costs = work.seconds(1, TYPICAL_RATE), work.seconds(2, TYPICAL_RATE)
    most = largest or LARGEST[device, is_convolutional(spec)]
    return CostModel((1, 2), costs, most, settled=True)


def is_convolutional(spec: RunSpec) -> bool:
    """Say whether a run's generator or discriminator convolves, once every part is laid on."""
    blueprint = blueprint_of(spec)
    plans = (blueprint.generator, blueprint.discriminator)
    return any(networks.get(plan.network).convolutional for plan in plans)


def updates(spec: RunSpec) -> tuple[int, int]:
    """Count a run's discriminator and generator updates."""
    variant, laid_over = parts_of(spec)
    return schedule_of((variant, *laid_over)).totals(spec.settings.steps)


def parameters(spec: RunSpec) -> tuple[int, int]:
    """Count the parameters of a run's generator and discriminator, every part laid on."""
    return count_parameters(blueprint_of(spec))


def work_of(spec: RunSpec) -> Work:
    """Count what a run computes; penalties are not counted."""
    d_updates, g_updates = updates(spec)
    with one_thread():
        g_each, d_each = count_operations(blueprint_of(spec))
    g_pass, d_pass = spec.settings.batch * g_each, spec.settings.batch * d_each
    # A backward pass costs two forward passes; one to inputs alone costs one.
    through_d = 3 if variants.get(spec.variant.id).joint else 2
    flops = d_updates * (g_pass + 6 * d_pass) + g_updates * (3 * g_pass + through_d * d_pass)
    return Work(d_updates, g_updates, flops)


def cohort_seconds(cohort: Cohort, rate: float) -> float:
    """Estimate a cohort's training time on one slot.

    Args:
        cohort: The runs.
        rate: Operations per second, from :func:`measure_rate`.
    """
    return work_of(cohort.specs[0]).seconds(len(cohort.specs), rate)


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute on one core; with small tensors, threads do little but wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@lru_cache(maxsize=1)
def measure_rate() -> float:
    """Measure one core's matrix rate in operations per second, in about a fifth of a second."""
    with one_thread():
        a = torch.randn(4, 128, 128)
        count, start = 0, time.perf_counter()
        while time.perf_counter() - start < 0.2:
            torch.bmm(a, a)
            count += 1
        elapsed = time.perf_counter() - start
    # Training reaches about half of what one product alone does, between element-wise work.
    return count * 2 * 4 * 128**3 / elapsed / 2
