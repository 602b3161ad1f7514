"""What differs from one update to the next: made at once, traced, or read by a recording."""

from __future__ import annotations

from collections.abc import Callable, Hashable

from torch import Tensor

Produce = Callable[[int], Tensor]
"""Makes an input from the update's number; always of the same shape and type."""


class EagerInputs:
    """Makes everything when it is asked for.

    Args:
        counter: The update's number.
    """

    def __init__(self, counter: int) -> None:
        self.counter = counter

    def input(self, key: Hashable, produce: Produce) -> Tensor:
        """Return what a function makes of the update's number."""
        return produce(self.counter)

    def every(self, count: int, offset: int = 0) -> bool:
        """Whether the update's number, plus an offset, is a multiple of a count."""
        return (self.counter + offset) % count == 0


class TracingInputs(EagerInputs):
    """Makes everything when it is asked for, and notes what was.

    Attributes:
        produced: What makes each input.
        questions: Counts and offsets of every question whether this is one of so many updates.
    """

    def __init__(self, counter: int) -> None:
        super().__init__(counter)
        self.produced: dict[Hashable, Produce] = {}
        self.questions: set[tuple[int, int]] = set()

    def input(self, key: Hashable, produce: Produce) -> Tensor:
        """Return what a function makes of the update's number, and keep the function."""
        self.produced[key] = produce
        return super().input(key, produce)

    def every(self, count: int, offset: int = 0) -> bool:
        """Answer, and keep the question."""
        self.questions.add((count, offset))
        return super().every(count, offset)


class RecordedInputs:
    """Tensors that a recorded update reads, filled before each replay.

    Args:
        produced: What makes each of them.
        answers: By question, as in all updates of this kind.
        counter: The number of the update that they are filled for at first.
    """

    def __init__(
        self, produced: dict[Hashable, Produce], answers: dict[tuple[int, int], bool], counter: int
    ) -> None:
        self._produced = produced
        self._answers = answers
        self._held = {key: produce(counter).clone() for key, produce in produced.items()}

    def fill(self, counter: int) -> None:
        """Put what an update needs where the recording reads it."""
        for key, produce in self._produced.items():
            self._held[key].copy_(produce(counter))

    def input(self, key: Hashable, produce: Produce) -> Tensor:
        """Return the tensor that the recording reads.

        Raises:
            RuntimeError: if the updates before did not ask for it.
        """
        if key not in self._held:
            raise RuntimeError(f"the recorded update asks for {key}, which those before did not")
        return self._held[key]

    def every(self, count: int, offset: int = 0) -> bool:
        """Answer as in all updates of this kind.

        Raises:
            RuntimeError: if the updates before did not ask.
        """
        if (count, offset) not in self._answers:
            raise RuntimeError("the recorded update asks what those before did not")
        return self._answers[count, offset]
