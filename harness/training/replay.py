"""Updates that are recorded once and replayed, without the Python that led to their operations.

An update is the same operations each time on other numbers. :class:`Replays` runs the first
updates as they are, notes what they take from outside (draws, indices of examples, numbers that
depend on the step), records one, and from then on puts fresh numbers where the recording reads
them and replays it. Whatever an update changes lies in the trainer's tree of state, whose tensors
stay where they are.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from harness.parts.protocols import Inputs
from harness.training.game import Game, Phase
from harness.training.inputs import EagerInputs, RecordedInputs, TracingInputs
from harness.training.state import StackedState

Work = Callable[[], None]
Answers = tuple[tuple[int, int, bool], ...]
"""For each question of the form "is this update one of every so many?", its answer."""
Kind = tuple[Phase, Answers]
"""Updates that are the same operations."""


class Recorder(Protocol):
    """What can run some work, and record work without running it.

    Attributes:
        warm_ups: Updates of each kind that it wants to run as they are before it records one.
        exact: Whether a replay gives the very bits of what it replays.
    """

    warm_ups: int
    exact: bool

    def warm_up(self, work: Work) -> None:
        """Run work as it will be recorded."""

    def record(self, work: Work) -> Work:
        """Record work on fixed tensors, without effect on them; return what replays it.

        Raises:
            RuntimeError: if it cannot be recorded.
        """


class CUDAGraphs:
    """Records work as CUDA graphs that share their memory.

    Args:
        device: The GPU.
    """

    warm_ups = 3  # libraries choose their kernels and take their memory in the first ones
    exact = False  # sums go in an order of their own each time

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._pool = torch.cuda.graph_pool_handle()

    def warm_up(self, work: Work) -> None:
        """Run work beside the main stream, as it will be recorded."""
        main = torch.cuda.current_stream(self._device)
        self._stream.wait_stream(main)
        with torch.cuda.stream(self._stream):
            work()
        main.wait_stream(self._stream)

    def record(self, work: Work) -> Work:
        """Record work; other threads may go on to use the GPU meanwhile."""
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(
            graph, pool=self._pool, stream=self._stream, capture_error_mode="thread_local"
        ):
            work()
        replay: Work = graph.replay
        return replay


@dataclass
class Recording:
    """One kind of update, recorded.

    Attributes:
        inputs: What it reads.
        replay: Makes it.
        replays: How often it has been replayed.
    """

    inputs: RecordedInputs
    replay: Work
    replays: int = 0


class Replays:
    """Makes updates, replayed where they have been recorded.

    If an update cannot be recorded, or depends on more than its inputs, all go on as they are, and
    a warning says why.

    Args:
        make: Makes an update of a player as it is, and counts it unless it is recorded.
        count: Counts one that was replayed.
        tree: All that an update changes on the device.
        game: The players, who are told when they are recorded.
        recorder: How to record; None to make every update as it is.

    Attributes:
        recorder: As given; None once updates turn out to be none that can be replayed.
    """

    def __init__(
        self,
        make: Callable[[Phase, Inputs], None],
        count: Callable[[Phase], None],
        tree: StackedState,
        game: Game,
        recorder: Recorder | None,
    ) -> None:
        self._make = make
        self._count = count
        self._tree = tree
        self._game = game
        self.recorder = recorder
        self.forget()

    def forget(self) -> None:
        """Start over: the tensors that recordings use have been replaced."""
        self._questions: dict[Phase, set[tuple[int, int]]] = {
            "discriminator": set(),
            "generator": set(),
        }
        self._warmed: dict[Kind, list[TracingInputs]] = {}
        self._recordings: dict[Kind, Recording] = {}
        self._homes = [(held, dict(held)) for held in self._tree.holders()]

    def update(self, phase: Phase, counter: int) -> None:
        """Make an update of a player, by its number."""
        recorder = self.recorder
        if recorder is None:
            self._make(phase, EagerInputs(counter))
            return
        kind = phase, self._answers(phase, counter)
        if kind not in self._recordings:
            if len(self._warmed.get(kind, [])) < recorder.warm_ups:
                self._warm_up(recorder, phase, counter)
                return
            if not self._record(recorder, kind, counter):
                self._make(phase, EagerInputs(counter))
                return
        recording = self._recordings[kind]
        recording.inputs.fill(counter)
        # The first replay is of the update that was recorded; the second shows whether all that
        # differs from one update to the next is fed to it.
        if recording.replays == 1 and recorder.exact:
            self._compare(recording, phase, counter)
        else:
            recording.replay()
            self._count(phase)
        recording.replays += 1

    def _answers(self, phase: Phase, counter: int) -> Answers:
        return tuple(
            (count, offset, (counter + offset) % count == 0)
            for count, offset in sorted(self._questions[phase])
        )

    def _warm_up(self, recorder: Recorder, phase: Phase, counter: int) -> None:
        inputs = TracingInputs(counter)

        def work() -> None:
            self._make(phase, inputs)
            self._settle()

        recorder.warm_up(work)
        self._questions[phase] |= inputs.questions
        # By what is known now: a question that has just come up makes another kind of this.
        self._warmed.setdefault((phase, self._answers(phase, counter)), []).append(inputs)

    def _record(self, recorder: Recorder, kind: Kind, counter: int) -> bool:
        """Record an update and make none; return whether it could be recorded."""
        phase, answers = kind
        known = {(count, offset): answer for count, offset, answer in answers}
        inputs = RecordedInputs(self._warmed.pop(kind)[-1].produced, known)
        inputs.fill(counter)

        def work() -> None:
            self._make(phase, inputs)
            self._settle()

        self._game.recording = True
        try:
            replay = recorder.record(work)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            self._give_up(str(error))
            return False
        else:
            self._recordings[kind] = Recording(inputs, replay)
            return True
        finally:
            # Recording ran Python's part of the update and none of the device's.
            self._game.recording = False
            self._bring_home()

    def _compare(self, recording: Recording, phase: Phase, counter: int) -> None:
        """Replay an update, and run it as it is from the same state; that is what stands."""
        held = self._tree.leaves()
        before = [tensor.detach().clone() for tensor in held]
        recording.replay()
        after = [tensor.detach().clone() for tensor in held]
        with torch.no_grad():
            for tensor, was in zip(held, before, strict=True):
                tensor.copy_(was)
        self._make(phase, EagerInputs(counter))
        self._settle()
        if not all(map(same_bits, held, after)):
            self._give_up(
                "an update depends on something that does not come through its batch, such as a "
                "number that is not asked for by batch.number"
            )

    def _give_up(self, reason: str) -> None:
        self.recorder = None
        warnings.warn(f"updates are not replayed: {reason}", RuntimeWarning, stacklevel=2)

    @torch.no_grad()
    def _settle(self) -> None:
        """Bring tensors that an update has replaced, such as buffers, back to where they lie."""
        for held, home in self._homes:
            for name, tensor in home.items():
                if held[name] is not tensor:
                    tensor.copy_(held[name])
        self._bring_home()

    def _bring_home(self) -> None:
        for held, home in self._homes:
            held.update(home)


def same_bits(one: Tensor, other: Tensor) -> bool:
    """Say whether two tensors hold the same, NaN for NaN."""
    # A copy, because a tensor of one element may have any stride and still count as contiguous.
    whole = (
        value.detach().clone(memory_format=torch.contiguous_format).flatten().view(torch.uint8)
        for value in (one, other)
    )
    return torch.equal(*whole)
