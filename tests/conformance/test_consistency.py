"""Proves consistency regularisation: its terms, its changes, and which player pays for which."""

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


def changed(x: Tensor, batch: Batch, label: str) -> Tensor:
    """Mirror and shift the first run's images one by one."""
    mirror, down, right = (
        batch.uniform(f"consistency/{label}/{name}", 8)[0].tolist()
        for name in ("mirror", "down", "right")
    )
    made = []
    for n, image in enumerate(x):
        one = image.flip(2) if mirror[n] < 0.5 else image
        padded = torch.nn.functional.pad(one, (2, 2, 2, 2), mode="reflect")
        i, j = 4 - math.floor(5 * down[n]), 4 - math.floor(5 * right[n])
        made.append(padded[:, i : i + 16, j : j + 16])
    return torch.stack(made)


def squared_gap(first: Tensor, second: Tensor) -> float:
    pairs = zip(first.flatten().tolist(), second.flatten().tolist(), strict=True)
    return sum((a - b) ** 2 for a, b in pairs) / first.numel()


def neighbours(game: Any, batch: Batch, sigma: float) -> Tensor:
    """Generate from latents a step away, layer norms left as they are."""
    step = batch.normal("consistency/latent", 8, 4)
    return game.G(batch.latents + sigma * step)


class TestConsistency:
    """D answers alike where a change should not matter."""

    @pytest.mark.parametrize("mode", ["cr", "bcr", "zcr", "icr"])
    def test_formula_for_the_discriminator(self, mode: str) -> None:
        options: dict[str, Any] = {"mode": mode}
        if mode != "zcr":
            options["real_weight"] = 3.0
        if mode in ("bcr", "icr"):
            options["fake_weight"] = 7.0
        if mode in ("zcr", "icr"):
            options |= {"latent_weight_d": 11.0, "sigma": 0.25}
        game = game_of("digits", "wgan-gp", ("consistency", options))
        with torch.no_grad():  # so that logits, and what they differ by, are of some size
            game.G.theta.mul_(10)
            game.D.theta.mul_(10)
        batch = Batch(game, "discriminator", 2)
        own = game.parts[0].discriminator_objective(
            game, batch, game.variant.discriminator_loss(game, batch)
        )
        expected = own.item()
        if mode != "zcr":
            answer = game.D(changed(batch.real[0], batch, "real")[None]).logits
            expected += 3 * squared_gap(batch.judged_real.logits, answer)
        if mode in ("bcr", "icr"):
            answer = game.D(changed(batch.fake[0], batch, "fake")[None]).logits
            expected += 7 * squared_gap(batch.judged_fake.logits, answer)
        if mode in ("zcr", "icr"):
            answer = game.D(neighbours(game, batch, 0.25)).logits
            expected += 11 * squared_gap(batch.judged_fake.logits, answer)
        found = game.discriminator_loss(batch).item()
        assert found == pytest.approx(expected, rel=1e-9)
        assert found != pytest.approx(own.item(), rel=1e-6)

    @pytest.mark.parametrize("mode", ["cr", "bcr", "zcr", "icr"])
    def test_formula_for_the_generator(self, mode: str) -> None:
        latent = mode in ("zcr", "icr")
        options = {"mode": mode, **({"latent_weight_g": 0.125, "sigma": 0.5} if latent else {})}
        game = game_of("digits", "gan", ("consistency", options))
        batch = Batch(game, "generator", 2)
        own = game.variant.generator_loss(game, batch)
        found = game.generator_loss(batch)
        if not latent:
            assert torch.equal(found, own)
            return
        other = neighbours(game, batch, 0.5)
        change = sum(
            ((a - b) ** 2).sum().item() for a, b in zip(batch.fake[0], other[0], strict=True)
        )
        assert found.item() == pytest.approx(own.item() - 0.125 * change / 8, rel=1e-9)
        (gradient,) = torch.autograd.grad(found.sum() - own.sum(), game.G.theta)
        assert gradient.any()

    def test_a_map_of_logits_differs_by_its_mean(self) -> None:
        game = game_of("digits", "lsgan", "patchgan", "consistency")
        plain = game_of("digits", "lsgan", "patchgan")
        batch = Batch(game, "discriminator", 0)
        own = plain.discriminator_loss(Batch(plain, "discriminator", 0)).item()
        found = game.discriminator_loss(batch).item()
        other = game_of("digits", "lsgan", "patchgan")
        answer = other.D(changed(batch.real[0], batch, "real")[None]).logits
        assert answer.shape == (1, 8, 7, 7)
        expected = own + 10 * squared_gap(batch.judged_real.logits, answer)
        assert found == pytest.approx(expected, rel=1e-9)

    def test_the_generator_pays_nothing_for_the_discriminators_terms(self) -> None:
        game = game_of("digits", "gan", ("consistency", {"mode": "icr"}))
        batch = Batch(game, "discriminator", 0)
        loss = game.discriminator_loss(batch).sum()
        assert torch.autograd.grad(loss, game.G.theta, allow_unused=True) == (None,)

    def test_other_tricks_act_on_both_sides_by_the_same_draws(self) -> None:
        game = game_of("digits", "gan", "diffaugment", "consistency")
        trick = game.parts[2]
        batch = Batch(game, "discriminator", 0)
        answer = trick.answer(batch.real, batch, "real")
        assert torch.equal(answer, batch.judged_real.logits)

    def test_a_step_in_training_changes(self) -> None:
        for mode in ("cr", "bcr", "zcr"):
            plain = game_of("digits", "gan")
            tricked = game_of("digits", "gan", ("consistency", {"mode": mode}))
            gradients = [
                torch.autograd.grad(
                    game.discriminator_loss(Batch(game, "discriminator", 0)).sum(), game.D.theta
                )[0]
                for game in (plain, tricked)
            ]
            assert not torch.allclose(*gradients)

    @pytest.mark.parametrize(
        "options",
        [
            {"fake_weight": 1.0},
            {"mode": "bcr", "sigma": 0.1},
            {"mode": "zcr", "real_weight": 1.0},
            {"mode": "cr", "latent_weight_g": 1.0},
        ],
    )
    def test_options_that_a_mode_does_not_use_are_refused(self, options: dict[str, Any]) -> None:
        with pytest.raises(ValidationError, match="does not use"):
            tricks.get("consistency")(**options)

    def test_points_have_latents_only(self) -> None:
        for mode in ("cr", "bcr", "icr"):
            reason = refusal(make_spec("ring8", "gan", [("consistency", {"mode": mode})]))
            assert reason == "consistency augments images, the data set holds points"
        assert refusal(make_spec("ring8", "gan", [("consistency", {"mode": "zcr"})])) is None
