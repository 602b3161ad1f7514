"""``ganbench check``: holds a plugin's parts to the kit that every part must pass."""

from __future__ import annotations

import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from rich.text import Text

import harness
from harness.errors import ExitStatus, GanbenchError
from harness.parts import Part
from harness.registry import KINDS, load_plugin, nearest
from harness.suite.strict_yaml import parse
from harness.testing import Check, checks
from harness.tracking.console import standard_console
from harness.tracking.wording import counted

OWN, PYTORCH = str(Path(harness.__file__).parent), str(Path(torch.__file__).parent)
"""Folders of code that no plugin can change."""


class Teller:
    """Prints lines, and keeps them."""

    def __init__(self) -> None:
        self._console = standard_console()
        self.lines: list[str] = []

    def say(self, line: Text) -> None:
        """Print a line."""
        self.lines.append(line.plain)
        self._console.print(line, soft_wrap=True)


def check_plugin(
    plugin: str,
    only: Sequence[str],
    given: Sequence[str],
    *,
    starts: int,
    every: bool,
    root: Path | None,
) -> tuple[ExitStatus, tuple[str, ...]]:
    """Make every check of what a plugin registers; print a line for each, and return them.

    Args:
        plugin: Module, or path of a file.
        only: Ids; all if empty.
        given: Options of variants and tricks, as ``key=value``.
        starts: Steps after which tricks begin to act.
        every: Whether to make the proofs that take minutes too.
        root: The data root.

    Raises:
        GanbenchError: if the plugin fails on import, registers nothing, or not what is asked for.
    """
    parts = registered(plugin, only)
    options = dict(read_option(text) for text in given)
    fields = sorted({field for kind, name in parts for field in fields_of(kind, name)})
    for key in options:
        if key not in fields:
            raise GanbenchError(
                f"--option {key}: no part of {plugin} has this option{nearest(key, fields)}"
            )
    teller, threads = Teller(), torch.get_num_threads()
    torch.set_num_threads(1)  # several would wait for each other over networks so small
    failed, left, made, begun = 0, 0, 0, time.perf_counter()
    try:
        for kind, name in parts:
            teller.say(Text(f"{kind} {name}", style="bold"))
            for check in checks_of(kind, name, options, starts, root):
                if check.slow and not every:
                    left += 1
                    continue
                made += 1
                failed += not passes(check, teller)
    finally:
        torch.set_num_threads(threads)
    seconds = time.perf_counter() - begun
    later = f"; {counted(left, 'check')} that takes minutes with --all" if left else ""
    verdict = (
        f"{failed} of {counted(made, 'check')} failed"
        if failed
        else (f"{counted(made, 'check')} passed")
    )
    teller.say(Text(f"{verdict} in {seconds:.0f} s{later}", style="red" if failed else "green"))
    return ExitStatus.INCOMPLETE if failed else ExitStatus.DONE, tuple(teller.lines)


def registered(plugin: str, only: Sequence[str]) -> list[tuple[str, str]]:
    """List kind and id of what a plugin registers, of those that are asked for."""
    module = load_plugin(plugin).__name__
    found = [
        (kind, name) for kind, each in KINDS.items() for name in each.registry.of_module(module)
    ]
    if not found:
        raise GanbenchError(
            f"{plugin} registers nothing; decorate a class of it, with "
            '@tricks.register("my-trick", source="…") for example'
        )
    names = [name for _, name in found]
    for name in only:
        if name not in names:
            raise GanbenchError(
                f"{plugin} registers no {name!r}{nearest(name, names)}; it has {', '.join(names)}"
            )
    return [(kind, name) for kind, name in found if not only or name in only]


def read_option(text: str) -> tuple[str, Any]:
    """Read ``key=value``, the value as in a suite file."""
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise GanbenchError(f"--option {text!r} is not KEY=VALUE, such as --option weight=0.5")
    return key, parse(value.encode()).value


def fields_of(kind: str, name: str) -> list[str]:
    """Name the options of a variant or a trick; nothing for other kinds."""
    cls = KINDS[kind].registry.get(name)
    return list(cls.model_fields) if issubclass(cls, Part) else []


def checks_of(
    kind: str, name: str, options: dict[str, Any], starts: int, root: Path | None
) -> list[Check]:
    """Collect the checks of one part, with the options that it has.

    Raises:
        GanbenchError: if an option is not what it may be.
    """
    cls = KINDS[kind].registry.get(name)
    own = {}
    if issubclass(cls, Part):
        own = {key: value for key, value in options.items() if key in cls.model_fields}
        try:
            cls.model_validate(own)
        except ValidationError as error:
            said = error.errors()[0]
            raise GanbenchError(
                f"--option {'.'.join(map(str, said['loc']))} of {name}: {said['msg']}"
            ) from error
    return checks(kind, name, options=own, starts=starts if kind == "trick" else 0, root=root)


def passes(check: Check, teller: Teller) -> bool:
    """Make one check; print what it says."""
    begun = time.perf_counter()
    reason = None
    try:
        check()
    except AssertionError as error:
        reason = str(error).strip() or "it does not hold"
    except Exception as error:  # noqa: BLE001 - a part may raise anything
        frames = traceback.extract_tb(error.__traceback__)
        foreign = [f for f in frames if not f.filename.startswith((OWN, PYTORCH, "<"))]
        place = (foreign or frames)[-1]
        said = (
            str(error) if isinstance(error, GanbenchError) else f"{type(error).__name__}: {error}"
        )
        reason = f"{said} ({place.filename}:{place.lineno})" if foreign else said
    seconds = time.perf_counter() - begun
    mark, style = ("✔", "green") if reason is None else ("✘", "red")
    line = Text.assemble((mark, style), f" {check.name}", (f"  {seconds:.1f} s", "dim"))
    teller.say(line)
    for part in (reason or "").splitlines():
        if part.strip():
            teller.say(Text(f"    {part.strip()}", style="red"))
    return reason is None
