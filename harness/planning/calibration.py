"""Measures what a step costs cohorts of several sizes, once for each kind of run and machine.

Two seconds of training, in a process like those that train, say more than any rule about networks
and devices. What they say is kept in the cache folder, by device and versions, and decides only
who trains together: ids, random numbers and arithmetic of a run are the same in every cohort.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import torch
from pydantic import TypeAdapter

from harness.datasets.base import Examples
from harness.jobs.training_loop import peak_memory
from harness.networks.base import networks
from harness.parts import all_parts, schedule_of
from harness.planning.children import in_child
from harness.planning.cohorts import (
    TYPICAL_RATE,
    cohort_key,
    cohort_seconds,
    make_cohorts,
    updates,
    workload_of,
)
from harness.planning.cost_model import CostCurve, Measured, makespan
from harness.planning.machine import free_memory, processor
from harness.registry import load_plugin
from harness.spec import RunSpec, content_id
from harness.store.folders import cache_folder, write_json
from harness.training.programs import recorder_for
from harness.training.trainer import Trainer
from harness.version import RESULTS_VERSION, VERSION

SCHEMA = 2
CURVE = TypeAdapter(CostCurve)
SIZES = {"cpu": (1, 2, 4, 8, 16), "cuda": (1, 2, 4, 8, 16, 32, 64, 128)}
"""Runs of a cohort that are tried, by device, as far as time and memory go."""
BUDGET_SECONDS = 2.0
"""No further size is begun so long after the first, in which all is done that is done once."""
EACH_SECONDS = 0.15
"""For which a size is timed, at least one step."""
WARM_UPS = {"cpu": 3, "cuda": 6}
"""Steps that are not timed: updates are run as they are, recorded and compared in them."""
CLOCKS = {"cpu": time.process_time, "cuda": time.perf_counter}
"""What times them: on a CPU, what neighbours take from a process is not its own."""
WORTH = 20
"""Runs are measured where training them takes so many times as long as to measure."""
RATES = {"cpu": TYPICAL_RATE, "cuda": 300 * TYPICAL_RATE}
"""Operations per second, to tell whether a measurement would pay."""
MEMORY_SHARE = 0.7
"""Share of the free memory that training may fill; data and evaluations need the rest."""

Measure = Callable[[RunSpec, str], CostCurve | None]
"""Measures a kind of run by one of them, on a device such as ``cuda:0``; None if it cannot."""


@dataclass
class Calibration:
    """What is known of the cost of cohorts on this machine.

    Attributes:
        device: ``cpu`` or ``cuda``.
        devices: One for each process at once, such as ``["cpu", "cpu"]``.
        plugins: Modules that register parts.
        announce: Told of every measurement, in a line.
        measure: Measures a kind; by default in a process of its own.
        free_memory: Says how many bytes are free on a device.
        largest: Most runs of a cohort; None for what is best, by measurement or by the rule.
        sources: What the choice rests on, by kind, filled as curves are found.
    """

    device: str
    devices: Sequence[str]
    plugins: tuple[str, ...] = ()
    announce: Callable[[str], None] = print
    measure: Measure | None = None
    free_memory: Callable[[str], int] | None = None
    largest: int | None = None
    sources: dict[str, str] = field(default_factory=dict, init=False)

    def cached(self, specs: Sequence[RunSpec]) -> Measured:
        """Return what is in the cache, and measure nothing."""
        return self._measured(specs, self.free_memory or free_memory, measuring=False)

    def measure_missing(self, specs: Sequence[RunSpec]) -> Measured:
        """Return what is in the cache, and measure what is not and would pay."""
        # Whoever asks a GPU holds some of its memory from then on: a child does.
        ask = self.free_memory or (lambda device: in_child(free_memory, device) or 0)
        return self._measured(specs, ask, measuring=True)

    def _measured(
        self, specs: Sequence[RunSpec], ask: Callable[[str], int], *, measuring: bool
    ) -> Measured:
        kinds: dict[str, list[RunSpec]] = {}
        for spec in specs:
            kinds.setdefault(workload_of(spec), []).append(spec)
        curves, memory = {}, 0
        for kind, members in kinds.items():
            curve, self.sources[kind] = self._curve(kind, members, measuring=measuring)
            if curve is not None:
                curves[kind] = curve
        if curves:
            sharing = -(-len(self.devices) // len(set(self.devices)))
            memory = int(ask(self.devices[0]) * MEMORY_SHARE / sharing)
        return Measured(curves, len(self.devices), memory, self.largest)

    def _curve(
        self, kind: str, members: Sequence[RunSpec], *, measuring: bool
    ) -> tuple[CostCurve | None, str]:
        """Return what a kind costs, None where that is not known, and what the choice rests on."""
        if self.largest is not None:
            return None, f"--cohort {self.largest}"
        file = cache_folder() / "cohorts" / f"{content_id(self._key(kind))}.json"
        curve = read(file)
        if curve is not None:
            return curve, "measured before"
        refusal = self._not_worthwhile(members)
        if refusal:
            return None, f"the rule: {refusal}"
        if not measuring:
            return None, "the rule until it is measured"
        return self._new(kind, members, file)

    def _key(self, kind: str) -> dict[str, Any]:
        return {
            "schema": SCHEMA,
            "kind": kind,
            "code": sorted(code_of_networks(kind)),
            "device": hardware(self.device),
            "ganbench": VERSION,
            "results": RESULTS_VERSION,
            "torch": version("torch"),
        }

    def _not_worthwhile(self, members: Sequence[RunSpec]) -> str:
        """Say why a kind is not worth measuring; empty where it is."""
        if len({cohort_key(spec) for spec in members}) == len(members):
            return "no two runs could train together"
        seconds = [
            cohort_seconds(c, RATES[self.device]) for c in make_cohorts(members, self.device)
        ]
        if makespan(seconds, len(self.devices)) < WORTH * BUDGET_SECONDS:
            return "too little work to measure first"
        return ""

    def _new(
        self, kind: str, members: Sequence[RunSpec], file: Path
    ) -> tuple[CostCurve | None, str]:
        """Measure a kind by its plainest run, and keep what was found."""
        plainest = min(members, key=lambda spec: (sum(updates(spec)), len(spec.tricks), spec.id))
        measure = self.measure or (
            lambda spec, device: in_child(measure_kind, spec, device, self.plugins)
        )
        start = time.perf_counter()
        curve = measure(plainest, self.devices[0])
        if curve is None:
            self.announce(f"{in_words(kind)} could not be measured: cohorts are cut by the rule")
            return None, "the rule: it could not be measured"
        took = time.perf_counter() - start
        self.announce(
            f"measured how many runs train best together, {in_words(kind)}: up to "
            f"{curve.sizes[-1]} in {took:.1f} s"
        )
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            write_json(file, {"schema": SCHEMA, "key": self._key(kind), **asdict(curve)})
        except OSError as error:
            self.announce(f"it will be measured again: {file}: {error.strerror}")
        return curve, "measured now"


def read(file: Path) -> CostCurve | None:
    """Read a kept curve; None if there is none, or nothing that could be one."""
    try:
        return CURVE.validate_json(file.read_bytes())
    except (OSError, ValueError):
        return None


def code_of_networks(kind: str) -> set[str]:
    """Name the code of a kind's networks that are not ganbench's own."""
    value = json.loads(kind)
    names = {value[player][0] for player in ("generator", "discriminator")}
    return {networks.foreign()[name].name for name in names if name in networks.foreign()}


def in_words(kind: str) -> str:
    """Name networks, batch and shape of a kind."""
    value = json.loads(kind)
    G, D = (f"{value[player][0]} {value[player][1]}" for player in ("generator", "discriminator"))
    networks = G if G == D else f"{G} and {D}"
    return f"{networks}, batch {value['batch']} of {'×'.join(map(str, value['shape']))}"


def hardware(device: str) -> str:
    """Name what computes: the GPU, or the CPU with its cores."""
    if device == "cuda":
        return torch.cuda.get_device_name()
    return f"{processor()}, {os.cpu_count()} cores"


def measure_kind(spec: RunSpec, device: str, plugins: Sequence[str] = ()) -> CostCurve | None:
    """Train cohorts of growing size for a moment each, on random data.

    Args:
        spec: A run; its cohorts are of the seeds from 0.
        device: Where, such as ``cuda:0``.
        plugins: Modules that register what it is made of.

    Returns:
        Cost by size, as far as :data:`BUDGET_SECONDS` and the memory went; None if not even one
        run could be trained.
    """
    for plugin in plugins:
        load_plugin(plugin)
    torch.set_num_threads(1)
    where = torch.device(device)
    examples = examples_like(spec)
    points: list[tuple[int, float, int]] = []
    clock = CLOCKS[where.type]
    start = math.inf
    for size in SIZES[where.type]:
        if clock() - start > BUDGET_SECONDS:
            break
        specs = [spec.model_copy(update={"seed": seed}) for seed in range(size)]
        try:
            seconds = update_seconds(Trainer(specs, examples, where, recorder_for(where)))
        except torch.OutOfMemoryError:
            break
        points.append((size, seconds, peak_memory(where)))
        start = min(start, clock())
    if not points:
        return None
    sizes, each, peak = zip(*points, strict=True)
    return CostCurve(sizes, each, peak)


def examples_like(spec: RunSpec) -> Examples:
    """Draw random examples of a data set's shape: enough for a batch, whatever the schedule."""
    count = 2 * spec.settings.batch * schedule_of(all_parts(spec)).g_batch
    draws = torch.Generator().manual_seed(0)
    shape = (count, *spec.dataset.shape)
    classes = spec.dataset.classes
    labels = torch.randint(classes, (count,), generator=draws) if classes else None
    if len(spec.dataset.shape) == 1:
        return Examples(torch.randn(shape, generator=draws), labels)
    return Examples(torch.randint(256, shape, generator=draws, dtype=torch.uint8), labels)


def update_seconds(trainer: Trainer) -> float:
    """Return the median seconds of an update of either player, once updates are replayed.

    The fastest would flatter small cohorts, of which more steps are timed.
    """
    clock = CLOCKS[trainer.device.type]
    for _ in range(WARM_UPS[trainer.device.type]):
        trainer.train_step()
    finish(trainer.device)
    start = clock()
    durations: list[float] = []
    while not durations or clock() - start < EACH_SECONDS:
        before, begin = made_by(trainer), clock()
        trainer.train_step()
        finish(trainer.device)
        durations.append((clock() - begin) / (made_by(trainer) - before))
    return median(durations)


def made_by(trainer: Trainer) -> int:
    """Count the updates that both players have made."""
    return trainer.optimizer_d.updates + trainer.optimizer_g.updates


def finish(device: torch.device) -> None:
    """Wait for a device."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
