"""The commands as functions: ``ganbench.run`` and others, for notebooks and scripts.

Options are those of the command line, which reads, checks and explains them here too.
"""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import update_wrapper
from types import ModuleType
from typing import Any, TypeVar

import typer

from harness.cli import Ended, app
from harness.errors import ExitStatus, GanbenchError, Incomplete, Preempted
from harness.registry import nearest
from reports.results import Results

Place = str | os.PathLike[str]
Returned = TypeVar("Returned")


class Command:
    """A command of the command line, to be called with its options as keyword arguments.

    Args:
        name: Of the command.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._command: Any = typer.main.get_command(app).commands[name]  # type: ignore[attr-defined]
        self.options = {
            option.opts[0].removeprefix("--").replace("-", "_"): option
            for option in self._command.params
            if option.param_type_name == "option"
        }

    def __call__(self, places: Sequence[Place], options: dict[str, Any]) -> Ended | None:
        """Do what the command does; return how it ended, if it says so.

        Raises:
            TypeError: if there is no such option.
            GanbenchError: if an option cannot be what it is.
        """
        words = [word for name, value in options.items() for word in self._words(name, value)]
        try:
            with foreign_main(), self._command.make_context(
                self.name, [*words, "--", *(os.fspath(place) for place in places)]
            ) as context:  # fmt: skip
                self._command.invoke(context)
        except typer.BadParameter as error:
            raise GanbenchError(f"{self.name}: {error.format_message()}") from None
        except Ended as ended:
            return ended
        return None

    def _words(self, name: str, value: Any) -> list[str]:
        """Write an option as the command line has it."""
        if name not in self.options:
            raise TypeError(f"{self.name}() has no option {name!r}{nearest(name, [*self.options])}")
        option = self.options[name]
        flag = option.opts[0]
        if value is None:
            return []
        if option.is_flag:
            if not isinstance(value, bool):
                raise TypeError(f"{self.name}({name}={value!r}): give True or False")
            return [flag] if value else [*option.secondary_opts]
        several = option.multiple and not isinstance(value, str | os.PathLike)
        return [f"{flag}={each}" for each in (value if several else [value])]

    def document(self, function: Callable[..., Returned]) -> Callable[..., Returned]:
        """Give a function the options of the command as its signature, and what they mean."""
        parameters = [*inspect.signature(function).parameters.values()][:-1]
        keywords = [
            inspect.Parameter(
                name,
                inspect.Parameter.KEYWORD_ONLY,
                default=() if option.multiple else option.default,
            )
            for name, option in self.options.items()
        ]
        told = "\n".join(f"    {name}: {o.help}" for name, o in self.options.items())
        wrapped = update_wrapper(lambda *places, **options: function(*places, **options), function)
        wrapped.__signature__ = inspect.Signature([*parameters, *keywords])  # type: ignore[attr-defined]
        wrapped.__doc__ = f"{inspect.cleandoc(function.__doc__ or '')}\n\nOptions:\n{told}\n"
        return wrapped


@contextmanager
def foreign_main() -> Iterator[None]:
    """Let processes that start here run nothing of the caller's main module again.

    A script so needs no guard, and what a notebook defines concerns no job.
    """
    before = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = before


def concluded(ended: Ended | None) -> Results | None:
    """Return the results that a command has left; nothing where it only told what it would do.

    Raises:
        Incomplete: if runs crashed, or are missing.
        Preempted: if it was asked to stop.
        KeyboardInterrupt: if it was interrupted.
    """
    if ended is None or ended.folder is None:
        return None
    results = Results(ended.folder)
    match ended.exit_code:
        case ExitStatus.INCOMPLETE:
            raise Incomplete(
                f"some runs of {ended.folder} crashed, or are missing; the same call goes on",
                results,
            )
        case ExitStatus.PREEMPTED:
            raise Preempted(f"stopped and saved; the same call goes on with {ended.folder}")
        case ExitStatus.INTERRUPTED:
            raise KeyboardInterrupt
    return results


@Command("run").document
def run(suite: Place, **options: Any) -> Results | None:
    """Run a suite: train what is missing, measure it, write the report, and return the results.

    Does what ``ganbench run SUITE`` does, in this process and as many others as there are cores.
    An interrupt stops it after saving, and the same call goes on. With ``dry_run`` it prints what
    it would do and returns None.

    Args:
        suite: Name of a built-in suite, or path of a YAML file.
        options: See below.

    Raises:
        SuiteError: if the suite file is wrong, with every problem.
        GanbenchError: if anything else that was given cannot be used.
        Incomplete: if runs crashed, or are missing; ``results`` has what there is.
        Preempted: if it was asked to stop, and saved.
        KeyboardInterrupt: if it was interrupted, and saved.
    """
    return concluded(Command("run")([suite], options))


@Command("tune").document
def tune(suite: Place, **options: Any) -> Results | None:
    """Tune all cells of a suite alike, and return the results: ``trials``, ``verdicts``.

    Does what ``ganbench tune SUITE`` does. With ``dry_run`` it prints what it would do and returns
    None.

    Args:
        suite: Name of a built-in suite, or path of a YAML file.
        options: See below.

    Raises:
        SuiteError: if the suite file is wrong, with every problem.
        GanbenchError: if anything else that was given cannot be used.
        Incomplete: if runs crashed, or are missing; ``results`` has what there is.
        Preempted: if it was asked to stop, and saved.
        KeyboardInterrupt: if it was interrupted, and saved.
    """
    return concluded(Command("tune")([suite], options))


@Command("report").document
def report(*folders: Place, **options: Any) -> Results:
    """Write the report of results folders, and return the results.

    Args:
        folders: A results folder, or several of one plan.
        options: See below.

    Raises:
        StoreError: if a folder holds no results, or the report cannot be written.
        CorruptRecordError: naming file and line of a damaged record, unless those are skipped.
    """
    Command("report")(folders, options)
    return Results(*folders, skip_corrupt=bool(options.get("skip_corrupt")))


@Command("check").document
def check(plugin: Place, **options: Any) -> list[str]:
    """Hold parts of your own to what every part must pass, and return the lines that it prints.

    Args:
        plugin: Module, or path of a .py file, that registers parts.
        options: See below.

    Raises:
        GanbenchError: if the plugin fails on import, or registers nothing.
        Incomplete: if a check fails; ``results`` has the lines.
    """
    ended = Command("check")([plugin], options)
    lines = [*ended.told] if ended else []
    if ended and ended.exit_code != ExitStatus.DONE:
        raise Incomplete(lines[-1], lines)
    return lines
