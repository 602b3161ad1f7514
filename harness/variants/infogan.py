"""InfoGAN: codes that the generator must let D's trunk read from what it makes."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Annotated, Any, ClassVar

from pydantic import Field
from torch import Tensor

from harness.networks.blueprint import Blueprint
from harness.parts import Batch, Condition, Game, PerRun, Recipe, run_mean, variants
from harness.variants.gan import GAN


@variants.register("infogan", source="Chen et al. 2016, arXiv:1606.03657, eq. 4–6 and appendix C.1")
class InfoGAN(GAN):
    """The GAN objective and a bound on the information between codes and generated data.

    Both losses gain −λ·I with I = H(c) − E[−log Q(c|G(z, c))] in nats, over one categorical code
    c and continuous codes c ~ U(−1, 1). Codes are joined to z; D does not see them. Q is a
    second head on D's trunk, trained with D. It answers with the logits of the categorical code
    and with the mean of a Gaussian for each continuous one, whose variance is 1 as in the
    authors' code: so the gradient is that of half the squared error, on the scale of the GAN's.
    """

    # The authors have 62 dimensions of noise beside the codes; here ``latent`` says how many.
    recipe: ClassVar[Recipe] = Recipe(lr_g=1e-3, lr_d=2e-4)
    networks: ClassVar[dict[str, str]] = {"points": "toy2d", "images": "dcgan"}
    watched = ("info_categorical", "info_continuous")

    categories: int = Field(default=10, ge=2, le=1000, description="values of the categorical code")
    continuous: int = Field(default=2, ge=0, le=100, description="continuous codes")
    weight: Annotated[float, PerRun()] = Field(
        default=1.0, ge=0, description="λ of the categorical code"
    )
    continuous_weight: Annotated[float, PerRun()] = Field(
        default=1.0, ge=0, description="λ of the continuous codes"
    )

    def joins(self, classes: int | None) -> Condition:
        """Join the codes, whatever classes the data have."""
        return Condition(categories=(self.categories,), continuous=self.continuous)

    def build(self, blueprint: Blueprint) -> Blueprint:
        """Make room for the codes in G, and for Q on D's trunk."""
        size = self.joins(None).size
        return replace(
            blueprint,
            generator=replace(blueprint.generator, condition=size),
            discriminator=replace(blueprint.discriminator, code=size),
        )

    def discriminator_objective(self, game: Game, batch: Batch, loss: Tensor) -> Tensor:
        """Let D's trunk and Q read the codes."""
        return loss - self.information(batch)

    def generator_objective(self, game: Game, batch: Batch, loss: Tensor) -> Tensor:
        """Let G make them readable."""
        return loss - self.information(batch)

    def information(self, batch: Batch) -> Tensor:
        """Return λ·I of the batch's generated data, ``(runs,)``."""
        log_likelihood, error = self.reading(batch)
        categorical = math.log(self.categories) + run_mean(log_likelihood)
        likelihood = -0.5 * error - 0.5 * math.log(2 * math.pi)
        continuous = (math.log(2) + likelihood).mean(1).sum(1)
        return self.weight * categorical + self.continuous_weight * continuous

    def reading(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Compare Q's answers with the codes.

        Returns:
            log Q of the true category, ``(runs, batch)``, and the squared errors of the
            continuous codes, ``(runs, batch, continuous)``.
        """
        answer = batch.judged_fake.outputs["code"]
        code: Any = batch.condition
        log_q = answer[..., : self.categories].log_softmax(2)
        log_likelihood = (log_q * code[..., : self.categories]).sum(2)
        return log_likelihood, (answer - code)[..., self.categories :].square()

    def watch(self, game: Game, batch: Batch) -> tuple[Tensor, ...]:
        """Measure both bounds, in nats.

        That of the continuous codes, summed, takes for each code the variance that fits the
        batch: the tightest bound by a Gaussian of constant variance. It can lie below 0.
        """
        log_likelihood, error = self.reading(batch)
        categorical = math.log(self.categories) + run_mean(log_likelihood)
        entropy = 0.5 * (2 * math.pi * math.e * error.mean(1)).log()
        return categorical, (math.log(2) - entropy).sum(1)
