"""Calls functions in processes forked as jobs are: what ends one of them ends no command."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from operator import call
from typing import Any, Generic, Self, TypeVar

from harness.engines.local import die_with_parent, ending
from harness.engines.server import STOPPING, start_fork_server
from harness.registry import load_plugin

PATIENCE_SECONDS = 120.0
"""After which a single answer is given up."""
Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Ended:
    """Stands for the answer of a process that ended before it gave one.

    Attributes:
        code: Its exit status; less than 0 for a signal.
    """

    code: int

    def __str__(self) -> str:
        return ending(self.code)


def in_child(function: Callable[..., Result], *arguments: Any) -> Result | None:
    """Call a function in a process of its own; None if that dies or takes too long."""
    with EachInChild(call, [partial(function, *arguments)], (), PATIENCE_SECONDS) as process:
        (given,) = process.answers()
    return None if isinstance(given, Ended) else given


class EachInChild(Generic[Item, Result]):
    """Calls a function for each item in a process, from the start on; after one that ends it, anew.

    Args:
        function: Can be pickled, as what it returns can; does not raise.
        items: What can be pickled; without any, there is no process.
        plugins: Modules that register what the items are made of.
        patience: Seconds after which a process that has not answered is ended; None for no limit.
    """

    def __init__(
        self,
        function: Callable[[Item], Result],
        items: Sequence[Item],
        plugins: Sequence[str],
        patience: float | None = None,
    ) -> None:
        self._function, self._left, self._plugins = function, list(items), plugins
        self._patience = patience
        self._process = ExitStack()

    def __enter__(self) -> Self:
        self._begin()
        return self

    def __exit__(self, *error: object) -> None:
        self._process.close()

    def _begin(self) -> None:
        self._process.close()
        if self._left:
            question = asking(self._function, self._left, self._plugins)
            self._receiver, self._child = self._process.enter_context(question)

    def answers(self) -> Iterator[Result | Ended]:
        """Wait for all answers, in order."""
        while self._left:
            # Not for the pipe alone: what the process has started may hold its other end.
            if not wait([self._receiver, self._child.sentinel], self._patience):
                self._child.kill()
            given: Result | Ended
            try:
                if not self._receiver.poll():
                    raise EOFError
                given = self._receiver.recv()
                del self._left[0]
            except (EOFError, OSError):  # nothing, or half an answer
                self._child.join()
                given = Ended(self._child.exitcode or 0)
                del self._left[0]
                self._begin()
            yield given


@contextmanager
def asking(*question: Any) -> Iterator[tuple[Connection, BaseProcess]]:
    """Start a process that answers through a pipe, and leave none behind."""
    start_fork_server()
    context = multiprocessing.get_context("forkserver")
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=answer_each, args=(sender, *question), daemon=True)
    child.start()
    sender.close()
    try:
        yield receiver, child
    finally:
        receiver.close()
        child.kill()
        child.join()


def listen() -> None:
    """Leave it to the command to speak, and what Ctrl-C means; end when it does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING)
    die_with_parent()
    with open(os.devnull, "w", encoding="utf-8") as nowhere:  # noqa: PTH123
        for stream in (1, 2):
            os.dup2(nowhere.fileno(), stream)


def answer_each(
    sender: Connection,
    function: Callable[[Any], Any],
    items: Sequence[Any],
    plugins: Sequence[str],
) -> None:
    """Send what a function makes of each item."""
    listen()
    for plugin in plugins:
        load_plugin(plugin)
    for item in items:
        sender.send(function(item))
    sender.close()
