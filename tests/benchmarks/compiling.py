"""Recorded updates against the same, compiled by ``torch.compile``, and when that would pay.

A recording is PyTorch's operations one after the other, each reading and writing memory; a
compiler fuses those between two products. ``python -m tests.benchmarks compiling`` says how long
compiling takes, how much faster an update is then, and after how many of them the time has come
back. Compiling rounds differently from what it replaces, so that a run which is resumed, and makes
its first updates uncompiled, would end with other bits than one that was never stopped.
"""

from __future__ import annotations

import operator
import statistics
import time
from typing import Any

import torch
from torch import Tensor, fx, nn

from harness.training.programs import Programs, Tape, needed
from harness.training.replay import CUDAGraphs, Work
from harness.training.trainer import Trainer
from tests.benchmarks.racing import race
from tests.benchmarks.training import CASES as TRAINED
from tests.benchmarks.training import Case, as_jobs_do, examples_of

ROUNDS = 5
SECONDS = 0.3
EXAMPLES = 1000
RECORDED_AFTER = 3
"""Steps after which both players' updates have been recorded, and compared once."""
DCGAN = {"network": "dcgan16", "width": 8, "latent": 32, "batch": 64, "steps": 10_000}
CASES = (
    TRAINED["mlp"],
    Case("DCGAN 16×16 of width 8, 5 runs", "cpu", 1, 5, "digits", "dcgan", DCGAN),
)


class Drawn(Tape):
    """A tape that can be drawn as a graph, which a compiler reads."""

    def function_of(self, func: Any, args: Any, kwargs: Any) -> Any:
        """Call an operation by its name, as a compiler wants it."""
        return func

    def graph(self) -> tuple[fx.GraphModule, list[Tensor]]:
        """Return the operations as a function of the tensors that it is given, and these."""
        lines = needed(self._lines)
        read = set().union(*(line.read for line in lines))
        graph, given = fx.Graph(), []
        scope = dict(self._given)
        for name, value in self._given.items():
            if name in read:
                scope[name] = graph.placeholder(name)
                given.append(value)

        def call(operation: str, *arguments: Any, **named: Any) -> fx.Node:
            return graph.call_function(self._given[operation], arguments, named)

        for line in lines:
            # The text of the arguments, read with nodes in place of tensors.
            text = f"call({line.operation!r}, {line.arguments})"
            node = eval(text, {**scope, "call": call})
            made = [node]
            if line.several:
                positions = range(len(line.results))
                made = [graph.call_function(operator.getitem, (node, i)) for i in positions]
            scope.update(zip(line.results, made, strict=True))
        graph.output(())
        return fx.GraphModule(nn.Module(), graph), given


class Kept(Programs):
    """Records as training does, and keeps the tapes."""

    def __init__(self) -> None:
        super().__init__()
        self.tapes: list[tuple[Drawn, Work]] = []

    def record(self, work: Work) -> Work:
        """Record work, and undo it."""
        tape = Drawn()
        tape.take_down(work)
        replay = tape.program()
        self.tapes.append((tape, replay))
        return replay


def compiled(tape: Drawn) -> Work:
    """Compile what is on a tape, whatever has been compiled before."""
    from torch._inductor import config as inductor_config  # seconds, which others need not wait

    module, given = tape.graph()
    found = torch.compile(module, fullgraph=True)

    def run() -> None:
        with torch.no_grad():
            found(*given)

    with inductor_config.patch(force_disable_caches=True):
        run()
    return run


def captured(work: Work, device: torch.device) -> Work:
    """Return what is raced: on a GPU the work as a graph, since that is what training replays."""
    if device.type != "cuda":
        return work
    graphs = CUDAGraphs(device)
    for _ in range(graphs.warm_ups):
        graphs.warm_up(work)
    return graphs.record(work)


def measure_case(
    case: Case, device: torch.device, rounds: int, seconds: float, examples: int
) -> list[dict[str, Any]]:
    """Measure the updates of both players of a cohort."""
    recorder = Kept()
    specs = case.trainer(examples_of(case.dataset, examples), device, plain=True).specs
    trainer = Trainer(specs, examples_of(case.dataset, examples), device, recorder)
    for _ in range(RECORDED_AFTER):
        trainer.train_step()
    found = []
    for (tape, replay), (phase, _) in zip(recorder.tapes, trainer.replays._recordings, strict=True):
        start = time.perf_counter()
        compiled_update = compiled(tape)
        took = time.perf_counter() - start
        ways = {"recorded": replay, "compiled": compiled_update}
        ways = {name: captured(way, device) for name, way in ways.items()}
        times = race(ways, rounds, device, seconds)
        gains = [a - b for a, b in zip(times["recorded"], times["compiled"], strict=True)]
        gain = statistics.median(gains)
        ratios = [a / b for a, b in zip(times["recorded"], times["compiled"], strict=True)]
        found.append(
            {
                "case": case.name,
                "update": phase,
                "seconds_to_compile": round(took, 1),
                "times_as_fast": round(statistics.median(ratios), 2),
                "milliseconds_recorded": round(1e3 * statistics.median(times["recorded"]), 3),
                "pays_after_updates": round(took / gain) if gain > 0 else None,
            }
        )
    return found


def measure(
    device: str | None = None,
    *,
    cases: tuple[Case, ...] = CASES,
    rounds: int = ROUNDS,
    seconds: float = SECONDS,
    examples: int = EXAMPLES,
) -> dict[str, Any]:
    """Return what compiling recorded updates takes and gives.

    Args:
        device: ``cpu`` or ``cuda``; CUDA where there is one unless given.
        cases: What is trained.
        rounds: How often each is timed.
        seconds: About how long one measurement takes.
        examples: Size of the data set.
    """
    where = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    with as_jobs_do():
        found = [
            row for case in cases for row in measure_case(case, where, rounds, seconds, examples)
        ]
    return {"benchmark": "recorded updates, compiled", "found": found}
