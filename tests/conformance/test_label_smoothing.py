"""Proves label smoothing: which targets are drawn, from where, and who learns from them."""

import math
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from harness.networks.base import Judgement
from harness.parts import Targets, tricks, variants
from harness.testing.cells import game_of, make_trainer, refusal
from harness.testing.specs import make_spec
from harness.testing.stubs import FixedBatch, FixedGame
from harness.training.batch import Batch


def sp(t: float) -> float:
    return max(t, 0.0) + math.log1p(math.exp(-abs(t)))


class TestLabelSmoothing:
    """Targets drawn from a range."""

    def targets(self, options: dict[str, Any], u: float = 0.25) -> tuple[list[float], list[float]]:
        trick = tricks.get("label-smoothing")(**options)
        draws = torch.full((1, 3), u, dtype=torch.float64)
        batch = FixedBatch(
            Judgement(torch.zeros(1, 3), {}), noise={"smooth-real": draws, "smooth-fake": draws}
        )
        plain = Targets(torch.ones(1, 1), torch.zeros(1, 1))
        found = trick.targets(FixedGame(1), batch, plain)
        fake = torch.as_tensor(found.fake).expand(1, 3)
        return found.real[0].tolist(), fake[0].tolist()

    @pytest.mark.parametrize(
        ("options", "real", "fake"),
        [
            ({}, 0.85, 0.0),
            ({"form": "uniform"}, 0.85, 0.0),
            ({"form": "one-sided"}, 0.9, 0.0),
            ({"form": "two-sided"}, 0.825, 0.075),
            ({"real_low": 0.6}, 0.7, 0.0),
            ({"form": "one-sided", "real_low": 0.8, "real_high": 0.8}, 0.8, 0.0),
            ({"form": "two-sided", "fake_low": 0.1, "fake_high": 0.5}, 0.825, 0.2),
        ],
    )
    def test_ranges(self, options: dict[str, Any], real: float, fake: float) -> None:
        found = self.targets(options)
        assert found[0] == pytest.approx([real] * 3)
        assert found[1] == pytest.approx([fake] * 3)

    @pytest.mark.parametrize("form", ["uniform", "one-sided"])
    @pytest.mark.parametrize("u", [0.0, 0.5, 1 - 2**-24])
    def test_fakes_are_never_smoothed(self, form: str, u: float) -> None:
        assert self.targets({"form": form}, u)[1] == [0.0] * 3

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"fake_high": 0.1}, "two-sided"),
            ({"form": "one-sided", "fake_high": 0.1}, "two-sided"),
            ({"form": "one-sided", "real_low": 0.8}, "one target"),
            ({"real_low": 0.9, "real_high": 0.8}, "low end"),
            ({"form": "two-sided", "fake_low": 0.4}, "low end"),
            ({"form": "three-sided"}, "form"),
        ],
    )
    def test_contradictions_are_refused(self, options: dict[str, Any], message: str) -> None:
        with pytest.raises(ValidationError, match=message):
            tricks.get("label-smoothing")(**options)

    @pytest.mark.parametrize(
        ("form", "real", "fake"),
        [("uniform", (0.8, 1.0), (0.0, 0.0)), ("two-sided", (0.7, 1.2), (0.0, 0.3))],
    )
    def test_draws_fill_their_range_afresh(
        self, form: str, real: tuple[float, float], fake: tuple[float, float]
    ) -> None:
        game = game_of("ring8", "gan", ("label-smoothing", {"form": form}), runs=2)
        found = [game.targets(Batch(game, "discriminator", counter)) for counter in range(500)]
        for (low, high), values in (
            (real, torch.stack([t.real for t in found])),
            (fake, torch.stack([t.fake for t in found])),
        ):
            assert values.shape == (500, 2, 8)
            assert values.min() >= low
            assert values.max() <= high
            if high > low:
                assert values.unique().numel() > 7900
                spread = (high - low) / math.sqrt(12)
                assert float(values.mean()) == pytest.approx((low + high) / 2, abs=spread / 15)
                assert float(values.std()) == pytest.approx(spread, rel=0.05)

    @pytest.mark.parametrize("name", ["gan", "lsgan"])
    def test_the_discriminators_loss_uses_them(self, name: str) -> None:
        game = game_of("ring8", name, ("label-smoothing", {"form": "two-sided"}))
        batch = Batch(game, "discriminator", 3)
        loss = game.discriminator_loss(batch).item()
        draws = [
            game.streams.uniform(f"discriminator/smooth-{kind}", 3, (8,))[0].tolist()
            for kind in ("real", "fake")
        ]
        total = 0.0
        for logit, u in zip(batch.judged_real.logits[0].tolist(), draws[0], strict=True):
            t = 0.7 + 0.5 * u
            total += t * sp(-logit) + (1 - t) * sp(logit) if name == "gan" else (logit - t) ** 2 / 2
        for logit, u in zip(batch.judged_fake.logits[0].tolist(), draws[1], strict=True):
            t = 0.3 * u
            total += t * sp(-logit) + (1 - t) * sp(logit) if name == "gan" else (logit - t) ** 2 / 2
        assert loss == pytest.approx(total / 8, rel=1e-12)

    def test_lsgan_moves_b_and_keeps_a_and_c(self) -> None:
        smooth = game_of("ring8", "lsgan", ("label-smoothing", {"form": "one-sided"}))
        batch = Batch(smooth, "discriminator", 0)
        r, f = batch.judged_real.logits, batch.judged_fake.logits
        expected = ((r - 0.9) ** 2).mean() / 2 + (f**2).mean() / 2
        assert smooth.discriminator_loss(batch).item() == pytest.approx(expected.item())
        batch = Batch(smooth, "generator", 0)
        expected = ((batch.judged_fake.logits - 1) ** 2).mean() / 2
        assert smooth.generator_loss(batch).item() == pytest.approx(expected.item())

    @pytest.mark.parametrize("name", ["gan", "lsgan"])
    def test_the_generators_loss_is_as_before(self, name: str) -> None:
        plain, smooth = game_of("ring8", name), game_of("ring8", name, "label-smoothing")
        losses = [game.generator_loss(Batch(game, "generator", 2)) for game in (plain, smooth)]
        assert torch.equal(*losses)

    def test_a_map_of_logits_shares_its_images_target(self) -> None:
        game = game_of("digits", "lsgan", "label-smoothing", "patchgan")
        batch = Batch(game, "discriminator", 0)
        loss = game.discriminator_loss(batch).item()
        u = game.streams.uniform("discriminator/smooth-real", 0, (8,))[0]
        logits = batch.judged_real.logits[0]
        assert logits.shape == (8, 7, 7)
        expected = sum(((logits[i] - (0.8 + 0.2 * u[i])) ** 2).mean().item() / 16 for i in range(8))
        expected += (batch.judged_fake.logits**2).mean().item() / 2
        assert loss == pytest.approx(expected, rel=1e-12)

    def test_runs_of_a_cohort_have_their_own_ranges(self) -> None:
        ranges = [(0.8, 1.0), (0.5, 0.6)]
        specs = [
            make_spec("ring8", "gan", [("label-smoothing", {"real_low": a, "real_high": b})])
            for a, b in ranges
        ]
        game = make_trainer(specs).game
        real = game.targets(Batch(game, "discriminator", 0)).real
        for (low, high), row in zip(ranges, real, strict=True):
            assert low <= row.min()
            assert row.max() <= high

    def test_it_applies_where_there_are_targets(self) -> None:
        for name in variants.names():
            reason = refusal(make_spec("digits", name, ["label-smoothing"]))
            assert (reason is None) == variants.get(name).has_targets, name

    @pytest.mark.parametrize("name", variants.names())
    def test_a_variant_has_targets_if_and_only_if_its_loss_uses_them(self, name: str) -> None:
        dataset = next(d for d in ("ring8", "digits") if refusal(make_spec(d, name)) is None)
        game = game_of(dataset, name)
        if not game.variant.adversarial:
            assert not game.variant.has_targets
            return
        plain = game.discriminator_loss(Batch(game, "discriminator", 0)).item()
        game = game_of(dataset, name)
        smooth = Targets(*torch.tensor([[[0.7]], [[0.2]]], dtype=torch.float64))
        game.targets = lambda batch: smooth  # type: ignore[method-assign]
        found = game.discriminator_loss(Batch(game, "discriminator", 0)).item()
        assert (found != plain) == game.variant.has_targets
