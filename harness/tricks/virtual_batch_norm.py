"""Virtual batch normalisation of G."""

from __future__ import annotations

from dataclasses import replace

from pydantic import Field

from harness.networks.blueprint import Blueprint
from harness.parts import Context, Trick, tricks


@tricks.register("virtual-batch-norm", source="Salimans et al. 2016, arXiv:1606.03498, §3.5")
class VirtualBatchNorm(Trick):
    """Normalise G by a reference batch that is drawn once, and the example itself.

    In place of G's own normalisation, of which networks without any get some. An example no
    longer depends on the others of its batch; each pass runs the reference batch along.
    """

    needs_adversary = False

    reference: int = Field(default=64, ge=2, le=4096, description="latents of the reference batch")

    def inapplicable(self, context: Context) -> str | None:
        """Refuse a G that is normalised so already."""
        if context.planned(without=self).generator.normalization == "virtual":
            return f"{context.variant.id} normalises its generator so already"
        return None

    def build(self, blueprint: Blueprint) -> Blueprint:
        """Replace G's normalisation."""
        plan = replace(blueprint.generator, normalization="virtual", reference=self.reference)
        return replace(blueprint, generator=plan)
