"""DCGAN whose discriminator ends in a softmax over two classes."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from harness.networks.blueprint import Blueprint
from harness.parts import variants
from harness.variants.dcgan import DCGAN


@variants.register(
    "dcgan-softmax",
    source="networks of Radford et al. 2016, arXiv:1511.06434, §3; two-class softmax of "
    "Salimans et al. 2016, arXiv:1606.03498, §5",
)
class DCGANSoftmax(DCGAN):
    """DCGAN with two logits, *real* and *generated*, and their cross-entropy.

    The cross-entropy of a softmax over two logits (a, b) is the binary cross-entropy of a − b,
    also for targets between 0 and 1. D's judgement holds that difference, so the formulas are
    those of ``dcgan``; what differs is a head of twice as many weights, each class with its own.
    """

    needs: ClassVar[str] = "several seeds: of three, one does not learn digits"

    def build(self, blueprint: Blueprint) -> Blueprint:
        """Give D one logit for each of the classes real and generated."""
        return replace(blueprint, discriminator=replace(blueprint.discriminator, classes=2))
