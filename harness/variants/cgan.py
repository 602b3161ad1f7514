"""Conditional GAN."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from pydantic import Field

from harness.networks.blueprint import Blueprint
from harness.parts import Condition, Context, variants
from harness.variants.gan import GAN


@variants.register("cgan", source="Mirza and Osindero 2014, arXiv:1411.1784, eq. 2 and §3.2")
class CGAN(GAN):
    """The GAN objective, the class as one-hot joined to z and to what D judges.

    D minimises E sp(−D(x|y)) + E sp(D(G(z|y)|y)), G minimises E sp(−D(G(z|y)|y)). In training,
    generated data have the classes of the real data in the batch; samples have each class as often
    as the data that they are compared with. On images, D sees a class as constant maps beside the
    channels, or beside the pixels where its network is fully connected.

    The defaults are those of gan, not the paper's SGD and maxout networks with dropout.
    """

    join: Literal["input", "every-layer"] = Field(
        default="input", description="joined to the input of both networks, or of every layer"
    )

    def inapplicable(self, context: Context) -> str | None:
        """Refuse data without labels."""
        if context.dataset.classes is not None:
            return None
        return f"cgan joins the class to z and to x; {context.dataset.id} has no labels"

    def joins(self, classes: int | None) -> Condition:
        """Join the class."""
        return Condition(classes=classes or 0)

    def build(self, blueprint: Blueprint) -> Blueprint:
        """Make room for the class in both networks."""
        size, every_layer = self.joins(blueprint.classes).size, self.join == "every-layer"
        G, D = blueprint.generator, blueprint.discriminator
        return replace(
            blueprint,
            generator=replace(G, condition=size, condition_layers=every_layer),
            discriminator=replace(D, condition=size, condition_layers=every_layer),
        )
