"""Variational auto-encoder: the baseline without an adversary."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import ClassVar

from pydantic import Field
from torch import Tensor

from harness.networks.blueprint import Blueprint
from harness.parts import Batch, Game, Recipe, Schedule, Variant, run_mean, variants

DEVIATIONS = {"points": 0.1, "images": 0.3}
"""The decoder's standard deviation by kind of data, where none is given."""


@variants.register("vae", source="Kingma and Welling 2014, arXiv:1312.6114, eq. 10, app. B and C.2")
class VAE(Variant):
    """Reconstruction and KL divergence; D's network is the encoder, G the decoder.

    The loss is the negative evidence bound in nats per example, −log p(x|z) + KL(q(z|x) ‖ N(0, 1)),
    with one z = μ(x) + σ(x)ε for each example. μ and log σ² come from a head on D's trunk; D's
    logit is not used. Both networks learn from it in the same update, with ``lr_g`` and
    ``lr_d``. Samples are the decoder's means, without its noise.

    The decoder is a Gaussian with one standard deviation for all of an example's numbers. That
    sets reconstruction against KL: too large, and z says nothing of x; too small, and z does not
    follow its prior. So the default follows the kind of data. 0.1 on points is an eighth of the
    distance between neighbours among eight on the unit circle; 0.3 on images is 38 grey levels.
    The likeliest one of each batch (arXiv:2006.13202) is not offered: on mixtures it starts as
    wide as the mixture, and z then never comes to say where a point is.
    """

    joint = True
    adversarial = False
    boundary = None
    networks: ClassVar[dict[str, str]] = {"points": "toy2d", "images": "mlp-small"}
    # The paper's Adagrad, with rates chosen by trial, gave way to Adam at its defaults.
    recipe: ClassVar[Recipe] = Recipe(lr_g=1e-3, lr_d=1e-3, beta1=0.9, beta2=0.999)
    watched = ("kl",)

    sigma: float | None = Field(
        default=None,
        gt=0,
        description="standard deviation of the decoder, in the data's units; 0.1 on points and "
        "0.3 on images if absent",
    )

    def schedule(self, schedule: Schedule) -> Schedule:
        """Make one update of both networks per step, and none of D alone."""
        return replace(schedule, d=0)

    def build(self, blueprint: Blueprint) -> Blueprint:
        """Let D answer with a mean and a log variance for each dimension of z."""
        encoder = replace(blueprint.discriminator, code=2 * blueprint.latent)
        return replace(blueprint, discriminator=encoder)

    def generator_loss(self, game: Game, batch: Batch) -> Tensor:
        """Return the negative evidence bound ``(runs,)``, in nats per example."""
        mean, log_variance = posterior(batch)
        noise = batch.normal("posterior", *mean.shape[1:])
        z = mean + (log_variance / 2).exp() * noise
        error = (batch.generate(z, "reconstruction") - batch.real).flatten(2).square()
        sigma = self.sigma or DEVIATIONS["points" if batch.real.ndim == 3 else "images"]
        return reconstruction(error, sigma) + divergence(mean, log_variance)

    def watch(self, game: Game, batch: Batch) -> tuple[Tensor, ...]:
        """Measure the KL divergence in nats; the rest of the loss is reconstruction."""
        return (divergence(*posterior(batch)),)


def posterior(batch: Batch) -> tuple[Tensor, Tensor]:
    """Return mean and log variance of q(z|x), ``(runs, batch, latent)`` each."""
    mean, log_variance = batch.judged_real.outputs["code"].chunk(2, dim=2)
    return mean, log_variance


def divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """Return KL(N(μ, σ²) ‖ N(0, 1)) per example, averaged over the batch: ``(runs,)``."""
    return (mean.square() + log_variance.exp() - 1 - log_variance).sum(2).mean(1) / 2


def reconstruction(error: Tensor, sigma: float) -> Tensor:
    """Return −log N(x; x̂, σ²) per example, averaged over the batch: ``(runs,)``.

    Args:
        error: Squared errors, ``(runs, batch, numbers)``.
        sigma: Standard deviation of each number.
    """
    variance = sigma**2
    scale = math.log(2 * math.pi * variance)
    return error.shape[2] / 2 * (run_mean(error) / variance + scale)
