"""MAD-GAN: several generators, and a discriminator that tells which one made an example."""

from __future__ import annotations

from dataclasses import replace

import torch
from pydantic import Field
from torch import Tensor

from harness.networks.blueprint import Blueprint
from harness.parts import Batch, Game, Variant, run_mean, variants


@variants.register("mad-gan", source="Ghosh et al. 2018, arXiv:1704.02906, §3.1 and proposition 1")
class MADGAN(Variant):
    """Generators that share their first layer and z, driven apart by an (n + 1)-way softmax.

    Class 0 stands for real data and class i for generator i. D minimises −E log p₀(x) −
    Σᵢ E log pᵢ(Gᵢ(z)), each expectation with weight 1, so that its best answer is
    p₀ = p_data / (p_data + Σᵢ p_Gᵢ). Each generator minimises −E log p₀(Gᵢ(z)), the form that
    does not saturate; G's loss is the mean of theirs. D's logit is log p₀/(1 − p₀).

    The generators take turns in a batch, the first example coming from the first. Samples are
    those of all generators in equal parts, each from a z of its own.
    """

    logistic = True

    generators: int = Field(default=4, ge=2, le=100, description="n, generators of one run")

    def build(self, blueprint: Blueprint) -> Blueprint:
        """Copy G, and let D answer with a class for each copy and one for real data."""
        return replace(
            blueprint,
            generator=replace(blueprint.generator, copies=self.generators),
            discriminator=replace(blueprint.discriminator, classes=self.generators + 1),
        )

    def discriminator_loss(self, game: Game, batch: Batch) -> Tensor:
        """Return the cross-entropies of real data and of each generator, summed: ``(runs,)``."""
        real = run_mean(log_probability(batch.judged_real.outputs["classes"], 0))
        fake = batch.judged_fake.outputs["classes"]
        own = [
            run_mean(log_probability(fake[:, i :: self.generators], i + 1))
            for i in range(self.generators)
        ]
        return -real - torch.stack(own).sum(0)

    def generator_loss(self, game: Game, batch: Batch) -> Tensor:
        """Return the generators' mean cross-entropy with the class of real data, ``(runs,)``."""
        return -run_mean(log_probability(batch.judged_fake.outputs["classes"], 0))


def log_probability(classes: Tensor, label: int) -> Tensor:
    """Return log p of one class, ``(runs, batch, …)`` for ``(runs, batch, …, classes)``."""
    return classes.log_softmax(-1)[..., label]
