"""Packing: let D judge several examples at once."""

from __future__ import annotations

from dataclasses import replace

from pydantic import Field
from torch import Tensor

from harness.networks.blueprint import Blueprint
from harness.parts import Batch, Context, Game, Trick, tricks


@tricks.register("packing", source="Lin et al. 2018, arXiv:1712.04086, §2 and appendix B")
class Packing(Trick):
    """Show D m examples of one kind, joined on their channels, with one answer for all of them.

    D can then see that generated examples resemble each other. Only its first layer grows. The
    batch stays as it is, so that D has a batch of packs that is m times smaller.
    """

    m: int = Field(default=2, ge=2, le=16, description="examples in a pack")

    def inapplicable(self, context: Context) -> str | None:
        """Refuse tricks after it that need to see single examples."""
        after = context.tricks[context.tricks.index(self) + 1 :]
        late = [trick.id for trick in after if type(trick).show is not Trick.show]
        if late:
            return f"{late[0]} changes single examples; write packing after it"
        return None

    def build(self, blueprint: Blueprint) -> Blueprint:
        """Widen D's input, and what is joined to it."""
        plan = blueprint.discriminator
        plan = replace(plan, pack=self.m, condition=plan.condition * self.m)
        return replace(blueprint, discriminator=plan)

    def show(self, game: Game, x: Tensor, batch: Batch, label: str) -> Tensor:
        """Join neighbours: ``(runs, batch, C, …)`` becomes ``(runs, batch/m, m·C, …)``."""
        return x.reshape(len(x), -1, self.m * x.shape[2], *x.shape[3:])
