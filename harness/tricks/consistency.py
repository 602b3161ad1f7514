"""Consistency regularisation: D answers alike where a change should not matter."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator
from torch import Tensor

from harness.parts import Batch, Context, Game, PerRun, Trick, column, run_mean, tricks
from harness.parts.augmentations import flipped, translated_reflecting, whole
from harness.tricks.diffaugment import augments, eighth

TERMS = {
    "cr": ("real_weight",),
    "bcr": ("real_weight", "fake_weight"),
    "zcr": ("latent_weight_d", "latent_weight_g", "sigma"),
    "icr": ("real_weight", "fake_weight", "latent_weight_d", "latent_weight_g", "sigma"),
}
"""Options that each mode uses."""


@tricks.register(
    "consistency",
    source="cr: Zhang et al. 2020, arXiv:1910.12027, eq. 2 and algorithm 1; bcr, zcr, icr: Zhao et "
    "al. 2021, arXiv:2002.04724, algorithms 1 and 2",
)
class Consistency(Trick):
    """Penalise D for answering differently to an augmented image or to a neighbouring latent.

    ``cr`` adds λ E(D(x) − D(T(x)))² to D's loss, ``bcr`` the same for generated images too, with T
    a random mirroring and a shift by up to an eighth of each side. ``zcr`` adds
    λ_D E(D(G(z)) − D(G(z + δ)))² to D's loss and −λ_G E‖G(z) − G(z + δ)‖² to G's, δ ~ N(0, σ²).
    ``icr`` is bcr and zcr. A map of logits differs by the mean over the map. What other tricks do
    to the images that D sees, they do to both sides by the same draws. ‖·‖² sums over pixels and
    channels, as the paper writes it; code that averages over them needs as many times the λ_G.
    """

    judges_more = True

    mode: Literal["cr", "bcr", "zcr", "icr"] = Field(
        default="cr", description="real images; generated ones too; latents; all of them"
    )
    real_weight: Annotated[float, PerRun()] = Field(
        default=10.0, ge=0, description="λ of real images, in cr, bcr and icr"
    )
    fake_weight: Annotated[float, PerRun()] = Field(
        default=10.0, ge=0, description="λ of generated images, in bcr and icr"
    )
    latent_weight_d: Annotated[float, PerRun()] = Field(
        default=5.0, ge=0, description="λ_D of latents, in zcr and icr"
    )
    latent_weight_g: Annotated[float, PerRun()] = Field(
        default=0.5, ge=0, description="λ_G of latents, in zcr and icr"
    )
    sigma: Annotated[float, PerRun()] = Field(
        default=0.03, gt=0, description="σ of the latents' change, in zcr and icr"
    )

    @model_validator(mode="after")
    def check_mode(self) -> Self:
        """Refuse options that the mode does not use."""
        for terms in TERMS.values():
            for name in terms:
                default = type(self).model_fields[name].default
                if name not in TERMS[self.mode] and getattr(self, name) != default:
                    raise ValueError(f"mode {self.mode} does not use {name}")
        return self

    def inapplicable(self, context: Context) -> str | None:
        """Refuse points where images are augmented."""
        return None if self.mode == "zcr" else augments(self, context)

    def discriminator_objective(self, game: Game, batch: Batch, loss: Tensor) -> Tensor:
        """Add the squared differences of D's answers."""
        terms = TERMS[self.mode]
        if "real_weight" in terms:
            real = augmented(batch.real, batch, "real")
            answer = self.answer(real, batch, "real")
            loss = loss + self.real_weight * gap(batch.judged_real.logits, answer)
        fake = batch.judged_fake.logits
        if "fake_weight" in terms:
            answer = self.answer(augmented(batch.fake, batch, "fake"), batch, "fake")
            loss = loss + self.fake_weight * gap(fake, answer)
        if "latent_weight_d" in terms:
            answer = self.answer(self.neighbour(batch), batch, "fake")
            loss = loss + self.latent_weight_d * gap(fake, answer)
        return loss

    def generator_objective(self, game: Game, batch: Batch, loss: Tensor) -> Tensor:
        """Reward G for generating something else from a neighbouring latent."""
        if "latent_weight_g" not in TERMS[self.mode]:
            return loss
        change = (batch.fake - self.neighbour(batch)).flatten(2).square().sum(2)
        return loss - self.latent_weight_g * run_mean(change)

    def answer(self, x: Tensor, batch: Batch, label: str) -> Tensor:
        """Ask D about changed examples, shown by the same draws as the unchanged ones."""
        return batch.judge(batch.show(x, label), label).logits

    def neighbour(self, batch: Batch) -> Tensor:
        """Generate from latents a little away from the batch's."""
        z = batch.latents
        step = batch.normal("consistency/latent", *z.shape[1:])
        sigma = column(self.sigma)
        sigma = sigma[:, :, None] if isinstance(sigma, Tensor) else sigma
        return batch.generate(z + sigma * step, "consistency")


def augmented(x: Tensor, batch: Batch, label: str) -> Tensor:
    """Mirror half of the images, and shift all by up to an eighth of each side."""

    def draw(name: str) -> Tensor:
        return batch.uniform(f"consistency/{label}/{name}", x.shape[1])

    x = flipped(x, draw("mirror") < 0.5)
    down, right = (
        whole(draw(name), 2 * reach + 1) - reach
        for name, reach in (("down", eighth(x.shape[3])), ("right", eighth(x.shape[4])))
    )
    return translated_reflecting(x, down, right)


def gap(first: Tensor, second: Tensor) -> Tensor:
    """Return the mean squared difference of logits: ``(runs,)``."""
    return run_mean((first - second).square())
