"""Which real data a number may rest on: reported ones never see validation, trials never test."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from harness.spec import ReportSplit, Split, TuningSplit


@dataclass(frozen=True)
class ReportSplits:
    """Real data for numbers that are reported: train and test, each other's floor.

    Attributes:
        reference: The split that generated samples are compared with.

    Raises:
        ValueError: if that is the split that tuning looks at.
    """

    reference: ReportSplit

    def __post_init__(self) -> None:
        if self.reference not in ("train", "test"):
            raise ValueError(f"no reported number is measured against {self.reference}")

    @property
    def held_out(self) -> ReportSplit:
        """The split whose own value is the floor."""
        return "test" if self.reference == "train" else "train"


@dataclass(frozen=True)
class TuningSplits:
    """Real data for trials of a search: validation, with a floor of train; test is out of reach.

    Attributes:
        reference: The split that generated samples are compared with.

    Raises:
        ValueError: if that is a split that reports look at.
    """

    reference: TuningSplit = "validation"

    def __post_init__(self) -> None:
        if self.reference != "validation":
            raise ValueError(f"no trial is measured against {self.reference}")

    @property
    def held_out(self) -> Literal["train"]:
        """The split whose own value is the floor."""
        return "train"


Splits = ReportSplits | TuningSplits


def splits_of(reference: Split) -> Splits:
    """Return the splits that go with a reference split."""
    return TuningSplits(reference) if reference == "validation" else ReportSplits(reference)
