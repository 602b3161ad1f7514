"""Minibatch discrimination: let D see how alike the examples of a batch are."""

from __future__ import annotations

from dataclasses import replace

from pydantic import Field

from harness.networks.blueprint import Blueprint
from harness.parts import Trick, tricks


@tricks.register("minibatch-discrimination", source="Salimans et al. 2016, arXiv:1606.03498, §3.2")
class MinibatchDiscrimination(Trick):
    """Join to D's last features how close each example is to the others of its batch.

    With projections ``M_i`` of the features, ``o(x_i)_b = Σ_{j≠i} exp(−‖M_ib − M_jb‖₁)`` for each
    kernel b. Real and generated batches are judged apart. The defaults are the paper's; memory
    grows with the square of the batch, times kernels and dimensions. The authors' code normalises
    the projections' weights and adds a bias to each closeness; the paper and this do neither.
    """

    kernels: int = Field(default=100, ge=1, le=1000, description="closenesses that D is told")
    dimensions: int = Field(default=5, ge=1, le=100, description="dimensions of each projection")

    def build(self, blueprint: Blueprint) -> Blueprint:
        """Add the layer before D's output."""
        plan = replace(blueprint.discriminator, minibatch=(self.kernels, self.dimensions))
        return replace(blueprint, discriminator=plan)
