"""Proves each trick's formula against its source, and that its hook really runs."""

import math
from itertools import pairwise
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from harness.networks.base import Judgement, build_discriminator, build_generator
from harness.networks.blueprint import Blueprint, DiscriminatorPlan, GeneratorPlan
from harness.networks.dropout import StreamDropout
from harness.parts import Schedule, Targets, tricks, variants
from harness.training.game import Batch, Game
from harness.training.streams import seeded
from harness.training.trainer import Trainer, blueprint_of
from tests.conformance.cells import make_trainer, refusal
from tests.conformance.stubs import FixedBatch, FixedGame
from tests.specs import Named, make_spec


def trainer_of(dataset: str, variant: Named, *laid_over: Named, runs: int = 1, **more: Any):
    """Make a trainer in float64 for seeds 0 and up."""
    specs = [
        make_spec(dataset, variant, laid_over, seed=seed, precision="float64", **more)
        for seed in range(runs)
    ]
    return make_trainer(specs)


def game_of(dataset: str, variant: Named, *laid_over: Named, runs: int = 1) -> Game:
    return trainer_of(dataset, variant, *laid_over, runs=runs).game


def sp(t: float) -> float:
    return max(t, 0.0) + math.log1p(math.exp(-abs(t)))


class TestLabelSmoothing:
    """Targets drawn from a range."""

    def targets(self, options: dict[str, Any], u: float = 0.25) -> tuple[list[float], list[float]]:
        trick = tricks.get("label-smoothing")(**options)
        draws = torch.full((1, 3), u, dtype=torch.float64)
        batch = FixedBatch(
            real=torch.zeros(1, 3, 2), noise={"smooth-real": draws, "smooth-fake": draws}
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


def features_batch(real: Tensor, fake: Tensor) -> FixedBatch:
    """Make a batch with an early layer that must not matter and a last one that does."""
    early = torch.full((2, 4, 3), 7.0, dtype=torch.float64)
    none = torch.empty(0)
    return FixedBatch(
        Judgement(none, {"hidden1": early, "hidden2": real}),
        Judgement(none, {"hidden1": -early, "hidden2": fake}),
        phase="generator",
    )


class TestFeatureMatching:
    """Distance between batch means of D's features, instead of G's loss."""

    def features(self, *shape: int) -> tuple[Tensor, Tensor]:
        generator = torch.Generator().manual_seed(9)
        draws = torch.randn(2, 2, 4, *shape, generator=generator, dtype=torch.float64)
        return draws[0], draws[1] + 0.5

    @pytest.mark.parametrize("shape", [(3,), (2, 3, 3)], ids=["units", "maps"])
    @pytest.mark.parametrize("norm", ["l2", "l1"])
    @pytest.mark.parametrize("mode", ["replace", "add"])
    def test_formula(self, shape: tuple[int, ...], norm: str, mode: str) -> None:
        real, fake = self.features(*shape)
        trick = tricks.get("feature-matching")(mode=mode, norm=norm, weight=2.5)
        own = torch.tensor([0.3, -4.0], dtype=torch.float64)
        found = trick.generator_objective(FixedGame(2), features_batch(real, fake), own)
        for run in range(2):
            distance = 0.0
            columns = real[run].flatten(1).T.tolist(), fake[run].flatten(1).T.tolist()
            for ours, theirs in zip(*columns, strict=True):
                gap = sum(ours) / 4 - sum(theirs) / 4
                distance += gap**2 if norm == "l2" else abs(gap)
            expected = 2.5 * distance + (own[run].item() if mode == "add" else 0.0)
            assert found[run].item() == pytest.approx(expected, rel=1e-12)

    def test_it_compares_batch_means_not_examples(self) -> None:
        real, _ = self.features(3)
        fake = real.flip(1)
        trick = tricks.get("feature-matching")()
        found = trick.generator_objective(
            FixedGame(2), features_batch(real, fake), torch.zeros(2, dtype=torch.float64)
        )
        per_example = (real - fake).square().sum(2).mean(1)
        assert (per_example > 0.1).all()
        torch.testing.assert_close(found, torch.zeros(2, dtype=torch.float64))

    @pytest.mark.parametrize("variant", ["gan", "wgan-gp"])
    def test_it_replaces_the_generators_loss_in_training(self, variant: str) -> None:
        game = game_of("ring8", variant, "feature-matching", runs=2)
        batch = Batch(game, "generator", 1)
        loss = game.generator_loss(batch)
        (gradient,) = torch.autograd.grad(loss.sum(), game.G.theta, retain_graph=True)
        real = game.D(batch.real).features["hidden2"]
        fake = game.D(batch.fake).features["hidden2"]
        expected = (real.mean(1) - fake.mean(1)).square().sum(1)
        torch.testing.assert_close(loss, expected)
        (wanted,) = torch.autograd.grad(expected.sum(), game.G.theta)
        torch.testing.assert_close(gradient, wanted)
        assert not batch.judged_real.logits.requires_grad

    def test_a_non_finite_loss_of_the_variant_is_of_no_consequence(self) -> None:
        real, fake = self.features(3)
        trick = tricks.get("feature-matching")()
        own = torch.tensor([torch.nan, torch.inf], dtype=torch.float64)
        found = trick.generator_objective(FixedGame(2), features_batch(real, fake), own)
        assert found.isfinite().all()

    def test_the_discriminator_trains_as_before(self) -> None:
        plain, matched = trainer_of("ring8", "gan"), trainer_of("ring8", "gan", "feature-matching")
        for trainer in (plain, matched):
            trainer._update_discriminator()
        assert torch.equal(plain.game.D.theta, matched.game.D.theta)
        for trainer in (plain, matched):
            trainer._update_generator()
        assert not torch.equal(plain.game.G.theta, matched.game.G.theta)

    def test_its_real_data_are_not_those_that_taught_the_discriminator(self) -> None:
        game = game_of("ring8", "gan", "feature-matching")
        taught = [Batch(game, "discriminator", counter).real for counter in range(20)]
        matched = [Batch(game, "generator", counter).real for counter in range(20)]
        seen = {tuple(row) for batch in taught for row in batch[0].tolist()}
        fresh = [tuple(row) for batch in matched for row in batch[0].tolist()]
        assert len(set(fresh)) == 160
        assert len(seen & set(fresh)) < 8


def count_updates(trainer: Trainer, steps: int) -> list[str]:
    """Train and list the updates in their order."""
    order = []
    update_d, update_g = trainer._update_discriminator, trainer._update_generator
    trainer._update_discriminator = lambda: (order.append("d"), update_d())
    trainer._update_generator = lambda: (order.append("g"), update_g())
    for _ in range(steps):
        trainer.train_step()
    return order


class TestUpdateRatio:
    """D and G updates per step."""

    @pytest.mark.parametrize(("d", "g"), [(2, 1), (5, 1), (1, 2), (1, 5), (3, 2)])
    @pytest.mark.parametrize("variant", ["gan", ("wgan", {"boost": True})], ids=["gan", "wgan"])
    def test_counts(self, d: int, g: int, variant: Named) -> None:
        trainer = trainer_of("ring8", variant, ("update-ratio", {"d": d, "g": g}))
        assert count_updates(trainer, 3) == (["d"] * d + ["g"] * g) * 3
        assert (trainer.optimizer_d.updates, trainer.optimizer_g.updates) == (3 * d, 3 * g)
        assert trainer.kimg == pytest.approx(3 * d * 8 / 1000)

    def test_the_default_is_two_to_one(self) -> None:
        assert tricks.get("update-ratio")().schedule(Schedule()) == Schedule(d=2, g=1)

    def test_every_update_has_fresh_data_and_latents(self) -> None:
        trainer = trainer_of("ring8", "gan", ("update-ratio", {"d": 4, "g": 3}))
        game, batches = trainer.game, []
        inner_d, inner_g = game.discriminator_loss, game.generator_loss
        game.discriminator_loss = lambda batch: (batches.append(batch), inner_d(batch))[1]
        game.generator_loss = lambda batch: (batches.append(batch), inner_g(batch))[1]
        trainer.train_step()
        trainer.train_step()
        assert len(batches) == 14
        reals = [batch.real.flatten(0, 1) for batch in batches if batch.phase == "discriminator"]
        assert torch.cat(reals).unique(dim=0).shape == (64, 2)
        latents = [batch.normal("latent", 8, 4).flatten() for batch in batches]
        assert torch.stack(latents).unique(dim=0).shape == (14, 32)

    def test_it_changes_what_is_learned(self) -> None:
        plain = trainer_of("ring8", "gan")
        more = trainer_of("ring8", "gan", ("update-ratio", {"d": 2, "g": 1}))
        plain._update_discriminator()
        plain._update_discriminator()
        more.train_step()
        assert torch.equal(plain.game.D.theta, more.game.D.theta)
        plain._update_generator()
        assert torch.equal(plain.game.G.theta, more.game.G.theta)

    def test_repeating_the_variants_schedule_is_refused(self) -> None:
        same = ("update-ratio", {"d": 5, "g": 1})
        reason = refusal(make_spec("ring8", "wgan-gp", [same]))
        assert reason == "wgan-gp already updates 5:1"
        assert refusal(make_spec("ring8", ("wgan", {"boost": False}), [same])) is not None
        assert refusal(make_spec("ring8", ("wgan", {"boost": True}), [same])) is None
        assert refusal(make_spec("ring8", "gan", [same])) is None
        assert refusal(make_spec("ring8", "gan", [("update-ratio", {"d": 1, "g": 1})])) is not None

    @pytest.mark.parametrize("options", [{"d": 0}, {"g": 0}, {"d": 101}, {"d": 1.5}])
    def test_what_is_no_ratio_is_refused(self, options: dict[str, Any]) -> None:
        with pytest.raises(ValidationError):
            tricks.get("update-ratio")(**options)


def plain_generator(trainer: Trainer, counter: int, phase: str, batch: int) -> nn.Module:
    """Build the first run's generator, its dropout layers filled from the run's streams."""
    with seeded(trainer.specs[0].seed, "init/generator"):
        module = build_generator(blueprint_of(trainer.specs[0])).double()
    for name, shape in trainer.game.G.dropouts.items():
        layer = module.get_submodule(name.removesuffix(".noise"))
        layer.noise = trainer.game.streams.uniform(f"{phase}/{name}", counter, (batch, *shape))[0]
    return module


def dropped_shares(module: nn.Module, z: Tensor) -> tuple[Tensor, dict[str, float]]:
    """Generate, and measure which share of what was active each dropout layer zeroes."""
    shares: dict[str, float] = {}
    for name, layer in module.named_modules():
        if isinstance(layer, StreamDropout):

            def hook(dropout: Any, inputs: Any, output: Tensor, name: str = name) -> None:
                active = inputs[0] != 0
                shares[name] = (output[active] == 0).double().mean().item()
                kept = active & (output != 0)
                torch.testing.assert_close(output[kept], inputs[0][kept] / (1 - dropout.p))

            layer.register_forward_hook(hook)
    return module(z), shares


class TestDropoutG:
    """Noise inside the generator."""

    @pytest.mark.parametrize("dataset", ["ring8", "digits"])
    @pytest.mark.parametrize("p", [0.5, 0.2])
    def test_it_drops_its_share_while_training(self, dataset: str, p: float) -> None:
        trainer = trainer_of(dataset, "lsgan", ("dropout-g", {"p": p}), width=32, batch=64)
        game = trainer.game
        batch = Batch(game, "discriminator", 0)
        module = plain_generator(trainer, 0, "discriminator", 64)
        fake, shares = dropped_shares(module, batch.normal("latent", 64, 4)[0])
        torch.testing.assert_close(batch.fake[0], fake)
        assert list(shares) == ["hidden.hidden1.3", "hidden.hidden2.3"]
        for share in shares.values():
            assert share == pytest.approx(p, abs=0.05)

    def test_masks_are_fresh_for_update_player_layer_run_and_example(self) -> None:
        game = game_of("ring8", "gan", "dropout-g", runs=2)
        masks = [
            row
            for phase in ("discriminator", "generator")
            for counter in (0, 1)
            for name, shape in game.G.dropouts.items()
            for row in Batch(game, phase, counter).uniform(name, 8, *shape).flatten(0, 1)
        ]
        assert len(masks) == 2 * 2 * 2 * 2 * 8
        assert torch.stack(masks).unique(dim=0).shape[0] == len(masks)

    @pytest.mark.parametrize("dataset", ["ring8", "digits"])
    def test_it_is_off_for_measurement_unless_asked_for(self, dataset: str) -> None:
        plain = game_of(dataset, "gan").sample(16, "evaluation")
        off = game_of(dataset, "gan", "dropout-g").sample(16, "evaluation")
        on = game_of(dataset, "gan", ("dropout-g", {"at_test": True}))
        assert torch.equal(off, plain)
        assert not torch.equal(on.sample(16, "evaluation"), plain)
        assert torch.equal(on.sample(16, "evaluation"), on.sample(16, "evaluation"))
        assert torch.equal(on.sample(16, "evaluation")[:, :5], on.sample(5, "evaluation"))
        assert not torch.equal(on.sample(16, "evaluation"), on.sample(16, "other"))

    def test_training_differs_from_training_without(self) -> None:
        plain, tricked = game_of("ring8", "gan"), game_of("ring8", "gan", "dropout-g")
        assert torch.equal(plain.G.theta, tricked.G.theta)
        for phase in ("discriminator", "generator"):
            fakes = [Batch(game, phase, 0).fake for game in (plain, tricked)]
            assert not torch.equal(*fakes)

    def test_layers_can_be_chosen(self) -> None:
        game = game_of("ring8", "gan", ("dropout-g", {"layers": ["hidden2"]}))
        assert list(game.G.dropouts) == ["hidden.hidden2.3.noise"]

    def test_unknown_layers_are_refused(self) -> None:
        spec = make_spec("ring8", "gan", [("dropout-g", {"layers": ["hidden2", "output"]})])
        reason = refusal(spec)
        assert reason == "toy2d has the layers hidden1, hidden2, not output"

    def test_the_discriminator_gets_none(self) -> None:
        assert game_of("digits", "dcgan", "dropout-g").D.dropouts == {}

    @pytest.mark.parametrize("p", [0, 1, -0.1, 1.5])
    def test_what_is_no_probability_is_refused(self, p: float) -> None:
        with pytest.raises(ValidationError):
            tricks.get("dropout-g")(p=p)


def patch_discriminator(size: int, strided: int, flat: int, channels: int = 1) -> nn.Module:
    plan = DiscriminatorPlan("patch", 2, strided=strided, flat=flat)
    shape = (channels, size, size)
    blueprint = Blueprint(GeneratorPlan("mlp-small", 4), plan, 4, shape)
    # In evaluation mode: batch statistics would join every pixel with every other.
    return build_discriminator(blueprint).double().eval()


class TestPatchGAN:
    """A discriminator that judges patches."""

    @pytest.mark.parametrize(
        ("size", "strided", "flat", "side", "field"),
        [
            (16, 1, 0, 7, 10),
            (32, 2, 0, 7, 22),
            (64, 2, 0, 15, 22),
            (64, 2, 1, 14, 34),
            (64, 3, 0, 7, 46),
            (128, 3, 1, 14, 70),
        ],
    )
    def test_the_map_and_its_receptive_field(
        self, size: int, strided: int, flat: int, side: int, field: int
    ) -> None:
        torch.manual_seed(4)
        D = patch_discriminator(size, strided, flat)
        x = torch.randn(1, 1, size, size, dtype=torch.float64, requires_grad=True)
        logits = D(x).logits
        assert logits.shape == (1, side, side)
        trick = tricks.get("patchgan")(strided=strided, flat=flat)
        assert trick.receptive_field(size) == field
        jump = 2**strided
        starts = {}
        for i in range(0, side, max(1, side // 5)):
            (slope,) = torch.autograd.grad(logits[0, i, i], x, retain_graph=True)
            seen = slope[0, 0] != 0
            rows, columns = seen.any(1).nonzero().flatten(), seen.any(0).nonzero().flatten()
            assert torch.equal(rows, columns)
            first, last = int(rows[0]), int(rows[-1])
            assert seen[first : last + 1, first : last + 1].all()
            assert seen.sum() == (last - first + 1) ** 2
            inside = first > 0 and last < size - 1
            assert last - first + 1 == field if inside else last - first + 1 <= field
            starts[i] = (first, last, inside)
        whole = [(i, first) for i, (first, _, inside) in starts.items() if inside]
        assert whole or field >= size // 2
        for (i, first), (j, other) in pairwise(whole):
            assert other - first == (j - i) * jump

    @pytest.mark.parametrize(
        ("size", "strided", "field"), [(16, 1, 10), (32, 2, 22), (64, 2, 22), (128, 3, 46)]
    )
    def test_depth_follows_the_size(self, size: int, strided: int, field: int) -> None:
        trick = tricks.get("patchgan")()
        assert trick.depth(size) == strided
        assert trick.receptive_field(size) == field

    def test_pix2pix(self) -> None:
        assert tricks.get("patchgan")(strided=3, flat=1).receptive_field(256) == 70

    @pytest.mark.parametrize("variant", ["gan", "lsgan", "wgan", "sngan", "dcgan"])
    def test_the_loss_averages_over_the_map(self, variant: str) -> None:
        game = game_of("digits", variant, "patchgan", runs=2)
        batch = Batch(game, "discriminator", 0)
        found = game.discriminator_loss(batch)
        r, f = batch.judged_real.logits, batch.judged_fake.logits
        assert r.shape == f.shape == (2, 8, 7, 7)
        own = game.variant
        for run in range(2):
            terms = [
                own.real_loss(r[run, i, h, w], torch.ones_like(r[0, 0, 0, 0])).item()
                + own.fake_loss(f[run, i, h, w], torch.zeros_like(r[0, 0, 0, 0])).item()
                for i in range(8)
                for h in range(7)
                for w in range(7)
            ]
            assert found[run].item() == pytest.approx(sum(terms) / len(terms), rel=1e-12)

    def test_the_variant_still_says_how_it_is_normalised(self) -> None:
        batch_norm = game_of("digits", "dcgan", ("patchgan", {"strided": 2}))
        assert any("running_mean" in name for name in batch_norm.D.buffers)
        none = game_of("digits", "wgan-gp", ("patchgan", {"strided": 2}))
        assert none.D.buffers == {}
        spectral = game_of("digits", "sngan", ("patchgan", {"strided": 2}))
        assert {name.rpartition(".")[2] for name in spectral.D.buffers} == {"u", "v"}

    @pytest.mark.parametrize(
        ("variant", "options", "width"),
        [("dcgan", {}, 8), ("gan", {}, 16), ("dcgan", {"width": 5}, 5), ("gan", {"width": 5}, 5)],
    )
    def test_its_width_is_in_channels(
        self, variant: str, options: dict[str, Any], width: int
    ) -> None:
        game = game_of("digits", variant, ("patchgan", options))
        assert game.D.parameters()["hidden.hidden1.0.weight"].shape == (1, width, 1, 4, 4)

    def test_the_generator_is_as_before(self) -> None:
        plain, tricked = game_of("digits", "dcgan"), game_of("digits", "dcgan", "patchgan")
        assert torch.equal(plain.G.theta, tricked.G.theta)
        assert plain.G.names == tricked.G.names

    @pytest.mark.parametrize("options", [{"strided": 4}, {"strided": 3, "flat": 1}])
    def test_networks_that_leave_no_map_are_refused(self, options: dict[str, Any]) -> None:
        reason = refusal(make_spec("digits", "gan", [("patchgan", options)]))
        assert reason is not None
        assert "no map" in reason

    @pytest.mark.parametrize("strided", [1, 2])
    @pytest.mark.parametrize("flat", [0, 1])
    def test_what_is_not_refused_has_a_map(self, strided: int, flat: int) -> None:
        spec = make_spec("digits", "gan", [("patchgan", {"strided": strided, "flat": flat})])
        side = 16 // 2**strided - flat - 1
        assert refusal(spec) is None
        game = make_trainer([spec]).game
        assert Batch(game, "discriminator", 0).judged_real.logits.shape == (1, 8, side, side)


def test_every_trick_is_proved_here() -> None:
    proved = {
        "label-smoothing": TestLabelSmoothing,
        "feature-matching": TestFeatureMatching,
        "update-ratio": TestUpdateRatio,
        "dropout-g": TestDropoutG,
        "patchgan": TestPatchGAN,
    }
    assert proved.keys() == set(tricks.names())
