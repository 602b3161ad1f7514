"""What a probe is: a measurement of the discriminator, made before and after training only."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from torch import Tensor

from harness.datasets.base import Dataset
from harness.metrics.cache import ReferenceCache
from harness.networks.blueprint import Blueprint
from harness.registry import Registry
from harness.spec import Split
from harness.store.records import MetricInfo

Hidden = Callable[[Tensor], dict[str, Tensor]]
"""Maps uint8 images ``(n, channels, height, width)`` to one run's D's hidden activations by layer,
``(n, …)`` each, in evaluation mode."""


@dataclass(frozen=True)
class Finding:
    """What a probe found of one run.

    Attributes:
        values: Number by column; NaN where D's activations are not finite.
        details: What was chosen on the way, as JSON.
    """

    values: dict[str, float]
    details: dict[str, Any] = field(default_factory=dict)


class Probe:
    """A measurement of what D learned, too slow for every evaluation.

    A suite asks for it by its id in the setting ``probes``. It sees each run alone.

    Args:
        dataset: What D was trained on.
        reference: The setting ``reference``. No probe looks at validation, which is tuning's.
        root: The data root.
        cache: Where what depends on the data alone is kept.

    Raises:
        DataError: if data are needed and absent, damaged or too few.
    """

    id: ClassVar[str]
    summary: ClassVar[str]
    source: ClassVar[str]
    version: ClassVar[int] = 1
    """Raised by every change that alters the numbers; part of each run's identity."""

    def __init__(
        self, dataset: Dataset, reference: Split, root: Path | None, cache: ReferenceCache
    ) -> None:
        raise NotImplementedError

    @classmethod
    def misfit(cls, dataset: Dataset, blueprint: Blueprint) -> str | None:
        """Say why it cannot be made of a data set or of networks, or None."""
        return None

    @classmethod
    def columns(cls, dataset: Dataset, reference: Split) -> list[MetricInfo]:
        """Describe the columns, those of the run first; reads no data."""
        raise NotImplementedError

    def __call__(self, hidden: Hidden) -> Finding:
        """Measure one run."""
        raise NotImplementedError

    def describe(self) -> dict[str, Any]:
        """Return what reports need to know, as JSON; ``columns`` at least."""
        raise NotImplementedError


probes: Registry[Probe] = Registry("probe")
