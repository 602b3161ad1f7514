"""Spectrally normalised GAN with the hinge loss."""

from __future__ import annotations

from dataclasses import replace

from pydantic import Field
from torch import Tensor
from torch.nn.functional import relu

from harness.networks.blueprint import Blueprint
from harness.parts import Schedule, Variant, variants


@variants.register("sngan", source="Miyato et al. 2018, arXiv:1802.05957, eq. 16–17, table 1 row C")
class SNGAN(Variant):
    """Hinge loss, every weight of D divided by its largest singular value.

    D minimises E max(0, 1 − D(x)) + E max(0, 1 + D(G(z))), G minimises −E D(G(z)).
    The defaults are the paper's setting C: Adam 2e-4 (0.5, 0.999), one D-step. Its ResNets
    (``network: resnet32``) train with beta1 0, beta2 0.9, ``d_steps: 5``, ``g_batch: 2`` and a
    learning rate that falls linearly to 0, which is a trick of its own.
    """

    d_steps: int = Field(default=1, ge=1, description="discriminator updates per generator update")

    g_batch: int = Field(
        default=1,
        ge=1,
        description="a generator update's batch, as a multiple of the batch; 2 with the ResNet",
    )

    def build(self, blueprint: Blueprint) -> Blueprint:
        """Normalise D's weights spectrally instead of its activations."""
        plan = replace(blueprint.discriminator, normalization="none", spectral_norm=True)
        return replace(blueprint, discriminator=plan)

    def schedule(self, schedule: Schedule) -> Schedule:
        """Train D ``d_steps`` times per generator update, G on ``g_batch`` batches at once."""
        return replace(schedule, d=self.d_steps, g_batch=self.g_batch)

    def real_loss(self, logits: Tensor, target: Tensor) -> Tensor:
        """Ask for a margin of 1 above zero; the hinge has no target."""
        return relu(1 - logits)

    def fake_loss(self, logits: Tensor, target: Tensor) -> Tensor:
        """Ask for a margin of 1 below zero; the hinge has no target."""
        return relu(1 + logits)

    def fooling_loss(self, logits: Tensor) -> Tensor:
        """Raise D's value of generated data."""
        return -logits
