"""Proves packing: which examples are joined, how D grows, and what it is taught."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch.nn.functional import softplus

from harness.networks.base import build_discriminator, build_generator
from harness.parts import Trick, tricks
from harness.parts.blueprint import blueprint_of
from harness.testing.cells import game_of, refusal, trainer_of
from harness.testing.specs import make_spec
from harness.training.batch import Batch
from harness.training.game import Game
from harness.training.stack import Stack
from harness.training.streams import seeded


class TestPacking:
    """Examples judged together."""

    @pytest.mark.parametrize("dataset", ["ring8", "digits"])
    @pytest.mark.parametrize("m", [2, 4])
    def test_neighbours_are_joined_on_their_channels(self, dataset: str, m: int) -> None:
        game = game_of(dataset, "gan", ("packing", {"m": m}), runs=2)
        batch = Batch(game, "discriminator", 0)
        for single, shown in ((batch.real, batch.shown_real), (batch.fake, batch.shown_fake)):
            assert shown.shape[:3] == (2, 8 // m, m * single.shape[2])
            for run in range(2):
                for pack in range(8 // m):
                    members = [single[run, pack * m + i] for i in range(m)]
                    assert torch.equal(shown[run, pack], torch.cat(members))
        assert batch.judged_real.logits.shape == (2, 8 // m)

    def test_the_loss_is_that_of_a_plain_module_on_packs(self) -> None:
        """One logit for each pack, the mean over packs; G too is judged by packs."""
        game = game_of("ring8", "gan", "packing")
        with seeded(0, "init/discriminator"):
            D = build_discriminator(blueprint_of(make_spec("ring8", "gan", ["packing"]))).double()
        batch = Batch(game, "discriminator", 0)
        found = game.discriminator_loss(batch).item()
        total = 0.0
        for pack in range(4):
            rows = slice(2 * pack, 2 * pack + 2)
            r = D(batch.real[0, rows].reshape(1, 4)).logits[0]
            f = D(batch.fake[0, rows].reshape(1, 4)).logits[0]
            total += (softplus(-r) + softplus(f)).item() / 4
        assert found == pytest.approx(total, rel=1e-12)
        batch = Batch(game, "generator", 0)
        fakes = batch.fake[0].reshape(4, 4)
        expected = sum(softplus(-D(pack[None]).logits[0]).item() for pack in fakes) / 4
        assert game.generator_loss(batch).item() == pytest.approx(expected, rel=1e-12)

    @pytest.mark.parametrize(
        ("dataset", "variant"), [("ring8", "gan"), ("digits", "gan"), ("digits", "dcgan")]
    )
    def test_only_the_first_layer_grows(self, dataset: str, variant: str) -> None:
        plain = game_of(dataset, variant).D.parameters()
        packed = game_of(dataset, variant, ("packing", {"m": 3})).D.parameters()
        grown = [name for name in plain if plain[name].shape != packed[name].shape]
        assert grown == ["hidden.hidden1.0.weight"]
        for axis, size in enumerate(plain[grown[0]].shape):
            assert packed[grown[0]].shape[axis] == (3 * size if axis == 2 else size)

    def test_the_generator_is_as_before(self) -> None:
        plain, packed = game_of("ring8", "gan"), game_of("ring8", "gan", "packing")
        assert torch.equal(plain.G.theta, packed.G.theta)
        for phase in ("discriminator", "generator"):
            assert torch.equal(Batch(plain, phase, 0).fake, Batch(packed, phase, 0).fake)

    def test_conditions_are_packed_with_their_examples(self) -> None:
        class Classes(Trick):
            """Joins a number to z and to what D sees."""

            def build(self, blueprint: Any) -> Any:
                return replace(
                    blueprint,
                    generator=replace(blueprint.generator, condition=1),
                    discriminator=replace(blueprint.discriminator, condition=1),
                )

            def condition(self, game: Any, draws: Any, labels: Any, count: int) -> Any:
                return torch.arange(count, dtype=torch.float64)[None, :, None] / 10

        packing = tricks.get("packing")()
        blueprint = blueprint_of(make_spec("ring8", "gan"))
        planned = packing.build(Classes().build(blueprint))
        assert (planned.generator.condition, planned.discriminator.condition) == (1, 2)
        with seeded(0, "init/discriminator"):
            D = build_discriminator(planned).double()
        plain = game_of("ring8", "gan")
        like = {"device": torch.device("cpu"), "dtype": torch.float64}
        game = Game(
            plain.variant,
            [Classes(), packing],
            Stack([build_generator(planned)], torch.zeros(2, 4), torch.zeros(2, 1), **like),
            Stack([D], torch.zeros(2, 4).double(), torch.zeros(2, 2).double(), **like),
            blueprint=planned,
            data=plain.data,
            streams=plain.streams,
        )
        batch = Batch(game, "discriminator", 0)
        logits = batch.judged_real.logits[0]
        for pack in range(4):
            x = batch.real[0, 2 * pack : 2 * pack + 2].reshape(1, 4)
            y = torch.tensor([[2 * pack, 2 * pack + 1]], dtype=torch.float64) / 10
            torch.testing.assert_close(logits[pack], D(x, y).logits[0])

    @pytest.mark.parametrize("variant", ["gan", "wgan-gp", "lsgan"])
    def test_it_changes_what_both_players_learn(self, variant: str) -> None:
        plain, packed = trainer_of("ring8", variant), trainer_of("ring8", variant, "packing")
        for trainer in (plain, packed):
            trainer.train_step()
        assert not torch.equal(plain.game.G.theta, packed.game.G.theta)

    def test_a_batch_that_is_no_multiple_is_refused(self) -> None:
        spec = make_spec("ring8", "gan", [("packing", {"m": 3})])
        assert refusal(spec) == "a batch of 8 is no multiple of 3"
        assert refusal(make_spec("ring8", "gan", [("packing", {"m": 3})], batch=9)) is None

    def test_what_changes_single_examples_comes_first(self) -> None:
        assert refusal(make_spec("ring8", "gan", ["instance-noise", "packing"])) is None
        reason = refusal(make_spec("ring8", "gan", ["packing", "instance-noise"]))
        assert reason == "instance-noise changes single examples; write packing after it"

    @pytest.mark.parametrize("m", [1, 0, 17, 2.5])
    def test_what_is_no_pack_is_refused(self, m: float) -> None:
        with pytest.raises(ValidationError):
            tricks.get("packing")(m=m)
