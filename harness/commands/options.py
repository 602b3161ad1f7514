"""What ``ganbench run`` and ``ganbench tune`` were asked, in one record that all of it goes by."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from harness.errors import GanbenchError
from harness.store.code import Answer


@dataclass(frozen=True)
class RunOptions:
    """The options of a command that trains; ``ganbench run --help`` says what each is."""

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
    changed_code: Answer = "refuse"

    def folder(self, suite: str) -> Path:
        """Return the results folder, given what the suite calls itself."""
        return self.out if self.out is not None else Path("results") / suite


def answer_of(*, retrain: bool, accept: bool) -> Answer:
    """Read the options ``--retrain`` and ``--accept-code``.

    Raises:
        GanbenchError: if both are given.
    """
    if retrain and accept:
        raise GanbenchError("--retrain and --accept-code exclude each other: give one of them")
    return "retrain" if retrain else "accept" if accept else "refuse"
