"""Proves mixed batches: one pass over both kinds, and that batch statistics leak through it."""

import pytest
import torch
from torch.nn.functional import softplus

from harness.networks.base import build_discriminator
from harness.parts.blueprint import blueprint_of
from harness.testing.cells import game_of, refusal, trainer_of
from harness.testing.specs import make_spec
from harness.training.batch import Batch
from harness.training.streams import seeded


class TestMixedBatches:
    """Real and generated data in one batch of D's updates."""

    @pytest.mark.parametrize(
        ("dataset", "variant", "laid_over"),
        [
            ("digits", "dcgan", ()),
            ("ring8", "gan", (("minibatch-discrimination", {"kernels": 3, "dimensions": 2}),)),
        ],
    )
    def test_the_loss_is_that_of_a_plain_module_on_one_batch(
        self, dataset: str, variant: str, laid_over: tuple
    ) -> None:
        game = game_of(dataset, variant, *laid_over, "mixed-batches")
        spec = make_spec(dataset, variant, [*laid_over, "mixed-batches"])
        with seeded(0, "init/discriminator"):
            D = build_discriminator(blueprint_of(spec)).double().train()
        batch = Batch(game, "discriminator", 0)
        found = game.discriminator_loss(batch)[0]
        logits = D(torch.cat([batch.real[0], batch.fake[0]])).logits
        expected = softplus(-logits[:8]).mean() + softplus(logits[8:]).mean()
        torch.testing.assert_close(found, expected)
        for name, value in batch.judged_real.features.items():
            assert value.shape[:2] == (1, 8), name
            assert batch.judged_fake.features[name].shape == value.shape

    def test_what_d_says_of_real_data_depends_on_the_generated(self) -> None:
        """The leak: it does so in a mixed batch, and not where the kinds are apart."""
        for laid_over, leaks in (((), False), (("mixed-batches",), True)):
            game = game_of("digits", "dcgan", *laid_over)
            batch, other = (Batch(game, "discriminator", 0) for _ in range(2))
            other.__dict__["fake"] = -batch.fake
            change = (batch.judged_real.logits - other.judged_real.logits).abs().max()
            assert (change > 1e-3) == leaks
            assert leaks or change == 0

    def test_batch_statistics_are_those_of_both(self) -> None:
        game = game_of("digits", "dcgan", "mixed-batches")
        batch = Batch(game, "discriminator", 0)
        _ = batch.judged_real, batch.judged_fake
        counts = [value for name, value in game.D.buffers.items() if "num_batches" in name]
        assert [int(count) for count in counts] == [1] * len(counts)
        apart = game_of("digits", "dcgan")
        batch = Batch(apart, "discriminator", 0)
        _ = batch.judged_real, batch.judged_fake
        counts = [value for name, value in apart.D.buffers.items() if "num_batches" in name]
        assert [int(count) for count in counts] == [2] * len(counts)

    def test_the_generator_is_judged_by_generated_data_alone(self) -> None:
        plain, mixed = game_of("digits", "dcgan"), game_of("digits", "dcgan", "mixed-batches")
        losses = [g.generator_loss(Batch(g, "generator", 0)) for g in (plain, mixed)]
        assert torch.equal(*losses)

    def test_it_changes_what_the_discriminator_learns(self) -> None:
        plain, mixed = trainer_of("digits", "dcgan"), trainer_of("digits", "dcgan", "mixed-batches")
        for trainer in (plain, mixed):
            trainer.update("discriminator")
        assert not torch.equal(plain.game.D.theta, mixed.game.D.theta)

    def test_where_it_would_change_nothing_it_is_refused(self) -> None:
        told = "minibatch-discrimination"
        assert refusal(make_spec("digits", "dcgan", ["mixed-batches"])) is None
        assert refusal(make_spec("digits", "gan", [told, "mixed-batches"])) is None
        assert refusal(make_spec("digits", "dcgan", ["spectral-norm", "mixed-batches"])) is None
        for dataset, variant in (("ring8", "gan"), ("digits", "wgan-gp"), ("digits", "sngan")):
            reason = refusal(make_spec(dataset, variant, ["mixed-batches"]))
            assert (
                reason == f"{variant}'s discriminator judges each example by itself, mixed or not"
            )

    def test_and_there_it_does_change_nothing(self) -> None:
        plain, mixed = game_of("ring8", "gan"), game_of("ring8", "gan", "mixed-batches")
        losses = [g.discriminator_loss(Batch(g, "discriminator", 0)) for g in (plain, mixed)]
        torch.testing.assert_close(*losses, rtol=1e-12, atol=0)

    def test_updates_ahead_are_mixed_and_gs_own_is_not(self) -> None:
        game = game_of("digits", "dcgan", "mixed-batches", "unrolled")
        batch = Batch(game, "generator", 0)
        inner = batch.against(game.D.theta, 1)
        together = game.D(torch.cat([batch.real, batch.fake], dim=1)).logits
        torch.testing.assert_close(inner.judged_fake.logits, together[:, batch.size :])
        own = game.D(batch.fake, theta=batch.opponent).logits
        torch.testing.assert_close(batch.judged_fake.logits, own)
