"""Dropout in the generator."""

from __future__ import annotations

from dataclasses import replace

from pydantic import Field

from harness.networks.base import networks
from harness.networks.blueprint import Blueprint
from harness.parts import Context, Trick, tricks


@tricks.register("dropout-g", source="Isola et al. 2017, arXiv:1611.07004, §3.1 and §3.3")
class DropoutG(Trick):
    """Zero half of G's hidden activations at random, as noise beside z.

    It acts while training; with ``at_test`` also when samples are drawn for measurement, as
    pix2pix does.
    """

    needs_adversary = False

    p: float = Field(default=0.5, gt=0, lt=1, description="probability of zeroing an activation")
    layers: tuple[str, ...] | None = Field(
        default=None,
        description="hidden layers of G that get dropout, from hidden1 on; all of them if absent",
    )
    at_test: bool = Field(default=False, description="whether dropout stays on for measurement")

    def inapplicable(self, context: Context) -> str | None:
        """Refuse layers that the generator does not have."""
        shape = context.dataset.shape
        network = context.network
        known = networks.get(network)().hidden_layers(shape)
        missing = [layer for layer in self.layers or () if layer not in known]
        if not missing:
            return None
        return f"{network} has the layers {', '.join(known)}, not {', '.join(missing)}"

    def build(self, blueprint: Blueprint) -> Blueprint:
        """Put dropout after the activations of G's hidden layers."""
        plan = replace(
            blueprint.generator,
            dropout=self.p,
            dropout_layers=self.layers,
            dropout_at_test=self.at_test,
        )
        return replace(blueprint, generator=plan)
