"""Spectral normalisation of D's weights."""

from __future__ import annotations

from dataclasses import replace

from harness.networks.blueprint import Blueprint
from harness.parts import Context, Trick, tricks


@tricks.register("spectral-norm", source="Miyato et al. 2018, arXiv:1802.05957, algorithm 1")
class SpectralNorm(Trick):
    """Divide every weight of D by an estimate of its largest singular value.

    One power iteration per forward pass, on vectors that each run keeps. Normalisation layers
    stay as they are; in ``sngan`` there are none.
    """

    def inapplicable(self, context: Context) -> str | None:
        """Refuse a D whose weights are normalised already."""
        if context.planned(without=self).discriminator.spectral_norm:
            return f"{context.variant.id} normalises its discriminator's weights already"
        return None

    def build(self, blueprint: Blueprint) -> Blueprint:
        """Normalise D's weights."""
        return replace(
            blueprint, discriminator=replace(blueprint.discriminator, spectral_norm=True)
        )
