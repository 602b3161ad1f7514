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
Make = Callable[[Inputs], None]
"""Makes an update from what differs from one to the next."""
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

    def __call__(self, counter: int) -> None:
        """Make the update of a number."""
        self.inputs.fill(counter)
        self.replay()
        self.replays += 1


class Replays:
    """Makes updates, replayed where they have been recorded.

    If an update cannot be recorded, or depends on more than its inputs, all go on as they are, and
    a warning says why.

    Args:
        tree: All that an update changes on the device.
        game: The players, who are told when they are recorded.
        recorder: How to record; None to make every update as it is.

    Attributes:
        recorder: As given; None once updates turn out to be none that can be replayed.
    """

    def __init__(self, tree: StackedState, game: Game, recorder: Recorder | None) -> None:
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

    def update(self, phase: Phase, counter: int, make: Make, count: Work) -> None:
        """Make one update.

        Args:
            phase: Whose.
            counter: Its number.
            make: Makes it as it is, and counts it unless the game is recorded.
            count: Counts it when it was replayed.
        """
        recorder = self.recorder
        if recorder is None:
            make(EagerInputs(counter))
            return
        kind = phase, self._answers(phase, counter)
        if kind in self._recordings:
            recording = self._recordings[kind]
            # The first replay is of the update that was recorded; the second shows whether all
            # that differs from one update to the next is fed to it.
            if recording.replays == 1 and recorder.exact:
                self._compare(recording, counter, make)
            else:
                recording(counter)
                count()
        elif len(self._warmed.get(kind, [])) < recorder.warm_ups:
            self._warm_up(recorder, phase, TracingInputs(counter), make)
        else:
            self._record(recorder, kind, counter, make)
            self.update(phase, counter, make, count)

    def _answers(self, phase: Phase, counter: int) -> Answers:
        return tuple(
            (count, offset, (counter + offset) % count == 0)
            for count, offset in sorted(self._questions[phase])
        )

    def _warm_up(self, recorder: Recorder, phase: Phase, inputs: TracingInputs, make: Make) -> None:
        recorder.warm_up(lambda: self._settled(make, inputs))
        self._questions[phase] |= inputs.questions
        # By what is known now: a question that has just come up makes another kind of this.
        kind = phase, self._answers(phase, inputs.counter)
        self._warmed.setdefault(kind, []).append(inputs)

    def _record(self, recorder: Recorder, kind: Kind, counter: int, make: Make) -> None:
        """Record an update and make none."""
        answers = {(count, offset): answer for count, offset, answer in kind[1]}
        inputs = RecordedInputs(self._warmed.pop(kind)[-1].produced, answers, counter)
        self._game.recording = True
        try:
            replay = recorder.record(lambda: self._settled(make, inputs))
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            self._give_up(str(error))
        else:
            self._recordings[kind] = Recording(inputs, replay)
        finally:
            # Recording ran Python's part of the update and none of the device's.
            self._game.recording = False
            self._bring_home()

    def _compare(self, recording: Recording, counter: int, make: Make) -> None:
        """Replay an update, and make it as it is from the same state; that is what stands."""
        held = self._tree.leaves()
        before = [tensor.detach().clone() for tensor in held]
        recording(counter)
        after = [tensor.detach().clone() for tensor in held]
        with torch.no_grad():
            for tensor, was in zip(held, before, strict=True):
                tensor.copy_(was)
        self._settled(make, EagerInputs(counter))
        if not all(map(same_bits, held, after)):
            self._give_up(
                "an update depends on something that does not come through its batch, such as a "
                "number that is not asked for by batch.number"
            )

    def _give_up(self, reason: str) -> None:
        self.recorder = None
        warnings.warn(f"updates are not replayed: {reason}", RuntimeWarning, stacklevel=2)

    def _settled(self, make: Make, inputs: Inputs) -> None:
        """Make an update, and bring tensors that it has replaced back to where they lie."""
        make(inputs)
        with torch.no_grad():
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
