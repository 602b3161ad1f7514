"""Proves DiffAugment: the policy, its draws, and that both players see all data under it."""

import math
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from harness.parts import tricks
from harness.testing.cells import game_of, refusal
from harness.testing.specs import make_spec
from harness.training.batch import Batch

ALL = ("color", "translation", "cutout")


def drawn(batch: Batch, label: str, name: str) -> list[float]:
    return batch.uniform(f"diffaugment/{label}/{name}", 8)[0].tolist()


def augmented(x: Tensor, policy: tuple[str, ...], batch: Batch, label: str) -> Tensor:
    """Augment the first run's images ``(8, channels, 16, 16)`` one by one, by loops."""
    draws = {
        name: drawn(batch, label, name)
        for name in ("brightness", "saturation", "contrast", "down", "right", "row", "column")
    }
    made = []
    for n, one in enumerate(x):
        image, u = one.clone(), {name: values[n] for name, values in draws.items()}
        for name in policy:
            if name == "color":
                image = image + u["brightness"] - 0.5
                grey = image.mean(0)
                image = torch.stack([grey + 2 * u["saturation"] * (c - grey) for c in image])
                image = image.mean() + (u["contrast"] + 0.5) * (image - image.mean())
            elif name == "translation":
                down, right = (math.floor(5 * u[way]) - 2 for way in ("down", "right"))
                before, image = image, torch.zeros_like(image)
                for i in range(16):
                    for j in range(16):
                        if 0 <= i - down < 16 and 0 <= j - right < 16:
                            image[:, i, j] = before[:, i - down, j - right]
            else:
                top, left = (math.floor(17 * u[way]) - 4 for way in ("row", "column"))
                image[:, max(0, top) : top + 8, max(0, left) : left + 8] = 0
        made.append(image)
    return torch.stack(made)


class TestDiffAugment:
    """The same augmentation wherever D looks."""

    @pytest.mark.parametrize("policy", [("color",), ("translation",), ("cutout",), ALL, ALL[::-1]])
    @pytest.mark.parametrize("phase", ["discriminator", "generator"])
    def test_formula(self, policy: tuple[str, ...], phase: Any) -> None:
        game = game_of("digits", "dcgan", ("diffaugment", {"policy": policy}), runs=2)
        batch = Batch(game, phase, 3)
        for shown, plain, label in (
            (batch.shown_real, batch.real, "real"),
            (batch.shown_fake, batch.fake, "fake"),
        ):
            expected = augmented(plain[0], policy, batch, label)
            torch.testing.assert_close(shown[0], expected)
            assert not torch.equal(shown[1], plain[1])

    def test_the_discriminator_judges_augmented_images_only(self) -> None:
        game = game_of("digits", "dcgan", "diffaugment")
        batch = Batch(game, "discriminator", 0)
        found = batch.judged_real.logits
        assert torch.equal(found, game.D(batch.shown_real).logits)
        assert not torch.equal(found, game.D(batch.real).logits)

    def test_the_generators_gradient_goes_through_the_augmentation(self) -> None:
        game = game_of("digits", "dcgan", ("diffaugment", {"policy": ALL}))
        batch = Batch(game, "generator", 0)
        loss = game.generator_loss(batch).sum()
        (found,) = torch.autograd.grad(loss, batch.fake, retain_graph=True)
        leaf = batch.fake[0].detach().requires_grad_()
        logits = game.D(augmented(leaf, ALL, batch, "fake")[None]).logits
        expected = torch.nn.functional.softplus(-logits).mean()
        torch.testing.assert_close(loss, expected)
        torch.testing.assert_close(found[0], torch.autograd.grad(expected, leaf)[0])

    def test_draws_are_fresh_for_update_player_run_image_and_kind(self) -> None:
        game = game_of("digits", "dcgan", ("diffaugment", {"policy": ["translation"]}), runs=2)
        numbers = [
            value
            for phase in ("discriminator", "generator")
            for counter in (0, 1)
            for label in ("real", "fake")
            for name in ("down", "right")
            for value in Batch(game, phase, counter)  # type: ignore[arg-type]
            .uniform(f"diffaugment/{label}/{name}", 8)
            .flatten()
            .tolist()
        ]
        assert len(numbers) == len(set(numbers)) == 2**5 * 8

    def test_a_penalty_is_taken_at_what_is_shown(self) -> None:
        # Its second derivative goes through the judgement, the augmentation lies before it.
        game = game_of("digits", "wgan-gp", ("diffaugment", {"policy": ALL}))
        loss = game.discriminator_loss(Batch(game, "discriminator", 0))
        (gradient,) = torch.autograd.grad(loss.sum(), game.D.theta)
        assert gradient.isfinite().all()
        assert gradient.any()

    @pytest.mark.parametrize("policy", [[], ["color", "color"], ["flip"]])
    def test_bad_policies_are_refused(self, policy: list[str]) -> None:
        with pytest.raises(ValidationError):
            tricks.get("diffaugment")(policy=policy)

    def test_points_are_refused(self) -> None:
        reason = refusal(make_spec("ring8", "gan", ["diffaugment"]))
        assert reason == "diffaugment augments images, the data set holds points"
        for variant in ("gan", "lsgan", "wgan-gp", "sngan"):
            assert refusal(make_spec("digits", variant, ["diffaugment"])) is None

    @pytest.mark.parametrize("name", ["diffaugment", "ada", "consistency"])
    def test_images_are_augmented_before_they_are_packed(self, name: str) -> None:
        # Consistency changes images before any trick shows them, so there the order is free.
        reason = refusal(make_spec("digits", "dcgan", ["packing", name]))
        assert (reason is None) == (name == "consistency")
        assert refusal(make_spec("digits", "dcgan", [name, "packing"])) is None
