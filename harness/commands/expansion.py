"""From a command's options to the suite's runs, with plugins and extractors loaded first."""

from __future__ import annotations

from harness.commands.options import RunOptions
from harness.registry import load_plugin
from harness.suite.load import load_suite
from harness.suite.matrix import Matrix, expand, parse_only


def expanded(options: RunOptions) -> Matrix:
    """Read and expand the suite that a command names.

    Raises:
        SuiteError: listing every problem of the file.
        GanbenchError: if a plugin fails, or nothing is selected.
    """
    for name in options.plugins:
        load_plugin(name)
    named = []
    if options.extractors:
        from harness.metrics.extractors.exported import register_file

        named = [register_file(argument) for argument in options.extractors]
    return expand(
        load_suite(options.suite),
        profile=options.profile,
        seeds=options.seeds,
        only=parse_only(options.only),
        plugins=options.plugins,
        extractors=named,
    )
