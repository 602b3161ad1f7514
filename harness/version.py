"""The version of ganbench and of the numbers it produces."""

VERSION = "0.1.0"

RESULTS_VERSION = 6
"""Raised by every change that alters a run's numbers; part of each run's identity."""

CHANGED = {
    5: "r1, r2, r3gan and dragan under augmentation; lecam; ada's shifts; virtual-batch-norm under "
    "other latents; loss-sum beside penalties; update-ratio on sngan; which classes conditional "
    "generators are measured with; kernel distances to fewer than 1,000 images",
    6: "the primary metric of points, which is their energy distance; runs that have never learnt, "
    "which are unlearned and no longer collapsed",
}
"""By results version, the numbers that are others than before."""


def since(version: int) -> str:
    """Say which numbers are others than in an older results version."""
    return "; ".join(words for raised, words in sorted(CHANGED.items()) if raised > version)
