"""Shares work among as many processes as there are cores."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from tempfile import TemporaryFile
from typing import Any, Self, TypeVar

from harness.store.garbage import uncollected

FEWEST = 500
"""Items to a process, under which starting it takes longer than it saves."""
TOGETHER = 50
"""Items that a process takes at once."""
NUMBER_BYTES = 4
MOST_NUMBERS = 10_000
"""A pipe holds more than so many."""
Item = TypeVar("Item")
Found = TypeVar("Found")


def cores() -> int:
    """Return how many processes may run at once."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1


def pieces(items: Sequence[Item]) -> list[Sequence[Item]]:
    """Cut items into what a process takes at once."""
    size = max(TOGETHER, -(-len(items) // MOST_NUMBERS))
    return [items[start : start + size] for start in range(0, len(items), size)]


def queue_of(count: int) -> int:
    """Return a pipe that holds the numbers from 0 on: whichever process reads one has it.

    Args:
        count: Of numbers, at most :data:`MOST_NUMBERS`, as there are pieces.
    """
    queue, fill = os.pipe()
    try:
        for number in range(count):
            os.write(fill, number.to_bytes(NUMBER_BYTES, "big"))
    finally:
        os.close(fill)
    return queue


def taken(queue: int) -> Iterator[int]:
    """Take numbers until there are none."""
    while number := os.read(queue, NUMBER_BYTES):
        yield int.from_bytes(number, "big")


def in_order(work: Callable[[Item], Found], items: Sequence[Item]) -> Iterator[Found]:
    """Return what a function makes of each item, in order; many are shared by all cores.

    Other processes are plain interpreters that import the function by its name: nothing of the
    caller's ``__main__`` is run in them, and a script needs no guard.

    Args:
        work: A function of a module, which returns what can be pickled and does not raise.
        items: What can be pickled.
    """
    cut = pieces(items)
    done: dict[int, list[Found]] = {}
    with ExitStack() as stack, uncollected():
        queue = queue_of(len(cut))
        stack.callback(os.close, queue)
        others = []
        for _ in range(min(cores(), len(items) // FEWEST) - 1):
            # Without room for its files, or another process, this one does all.
            with suppress(OSError):
                others.append(stack.enter_context(Worker(work, cut, queue)))
        for number in taken(queue):
            done[number] = [work(item) for item in cut[number]]
        for other in others:
            done.update(other.answers())
    for number, piece in enumerate(cut):
        # What a process had taken that came to an end is done here.
        yield from done[number] if number in done else [work(item) for item in piece]


class Worker:
    """A process that takes pieces too.

    Question and answers are files: a pipe would have to be attended to while there is work.

    Args:
        work: What to do with an item.
        cut: All pieces.
        queue: Of their numbers.
    """

    def __init__(self, work: Callable[[Any], Any], cut: list[Any], queue: int) -> None:
        with ExitStack() as stack:
            task, self._answers = (stack.enter_context(TemporaryFile()) for _ in range(2))
            pickle.dump((work, cut), task)
            task.seek(0)
            self._child = subprocess.Popen(  # noqa: S603 - a module of our own
                [sys.executable, "-m", __name__, str(queue)],
                stdin=task,
                stdout=self._answers,
                stderr=subprocess.DEVNULL,
                pass_fds=(queue,),
            )
            self._files = stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._child.kill()
        self._child.wait()
        self._files.close()

    def answers(self) -> Iterator[tuple[int, list[Any]]]:
        """Wait for it, and return what it has made of which pieces."""
        self._child.wait()
        self._answers.seek(0)
        # The last one may be cut off, where the process was, or its disk full.
        with suppress(EOFError, pickle.UnpicklingError):
            while True:
                yield pickle.load(self._answers)  # noqa: S301 - from a process of our own


def main() -> None:
    """Work for the process that started this one."""
    work, cut = pickle.load(sys.stdin.buffer)  # noqa: S301 - from who started this process
    with uncollected():
        for number in taken(int(sys.argv[1])):
            pickle.dump((number, [work(item) for item in cut[number]]), sys.stdout.buffer, 5)


if __name__ == "__main__":
    main()
