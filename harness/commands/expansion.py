"""From a command's options to the suite's runs, with plugins and extractors loaded first."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from harness.commands.options import RunOptions
from harness.registry import load_plugin
from harness.suite.load import load_suite, read_suite
from harness.suite.matrix import Matrix, expand, parse_only


def expanded(options: RunOptions, content: bytes | None = None) -> Matrix:
    """Read and expand the suite that a command names; as :func:`expander`."""
    return expander(options, content)(seeds=options.seeds)


def expander(options: RunOptions, content: bytes | None = None) -> Callable[..., Matrix]:
    """Read the suite that a command names, once for all numbers of ``seeds``.

    Args:
        options: What the command was asked.
        content: The suite file, if it has been read.

    Raises:
        SuiteError: listing every problem of the file.
        GanbenchError: if a plugin fails; when it is called, if nothing is selected.
    """
    for name in options.plugins:
        load_plugin(name)
    named = []
    if options.extractors:
        from harness.metrics.extractors.exported import register_file

        named = [register_file(argument) for argument in options.extractors]
    source = options.suite
    return partial(
        expand,
        load_suite(source) if content is None else read_suite(content, source),
        profile=options.profile,
        only=parse_only(options.only),
        plugins=options.plugins,
        extractors=named,
    )
