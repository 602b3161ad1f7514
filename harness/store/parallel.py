"""Reads the runs of a large folder in as many processes as there are cores."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any, TypeVar

from harness.store.garbage import uncollected

FEWEST = 500
"""Items to a process, under which starting it takes longer than it saves."""
Item = TypeVar("Item")
Found = TypeVar("Found")


def cores() -> int:
    """Return how many processes may run at once."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1


def in_order(work: Callable[[Item], Found], items: Sequence[Item]) -> Iterator[Found]:
    """Return what a function makes of each item, in order; each core takes a share of many.

    Other processes are plain interpreters that import the function by its name: nothing of the
    caller's ``__main__`` is run in them, and a script needs no guard.

    Args:
        work: A function of a module, which returns what can be pickled and does not raise.
        items: What can be pickled.
    """
    count = max(1, min(cores(), len(items) // FEWEST))
    ends = [len(items) * i // count for i in range(count + 1)]
    mine, *others = (items[start:end] for start, end in pairwise(ends))
    with ThreadPoolExecutor(max(1, len(others))) as pool:
        asked = [pool.submit(_ask, work, share) for share in others]
        with uncollected():
            done = [work(item) for item in mine]
        yield from done
        for answer in asked:
            yield from answer.result()


def _ask(work: Callable[[Any], Any], share: Sequence[Any]) -> list[Any]:
    child = subprocess.run(  # noqa: S603 - a module of our own
        [sys.executable, "-m", __name__],
        input=pickle.dumps((work, share)),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        check=False,
    )
    if child.returncode != 0:
        return [work(item) for item in share]
    with uncollected():
        return list(pickle.loads(child.stdout))  # noqa: S301 - from a process of our own


def main() -> None:
    """Answer the process that started this one."""
    with uncollected():
        work, share = pickle.load(sys.stdin.buffer)  # noqa: S301 - from who started this process
        pickle.dump([work(item) for item in share], sys.stdout.buffer, protocol=5)


if __name__ == "__main__":
    main()
