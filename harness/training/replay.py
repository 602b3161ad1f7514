"""Updates that are recorded once and replayed, without the Python that led to their operations.

An update is the same operations each time on other numbers. :class:`Replays` runs the first
updates as they are, notes what they take from outside (draws, indices of examples, numbers that
depend on the step), records one, and from then on puts fresh numbers where the recording reads
them and replays it. Whatever an update changes (weights, buffers, the optimisers' tensors, what
parts remember, the monitor's sums) lies in tensors that stay where they are.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from harness.parts.protocols import Inputs
from harness.training.game import Game, Phase
from harness.training.inputs import RecordedInputs, TracingInputs

Work = Callable[[], None]
Answers = tuple[tuple[int, int, bool], ...]
"""For each question of the form "is this update one of every so many?", its answer."""
Kind = tuple[Phase, Answers]
"""Updates that are the same operations."""


class Updates(Protocol):
    """Updates that can be replayed, as a trainer makes them."""

    @property
    def game(self) -> Game:
        """The players."""

    def updates(self, phase: Phase, /) -> int:
        """Return how many updates a player has made."""

    def update(self, phase: Phase, inputs: Inputs | None = None, /) -> None:
        """Make one update of a player, with what differs from one to the next."""

    def tensors(self) -> list[Tensor]:
        """List everything on the device that an update changes."""

    def counters(self) -> dict[str, int]:
        """Return the counts that an update moves on Python's side."""

    def advance(self, moved: Mapping[str, int], /) -> None:
        """Move these counts on."""


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
        replay: Runs it.
        moved: By how much the counts of Python's side go up with it.
        replays: How often it has been replayed.
    """

    inputs: RecordedInputs
    replay: Work = lambda: None
    moved: Counter[str] = field(default_factory=Counter)
    replays: int = 0


class Replays:
    """Makes a trainer's updates, replayed where they have been recorded.

    If an update cannot be recorded, or depends on more than its inputs, all go on as they are, and
    a warning says why.

    Args:
        trainer: Whose updates.
        recorder: How to record.
    """

    def __init__(self, trainer: Updates, recorder: Recorder) -> None:
        self._trainer = trainer
        self._recorder = recorder
        self.given_up = False
        self.forget()

    def forget(self) -> None:
        """Start over: the tensors that recordings use have been replaced."""
        self._questions: dict[Phase, set[tuple[int, int]]] = {
            "discriminator": set(),
            "generator": set(),
        }
        self._warmed: dict[Kind, list[TracingInputs]] = {}
        self._recordings: dict[Kind, Recording] = {}
        game = self._trainer.game
        self._homes = [(stack, stack.buffers) for stack in (game.G, game.D)]

    def update(self, phase: Phase) -> None:
        """Make one update of a player."""
        trainer = self._trainer
        counter = trainer.updates(phase)
        kind = phase, self._answers(phase, counter)
        if not self.given_up and kind not in self._recordings:
            if len(self._warmed.get(kind, [])) < self._recorder.warm_ups:
                self._warm_up(phase, counter)
                return
            self._record(kind, counter)
        if self.given_up:
            trainer.update(phase)
            return
        recording = self._recordings[kind]
        recording.inputs.fill(counter)
        # The first replay is of the update that was recorded; the second shows whether all that
        # differs from one update to the next is fed to it.
        if recording.replays == 1 and self._recorder.exact:
            self._compare(recording, phase)
        else:
            recording.replay()
            trainer.advance(recording.moved)
        recording.replays += 1

    def _answers(self, phase: Phase, counter: int) -> Answers:
        return tuple(
            (count, offset, (counter + offset) % count == 0)
            for count, offset in sorted(self._questions[phase])
        )

    def _warm_up(self, phase: Phase, counter: int) -> None:
        inputs = TracingInputs(counter)

        def work() -> None:
            self._trainer.update(phase, inputs)
            self._settle()

        self._recorder.warm_up(work)
        self._questions[phase] |= inputs.questions
        # By what is known now: a question that has just come up makes another kind of this.
        self._warmed.setdefault((phase, self._answers(phase, counter)), []).append(inputs)

    def _record(self, kind: Kind, counter: int) -> None:
        trainer, (phase, answers) = self._trainer, kind
        known = {(count, offset): answer for count, offset, answer in answers}
        inputs = RecordedInputs(self._warmed.pop(kind)[-1].produced, known)
        recording = Recording(inputs)
        inputs.fill(counter)

        def work() -> None:
            trainer.update(phase, inputs)
            self._settle()

        before = Counter(trainer.counters())
        trainer.game.recording = True
        try:
            recording.replay = self._recorder.record(work)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            self._give_up(str(error))
        else:
            self._recordings[kind] = recording
        finally:
            trainer.game.recording = False
        self._bring_home()
        # Recording ran Python's part of the update and none of the device's.
        recording.moved.update(trainer.counters())
        recording.moved.subtract(before)
        trainer.advance({name: -moved for name, moved in recording.moved.items()})

    def _compare(self, recording: Recording, phase: Phase) -> None:
        """Replay an update, and run it as it is from the same state; that is what stands."""
        held = self._trainer.tensors()
        before = [tensor.detach().clone() for tensor in held]
        recording.replay()
        after = [tensor.detach().clone() for tensor in held]
        with torch.no_grad():
            for tensor, was in zip(held, before, strict=True):
                tensor.copy_(was)
        self._trainer.update(phase)
        self._settle()
        if not all(map(same_bits, held, after)):
            self._give_up(
                "an update depends on something that does not come through its batch, such as a "
                "number that is not asked for by batch.number"
            )

    def _give_up(self, reason: str) -> None:
        self.given_up = True
        warnings.warn(f"updates are not replayed: {reason}", RuntimeWarning, stacklevel=2)

    def _settle(self) -> None:
        """Bring buffers, which a forward pass replaces by new ones, back to where they lie."""
        for stack, home in self._homes:
            for name, buffer in home.items():
                if stack.buffers[name] is not buffer:
                    buffer.copy_(stack.buffers[name])
        self._bring_home()

    def _bring_home(self) -> None:
        for stack, home in self._homes:
            stack.buffers = home


def same_bits(one: Tensor, other: Tensor) -> bool:
    """Say whether two tensors hold the same, NaN for NaN."""
    # A copy, because a tensor of one element may have any stride and still count as contiguous.
    whole = (
        value.detach().clone(memory_format=torch.contiguous_format).flatten().view(torch.uint8)
        for value in (one, other)
    )
    return torch.equal(*whole)
