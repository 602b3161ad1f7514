"""What is refused before anything is trained: data, devices and precisions that are not there."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

from harness.datasets.base import dataset_of
from harness.datasets.splits import splits_of
from harness.errors import DataError, GanbenchError
from harness.metrics.applicable import require
from harness.planning.backlog import Backlog
from harness.spec import RunSpec, canonical_json


def check_data(specs: Iterable[RunSpec], root: Path | None) -> None:
    """Make sure that data sets which are files are there and whole, before anything is trained.

    Raises:
        DataError: naming the files and where to put them, weights of extractors included; all
            that is wrong at once.
    """
    needed = {
        (canonical_json(s.dataset.model_dump()), s.settings.extractor, s.settings.reference): s
        for s in specs
    }
    problems: dict[str, DataError] = {}
    for spec in needed.values():
        dataset = dataset_of(spec)
        checks: list[Callable[[], object]] = [
            partial(require, dataset, spec.settings.extractor, root)
        ]
        if dataset.needs_root:
            splits = splits_of(spec.settings.reference)
            used = dict.fromkeys(("train", splits.reference, splits.held_out))
            checks += [partial(dataset.load, split, root) for split in used]
        for check in checks:
            try:
                check()
            except DataError as error:
                problems.setdefault(str(error), error)
    if len(problems) > 1:
        raise DataError("\n".join([f"{len(problems)} problems", *(f"  {p}" for p in problems)]))
    for only in problems.values():
        raise only


def check_precision(specs: Iterable[RunSpec], device: str) -> None:
    """Refuse a precision that a device does not have.

    Raises:
        GanbenchError: naming a run, and what to do.
    """
    for spec in specs:
        if spec.settings.precision == "tf32" and device != "cuda":
            raise GanbenchError(
                f"{spec.slug} asks for precision tf32, which only CUDA devices have: choose "
                "float32 in the suite's settings, or --device cuda"
            )


def check_device(todo: Backlog, device: str) -> None:
    """Refuse to go on elsewhere with runs that have a checkpoint.

    The same seed gives other random numbers on another kind of device, so such a run would equal
    neither of the two that it is made of.

    Raises:
        GanbenchError: naming one of them, and what to do.
    """
    for record in todo.begun.values():
        before = record.device or device
        if before != device and any(record.path.glob("checkpoints/step-*.json")):
            raise GanbenchError(
                f"{record.path} began on {before}, where its random numbers are others: go on with "
                f"--device {before}, or delete the folder to train it again on {device}"
            )
