"""Proves the update ratio: how often each player is updated, and on what."""

from typing import Any

import pytest
import torch
from pydantic import ValidationError

from harness.parts import Schedule, tricks, variants
from harness.testing.cells import refusal, trainer_of
from harness.testing.specs import Named, make_spec
from harness.training.trainer import Trainer


def count_updates(trainer: Trainer, steps: int) -> list[str]:
    """Train and list the updates in their order."""
    order = []
    update = trainer.update
    trainer.update = lambda phase: (order.append(phase[0]), update(phase))
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

    def test_the_rest_of_the_variants_schedule_stays(self) -> None:
        ratio = ("update-ratio", {"d": 5, "g": 1})
        variant = ("sngan", {"d_steps": 5, "g_batch": 2})
        with_it, without = (trainer_of("ring8", variant, *each) for each in ([ratio], []))
        assert with_it.game.schedule == without.game.schedule == Schedule(d=5, g_batch=2)
        for trainer in (with_it, without):
            trainer.train_step()
        assert torch.equal(with_it.game.G.theta, without.game.G.theta)
        reason = "sngan already updates 5:1"
        assert refusal(make_spec("ring8", variant, [ratio])) == reason

    @pytest.mark.parametrize("name", variants.names())
    def test_no_part_resets_what_it_does_not_name(self, name: str) -> None:
        """Whatever a schedule is given to hold, a variant and the trick hand on."""
        given = Schedule(g_batch=7)
        for part in (variants.get(name)(), tricks.get("update-ratio")()):
            changed = part.schedule(given)
            assert changed.g_batch == (1 if name == "sngan" and part.id == name else 7)

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
        plain.update("discriminator")
        plain.update("discriminator")
        more.train_step()
        assert torch.equal(plain.game.D.theta, more.game.D.theta)
        plain.update("generator")
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
