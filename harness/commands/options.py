"""What ``ganbench run`` and ``ganbench tune`` were asked, in one record that all of it goes by."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class RunOptions:
    """The options of a command that trains.

    Attributes:
        suite: Name of a built-in suite, or path of a YAML file.
        out: Results folder; None for ``results/SUITE``.
        only: Conditions on cells, ``key=value``.
        seeds: Number of seeds in place of the suite's; None for the suite's.
        profile: Profile of the suite file.
        jobs: Processes at once; None for one per core, or one per GPU.
        cohort: Most runs that train together; None for what is fastest.
        device: ``auto``, ``cpu`` or ``cuda``.
        wandb: Mode of the mirror; None for the default.
        data_root: Folder of data sets that are files.
        plugins: Modules, or paths of files, that register parts.
        extractors: Networks in files, as ``--extractor`` takes them.
    """

    suite: str
    out: Path | None = None
    only: tuple[str, ...] = ()
    seeds: int | None = None
    profile: str | None = None
    jobs: int | None = None
    cohort: int | None = None
    device: str = "auto"
    wandb: str | None = None
    data_root: Path | None = None
    plugins: tuple[str, ...] = ()
    extractors: tuple[str, ...] = ()

    def folder(self, suite: str) -> Path:
        """Return the results folder, given what the suite calls itself."""
        return self.out if self.out is not None else Path("results") / suite
