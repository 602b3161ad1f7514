"""Update ratio: train D and G at different paces."""

from __future__ import annotations

from dataclasses import replace

from pydantic import Field

from harness.parts import Context, Schedule, Trick, tricks


@tricks.register("update-ratio", source="Goodfellow et al. 2014, arXiv:1406.2661, algorithm 1 (k)")
class UpdateRatio(Trick):
    """Make d discriminator updates, then g generator updates, in every step.

    Each discriminator update sees fresh real data and fresh latents, and each generator update
    fresh latents. It replaces the variant's own ratio, boosts included: 2:1 is more of D for a
    variant that updates 1:1, and less for a critic of 5:1. The rest of its schedule, such as a
    larger batch of G, stays.
    """

    d: int = Field(default=2, ge=1, le=100, description="discriminator updates per step")
    g: int = Field(default=1, ge=1, le=100, description="generator updates per step")

    def inapplicable(self, context: Context) -> str | None:
        """Refuse to repeat the schedule that the variant has anyway."""
        own = context.variant.schedule(Schedule())
        if self.schedule(own) == own:
            return f"{context.variant.id} already updates {self.d}:{self.g}"
        return None

    def schedule(self, schedule: Schedule) -> Schedule:
        """Replace the ratio."""
        return replace(schedule, d=self.d, g=self.g, boost=0, boost_first=0, boost_every=0)
