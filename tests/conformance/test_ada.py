"""Proves ADA: what is done to images with which probability, and how the probability is steered."""

import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from harness.parts import tricks
from harness.testing.cells import game_of, refusal, trainer_of
from harness.testing.specs import make_spec
from harness.testing.stubs import FixedBatch, FixedGame
from harness.training.batch import Batch


def augmented(x: Tensor, p: float, batch: Batch, label: str, run: int) -> Tensor:
    """Augment one run's images ``(8, channels, 16, 16)`` one by one."""

    def uniform(name: str, n: int) -> float:
        return batch.uniform(f"ada/{label}/{name}", 8)[run, n].item()

    def normal(name: str, n: int) -> float:
        return batch.normal(f"ada/{label}/{name}", 8)[run, n].item()

    made = []
    for n, one in enumerate(x):
        image = one

        def chosen(name: str, n: int = n) -> bool:
            return uniform(f"{name}?", n) < p

        if chosen("mirror") and uniform("mirror", n) < 0.5:
            image = image.flip(2)
        if chosen("turn"):
            image = torch.rot90(image, math.floor(4 * uniform("turn", n)), (1, 2))
        if chosen("shift"):
            padded = torch.nn.functional.pad(image, (2, 2, 2, 2), mode="reflect")
            i, j = (2 - round((2 * uniform(way, n) - 1) * 0.125 * 16) for way in ("down", "right"))
            image = padded[:, i : i + 16, j : j + 16]
        if chosen("brightness"):
            image = image + 0.2 * normal("brightness", n)
        if chosen("contrast"):
            image = image * 2 ** (0.5 * normal("contrast", n))
        if chosen("saturation"):
            grey = image.mean(0)
            image = torch.stack([grey + 2 ** normal("saturation", n) * (c - grey) for c in image])
        made.append(image)
    return torch.stack(made)


class TestADA:
    """As much augmentation as D's overfitting calls for."""

    @pytest.mark.parametrize("phase", ["discriminator", "generator"])
    def test_formula(self, phase: Any) -> None:
        game = game_of("digits", "dcgan", "ada", runs=3)
        chances = [0.0, 0.6, 1.0]
        game.memory["ada"]["p"].copy_(torch.tensor(chances))
        batch = Batch(game, phase, 5)
        for run, p in enumerate(chances):
            for shown, plain, label in (
                (batch.shown_real, batch.real, "real"),
                (batch.shown_fake, batch.fake, "fake"),
            ):
                expected = augmented(plain[run], p, batch, label, run)
                torch.testing.assert_close(shown[run], expected)
                assert torch.equal(shown[run], plain[run]) == (p == 0)

    def test_the_longest_shifts_are_half_as_likely(self) -> None:
        """Of 16 pixels round(U(−1, 1)·2) is −2 to 2: an eighth, a quarter each, an eighth."""
        trick, count = tricks.get("ada")(), 40_000
        game = FixedGame(1, memory={"ada": {"p": torch.ones(1, dtype=torch.float64)}})
        never, middle = torch.ones(1, count).double(), torch.full((1, count), 0.5).double()
        names = ("mirror", "turn", "shift", "brightness", "contrast", "saturation")
        noise = {f"ada/x/{name}": middle for name in (*names, "down")}
        noise |= {f"ada/x/{name}?": never for name in names}
        noise["ada/x/shift?"] = torch.zeros_like(never)
        noise["ada/x/right"] = (torch.arange(count).double()[None] + 0.5) / count
        # A grey ramp, whose value at its middle tells how far it was shifted.
        x = torch.arange(16).double().expand(1, count, 1, 16, 16)
        found = 8 - trick.show(game, x, FixedBatch(noise=noise), "x")[0, :, 0, 8, 8]
        shares = [(found == shift).double().mean().item() for shift in (-2, -1, 0, 1, 2)]
        assert shares == pytest.approx([0.125, 0.25, 0.25, 0.25, 0.125], abs=1e-4)
        assert found.abs().mean().item() == pytest.approx(1.0, abs=1e-4)

    def test_colour_images_lose_or_gain_saturation(self) -> None:
        trick = tricks.get("ada")()
        game = FixedGame(1, memory={"ada": {"p": torch.ones(1, dtype=torch.float64)}})
        names = ("mirror", "turn", "down", "right", "shift", "brightness", "contrast", "saturation")
        none = torch.full((1, 2), 0.5, dtype=torch.float64)
        noise = {f"ada/x/{name}": none for name in names}
        noise |= {f"ada/x/{name}?": torch.ones_like(none) for name in names}
        noise["ada/x/saturation?"] = torch.zeros_like(none)
        noise["ada/x/saturation"] = torch.tensor([[1.0, -2.0]], dtype=torch.float64)
        x = torch.rand(1, 2, 3, 4, 4, dtype=torch.float64)
        found = trick.show(game, x, FixedBatch(noise=noise), "x")
        for n, factor in enumerate((2.0, 0.25)):
            grey = x[0, n].mean(0)
            for channel in range(3):
                expected = grey + factor * (x[0, n, channel] - grey)
                torch.testing.assert_close(found[0, n, channel], expected)

    @pytest.mark.parametrize("boundary", [0.0, 0.5])
    def test_how_p_is_steered(self, boundary: float) -> None:
        cls = tricks.get("ada")
        options = [{"target": 0.6, "speed": 100.0}, {"target": 0.0, "speed": 30.0}]
        trick = cls.stacked([cls(interval=2, **each) for each in options], dtype=torch.float64)
        game: Any = FixedGame(2, D=SimpleNamespace(theta=torch.zeros(2, 5, dtype=torch.float64)))
        game.variant = SimpleNamespace(boundary=boundary)
        game.memory = {"ada": trick.remember(game)}
        generator = torch.Generator().manual_seed(1)
        p, r, signs = [0.0, 0.0], [0.0, 0.0], [0.0, 0.0]
        rising = torch.linspace(1.5, -2.0, 24, dtype=torch.float64)
        for counter in range(24):
            logits = torch.randn(2, 10, generator=generator, dtype=torch.float64) + rising[counter]
            batch = FixedBatch(real=torch.zeros(2, 10, 1), counter=counter)
            batch.judged_real = batch.judged_real._replace(logits=logits)
            trick.after_discriminator_update(game, batch)
            for run in range(2):
                values = [math.copysign(1, v - boundary) for v in logits[run].tolist()]
                signs[run] += sum(values) / 10
                if counter % 2 == 1:
                    r[run] = signs[run] / 2
                    above = r[run] - options[run]["target"]
                    move = (above > 0) - (above < 0)
                    p[run] = min(1.0, max(0.0, p[run] + move * 20 / options[run]["speed"]))
                    signs[run] = 0.0
            watched = trick.watch(game, batch)
            assert watched[0].tolist() == pytest.approx(p, abs=1e-12)
            assert watched[1].tolist() == pytest.approx(r, abs=1e-12)
        assert p[0] == 0.0

    def test_p_stays_a_probability(self) -> None:
        trainer = trainer_of("digits", "dcgan", ("ada", {"speed": 10.0, "target": -0.99}))
        for _ in range(9):
            trainer.train_step()
        assert trainer.game.memory["ada"]["p"].item() == 1.0

    def test_training_begins_unaugmented_and_then_changes(self) -> None:
        plain = trainer_of("digits", "gan", lr_d=1e-2)
        options = {"speed": 1e2, "target": 0.0, "interval": 2}
        tricked = trainer_of("digits", "gan", ("ada", options), lr_d=1e-2)
        chances = []
        for _ in range(20):
            chances.append(tricked.game.memory["ada"]["p"].item())
            for trainer in (plain, tricked):
                trainer.train_step()
            # Not bit for bit: what was to be augmented lies otherwise in memory, and sums over it
            # go in another order.
            same = torch.allclose(plain.game.D.theta, tricked.game.D.theta, rtol=0, atol=1e-9)
            # D's updates are augmented from the one on that follows p's first step.
            assert same == (max(chances) == 0)
        assert chances[:2] == [0.0, 0.0]
        assert 0.16 <= max(chances) <= 1.0
        (row,), _ = tricked.read()
        assert row["ada_p"] == pytest.approx(sum(chances) / 20)

    @pytest.mark.parametrize(
        ("dataset", "variant", "reason"),
        [
            ("ring8", "gan", "ada augments images, the data set holds points"),
            (
                "digits",
                "wgan-gp",
                "the critic of wgan-gp has no zero by which to see it overfit",
            ),
            ("digits", "lsgan", None),
            ("digits", "sngan", None),
        ],
    )
    def test_refusals(self, dataset: str, variant: str, reason: str | None) -> None:
        assert refusal(make_spec(dataset, variant, ["ada"])) == reason
