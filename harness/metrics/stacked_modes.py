"""Coverage of stacked digits: how many of the thousand modes are hit, and how evenly."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from harness.datasets.base import Dataset, Values
from harness.datasets.splits import Splits
from harness.datasets.stacked import Stacked
from harness.metrics.base import PERFECT, Conditions, Metric, Observation, Statistics, metrics
from harness.metrics.class_histogram import class_counts
from harness.metrics.modes import reverse_kl
from harness.store.records import MetricInfo

OFTEN = 6
"""Hits from which on a mode is no classifier's mistake."""
LIMITED = 100
"""Modes of the calibration's limited sampler."""
DRAWS = 200
"""Simulated samplers."""


@metrics.register(
    "stacked-modes",
    source="Metz et al. 2017, arXiv:1611.02163, section 3.3.1; Srivastava et al. 2017, "
    "arXiv:1705.07761; Lin et al. 2018, arXiv:1712.04086, section 4.2",
)
class StackedModes(Metric):
    """Triples of digits found among stacked images, as a classifier reads each channel.

    A classifier's mistakes turn one triple into its neighbours, so that a generator of few modes
    seems to have several times as many: the calibration says how many on real images.
    """

    @classmethod
    def applies(cls, conditions: Conditions) -> bool:
        """Whether the classes are triples of digits, and the classifier tells them."""
        return conditions.stacked and conditions.classes is not None

    def columns(self) -> list[MetricInfo]:
        """Describe modes, modes hit often, and the divergence from evenness."""
        name = self.conditions.name
        return [
            self.column(
                name("modes", reference=False),
                "higher",
                f"modes, of {self.classes}, that at least one image was classified as",
            ),
            self.column(
                name(f"modes-{OFTEN}", reference=False),
                "higher",
                f"modes, of {self.classes}, that at least {OFTEN} images were classified as",
            ),
            self.column(
                name("mode-kl", reference=False),
                "lower",
                "KL(generated ‖ uniform) over all modes, in nats",
            ),
        ]

    def values(self, generated: Observation, reference: Statistics) -> list[float]:
        """Compute the three numbers."""
        return coverage(class_counts(generated, self.classes))

    def histogram(self, generated: Observation) -> list[int]:
        """Count generated images per mode."""
        return [int(count) for count in class_counts(generated, self.classes)]

    def calibrate(
        self,
        dataset: Dataset,
        splits: Splits,
        root: Path | None,
        look: Callable[[Values], Observation],
    ) -> dict[str, list[list[float]]]:
        """Simulate a perfect sampler; show the classifier real images, of all modes and of 100.

        Digits are not quite equally frequent, and less so in the small splits that are held out:
        what a generator can reach is the training images' divergence. The 100 modes are of images
        that the classifier was not trained on.
        """
        assert isinstance(dataset, Stacked)  # noqa: S101 - it applies to no other
        samples = self.conditions.samples
        unseen = splits.held_out if splits.reference == "train" else splits.reference
        random = np.random.RandomState(0)
        even = [1 / self.classes] * self.classes
        drawn = torch.from_numpy(random.multinomial(samples, even, size=DRAWS))
        real = {
            "real training images": dataset.load("train", root).values[:samples],
            f"real images of exactly {LIMITED} modes": dataset.limited(
                LIMITED, samples, unseen, root
            ).values,
        }
        return {PERFECT: [coverage(counts) for counts in drawn]} | {
            label: [coverage(class_counts(look(images), self.classes))]
            for label, images in real.items()
        }


def coverage(counts: Tensor) -> list[float]:
    """Reduce hits per mode ``(modes,)`` to modes hit, modes hit often, and KL from uniform."""
    return [float((counts > 0).sum()), float((counts >= OFTEN).sum()), reverse_kl(counts)]
