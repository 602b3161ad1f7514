"""Update ratio: train D and G at different paces."""

from __future__ import annotations

from pydantic import Field

from harness.parts import Context, Schedule, Trick, tricks


@tricks.register("update-ratio", source="Goodfellow et al. 2014, arXiv:1406.2661, algorithm 1 (k)")
class UpdateRatio(Trick):
    """Make d discriminator updates, then g generator updates, in every step.

    Each discriminator update sees fresh real data and fresh latents, and each generator update
    fresh latents. It replaces the variant's own schedule, boosts included: 2:1 is more of D for a
    variant that updates 1:1, and less for a critic of 5:1.
    """

    d: int = Field(default=2, ge=1, le=100, description="discriminator updates per step")
    g: int = Field(default=1, ge=1, le=100, description="generator updates per step")

    def inapplicable(self, context: Context) -> str | None:
        """Refuse to repeat the schedule that the variant has anyway."""
        if context.variant.schedule(Schedule()) == Schedule(self.d, self.g):
            return f"{context.variant.id} already updates {self.d}:{self.g}"
        return None

    def schedule(self, schedule: Schedule) -> Schedule:
        """Replace the schedule."""
        return Schedule(d=self.d, g=self.g)
