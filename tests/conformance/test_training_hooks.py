"""Proves the hooks that reach into training: rates, gradients, memory, opponents, judgements."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from harness.networks.base import Judgement
from harness.networks.blueprint import Blueprint
from harness.networks.dropout import StreamDropout
from harness.parts import Rates, Trick, Variant, variants
from harness.testing.cells import CPU, make_trainer, training_data
from harness.testing.specs import make_spec
from harness.training.batch import Batch
from harness.training.game import Game
from harness.training.stack import Stack
from harness.training.streams import Streams
from harness.training.trainer import Trainer


def trainer_with(parts: Sequence[Trick], *, runs: int = 2, **settings: Any) -> Trainer:
    """Make a trainer of gan with parts laid over it that are in no registry."""
    specs = [
        make_spec("ring8", "gan", seed=seed, precision="float64", **settings)
        for seed in range(runs)
    ]

    class With(Trainer):
        def _stacked_parts(self) -> tuple[Variant, list[Trick]]:
            return super()._stacked_parts()[0], list(parts)

    return With(specs, training_data("ring8"), CPU)


class Slower(Trick):
    """Halves G's rate, falls with progress, and changes both decays."""

    seen: list[float]

    def rates(self, rates: Rates, progress: float) -> Rates:
        self.seen.append(progress)
        return Rates(
            rates.lr_g / 2, rates.lr_d * (1 - progress), rates.beta1 * 0, rates.beta2 * 0.5
        )


class TestRates:
    """What the optimisers go by, step by step."""

    def test_each_step_starts_from_the_settings(self) -> None:
        seen: list[float] = []
        slower = Slower.model_construct(seen=seen)
        trainer = trainer_with([slower], steps=4, lr_g=0.02, lr_d=0.04, beta1=0.5, beta2=0.8)
        for step in range(4):
            trainer.train_step()
            assert seen[-1] == step / 4
            assert trainer.optimizer_g.lr.flatten().tolist() == pytest.approx([0.01] * 2)
            expected = [0.04 * (1 - step / 4)] * 2
            assert trainer.optimizer_d.lr.flatten().tolist() == pytest.approx(expected)
            for optimizer in (trainer.optimizer_g, trainer.optimizer_d):
                assert optimizer.beta1.flatten().tolist() == [0.0, 0.0]
                assert optimizer.beta2.flatten().tolist() == pytest.approx([0.4, 0.4])

    def test_parts_change_them_in_order(self) -> None:
        class Plus(Trick):
            """Adds 1 to G's rate."""

            def rates(self, rates: Rates, progress: float) -> Rates:
                return rates._replace(lr_g=rates.lr_g + 1)

        trainer = trainer_with([Plus(), Slower(seen=[])], lr_g=0.02)
        trainer.train_step()
        assert trainer.optimizer_g.lr.flatten().tolist() == pytest.approx([0.51] * 2)

    def test_the_rates_decide_the_step(self) -> None:
        class Frozen(Trick):
            """Stops D."""

            def rates(self, rates: Rates, progress: float) -> Rates:
                return rates._replace(lr_d=rates.lr_d * 0)

        trainer = trainer_with([Frozen()])
        before = trainer.game.D.theta.detach().clone()
        g_before = trainer.game.G.theta.detach().clone()
        trainer.train_step()
        assert torch.equal(trainer.game.D.theta, before)
        assert not torch.equal(trainer.game.G.theta, g_before)

    def test_without_such_a_part_the_settings_stand(self) -> None:
        trainer = trainer_with([])
        assert trainer._base is None
        lr = trainer.optimizer_g.lr
        trainer.train_step()
        assert trainer.optimizer_g.lr is lr


class Scaled(Trick):
    """Multiplies gradients and adds 1, and keeps what it saw."""

    factor: float
    calls: list[tuple[str, Tensor]]

    def gradient(self, game: Any, batch: Any, gradient: Tensor) -> Tensor:
        self.calls.append((batch.phase, gradient))
        return gradient * self.factor + 1


class TestGradient:
    """What the optimiser sees of a player's gradient."""

    def test_every_part_changes_it_in_order_for_both_players(self) -> None:
        calls: list[tuple[str, Tensor]] = []
        parts = [Scaled.model_construct(factor=factor, calls=calls) for factor in (2.0, 3.0)]
        trainer = trainer_with(parts, optimizer="sgd", lr_g=1.0, lr_d=1.0, beta1=0.0)
        game = trainer.game
        before = {name: getattr(game, name).theta.detach().clone() for name in "DG"}
        trainer.train_step()
        assert [phase for phase, _ in calls] == ["discriminator"] * 2 + ["generator"] * 2
        for name, (first, second) in zip("DG", (calls[:2], calls[2:]), strict=True):
            torch.testing.assert_close(second[1], first[1] * 2 + 1)
            step = before[name] - getattr(game, name).theta.detach()
            torch.testing.assert_close(step, (first[1] * 2 + 1) * 3 + 1)

    def test_the_diagnostics_show_the_gradient_of_the_loss(self) -> None:
        calls: list[tuple[str, Tensor]] = []
        trainer = trainer_with([Scaled.model_construct(factor=100.0, calls=calls)])
        trainer.train_step()
        rows, _ = trainer.read()
        for run in range(2):
            for name, (_, gradient) in zip(("d", "g"), calls, strict=True):
                expected = gradient[run].norm().item()
                assert rows[run][f"{name}_grad_norm"] == pytest.approx(expected)


class Counting(Trick):
    """Remembers how often each player was updated."""

    def remember(self, game: Any) -> dict[str, Tensor]:
        start = torch.zeros(game.runs, dtype=torch.float64)
        return {"d": start, "g": start + 10 * torch.arange(game.runs)}

    def after_discriminator_update(self, game: Any, batch: Any) -> None:
        assert not torch.is_grad_enabled()
        game.memory[self.id]["d"] += 1

    def after_generator_update(self, game: Any, batch: Any) -> None:
        assert not torch.is_grad_enabled()
        game.memory[self.id]["g"] += 1


Counting.id = "counting"


class TestMemory:
    """What parts remember, in training, in checkpoints and when runs are left."""

    def test_it_starts_and_changes_where_the_part_says(self) -> None:
        class Idle(Trick):
            """Remembers nothing."""

        Idle.id = "idle"
        trainer = trainer_with([Counting(), Idle()])
        assert trainer.game.memory.keys() == {"counting"}
        for _ in range(3):
            trainer.train_step()
        held = trainer.game.memory["counting"]
        assert held["d"].tolist() == [3, 3]
        assert held["g"].tolist() == [3, 13]

    def test_a_state_holds_it_as_a_copy_and_gives_it_back(self) -> None:
        trainer = trainer_with([Counting()])
        trainer.train_step()
        saved = [trainer.state(run) for run in range(2)]
        counters = trainer.counters()
        trainer.train_step()
        assert [state["memory/counting/g"].item() for state in saved] == [1, 11]
        other = trainer_with([Counting()])
        for run in range(2):
            other.load(run, saved[1 - run], counters)
        assert other.game.memory["counting"]["g"].tolist() == [11, 1]
        other.train_step()
        assert other.game.memory["counting"]["g"].tolist() == [12, 2]

    def test_a_state_without_it_is_refused(self) -> None:
        trainer = trainer_with([Counting()])
        state = trainer.state(0)
        del state["memory/counting/d"]
        with pytest.raises(KeyError, match="counting/d"):
            trainer.load(0, state, trainer.counters())

    def test_it_goes_on_with_the_runs_that_are_kept(self) -> None:
        trainer = trainer_with([Counting()], runs=3)
        trainer.train_step()
        trainer.keep([2, 0])
        assert trainer.game.memory["counting"]["g"].tolist() == [21, 1]


class Shifted(Trick):
    """Adds a number to D's weights for a generator update."""

    shift: float

    def opponent(self, game: Any, batch: Any, theta: Tensor) -> Tensor:
        return theta * 2 + self.shift


class TestOpponent:
    """Other weights of D, for generator updates and for one batch."""

    def test_a_generator_update_is_judged_by_them(self) -> None:
        game = trainer_with([Shifted(shift=0.1), Shifted(shift=0.2)]).game
        batch = Batch(game, "generator", 0)
        theta = (game.D.theta * 2 + 0.1) * 2 + 0.2
        torch.testing.assert_close(batch.opponent, theta)
        for judged, x in ((batch.judged_real, batch.real), (batch.judged_fake, batch.fake)):
            torch.testing.assert_close(judged.logits, game.D(x, theta=theta).logits)
            assert judged.logits.requires_grad

    def test_a_discriminator_update_is_not(self) -> None:
        game = trainer_with([Shifted(shift=0.1)]).game
        batch = Batch(game, "discriminator", 0)
        assert batch.opponent is None
        torch.testing.assert_close(batch.judged_real.logits, game.D(batch.real).logits)

    def test_without_such_a_part_the_real_data_carry_no_gradient(self) -> None:
        game = trainer_with([]).game
        batch = Batch(game, "generator", 0)
        assert batch.opponent is None
        assert not batch.judged_real.logits.requires_grad
        assert batch.judged_fake.logits.requires_grad

    @pytest.mark.parametrize("phase", ["discriminator", "generator"])
    def test_against_others_it_is_the_same_batch(self, phase: Any) -> None:
        game = trainer_with([]).game
        batch = Batch(game, phase, 3)
        own = batch.judged_real, batch.judged_fake
        theta = (game.D.theta * 3).detach()
        other = batch.against(theta, 1)
        for name in ("real", "latents", "fake", "shown_real", "shown_fake"):
            assert getattr(other, name) is getattr(batch, name)
        assert (other.phase, other.size) == ("discriminator", 8)
        assert torch.equal(other.uniform("anything", 4), batch.uniform("anything", 4))
        assert other.opponent is theta
        assert other.judged_real is not own[0]
        torch.testing.assert_close(other.judged_fake.logits, game.D(batch.fake, theta=theta).logits)
        assert (batch.judged_real, batch.judged_fake) == own
        again = other.against(game.D.theta, 1)
        torch.testing.assert_close(again.judged_real.logits, own[0].logits)


class TestJudgements:
    """Real and generated data judged together."""

    def test_the_first_part_that_answers_is_heard_and_once(self) -> None:
        calls: list[str] = []

        class Answer(Trick):
            """Answers with a number, or not at all."""

            value: float | None

            def judgements(self, game: Any, batch: Any) -> Any:
                calls.append(str(self.value))
                if self.value is None:
                    return None
                logits = torch.full((2, 8), self.value, dtype=torch.float64)
                return Judgement(logits, {}), Judgement(-logits, {})

        parts = [Answer(value=None), Answer(value=2.0), Answer(value=3.0)]
        batch = Batch(trainer_with(parts).game, "discriminator", 0)
        assert batch.judged_real.logits.unique().tolist() == [2.0]
        assert batch.judged_fake.logits.unique().tolist() == [-2.0]
        assert calls == ["None", "2.0"]
        apart = Batch(trainer_with(parts[:1]).game, "discriminator", 0)
        assert apart.judged_real.logits.unique().numel() == 16


class Dropping(nn.Module):
    """A discriminator whose logit is the mean of what dropout leaves of eight ones."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(8))
        self.drop = StreamDropout(0.5)

    def forward(self, x: Tensor) -> Judgement:
        h = self.drop(x[:, :1] * 0 + self.weight)
        return Judgement(h.mean(1), {"hidden": h})


class TestDropoutInD:
    """Each judging of an update has masks of its own, by its label."""

    def game(self, seeds: Sequence[int]) -> Game:
        plain = make_trainer([make_spec("ring8", "gan", precision="float64")]).game
        like = {"device": CPU, "dtype": torch.float64}
        generators = plain.G
        generators.keep([0] * len(seeds))
        return Game(
            variants.get("gan")(),
            [],
            generators,
            Stack([Dropping() for _ in seeds], torch.zeros(2, 2), **like),
            blueprint=Blueprint.plain("toy2d", 8, latent=4, shape=(2,), batch=8),
            data=plain.data,
            streams=Streams(seeds, CPU, torch.float64),
        )

    def test_labels_players_updates_runs_and_examples_have_their_own_masks(self) -> None:
        game = self.game([0, 1])
        rows = []
        for phase in ("discriminator", "generator"):
            for counter in (0, 1):
                batch = Batch(game, phase, counter)
                judged = [batch.judged_real, batch.judged_fake, batch.judge(batch.real, "more")]
                rows += [answer.features["hidden"].detach().flatten(1) for answer in judged]
        masks = torch.stack(rows).flatten(0, 1)
        assert masks.shape == (24, 64)
        assert masks.unique(dim=0).shape == (24, 64)
        assert masks.unique().tolist() == [0.0, 2.0]
        assert (masks == 0).double().mean().item() == pytest.approx(0.5, abs=0.05)

    def test_the_same_label_has_the_same_mask_whoever_judges(self) -> None:
        game = self.game([0])
        batch = Batch(game, "generator", 5)
        other = batch.against(game.D.theta * 3, 1)
        torch.testing.assert_close(other.judged_fake.logits, 3 * batch.judged_fake.logits)
        again = Batch(game, "generator", 5)
        assert torch.equal(again.judged_fake.logits, batch.judged_fake.logits)

    def test_a_run_drops_the_same_alone(self) -> None:
        both, alone = self.game([0, 1]), self.game([1])
        for label in ("real", "anything"):
            x = torch.zeros(2, 8, 2, dtype=torch.float64)
            found = Batch(both, "discriminator", 2).judge(x, label).logits[1]
            expected = Batch(alone, "discriminator", 2).judge(x[:1], label).logits[0]
            assert torch.equal(found, expected)


class TestEvaluated:
    """The weights that samples are drawn with."""

    def test_every_part_changes_them_in_order_and_training_keeps_its_own(self) -> None:
        class Times(Trick):
            """Multiplies the weights and adds 1."""

            factor: float

            def evaluated(self, game: Any, theta: Tensor) -> Tensor:
                return theta * self.factor + 1

        trainer = trainer_with([Times(factor=2.0), Times(factor=3.0)])
        game = trainer.game
        theta = game.G.theta.detach().clone()
        torch.testing.assert_close(game.evaluated(), (theta * 2 + 1) * 3 + 1)
        found = game.sample(8, "evaluation")
        assert torch.equal(game.G.theta, theta)
        plain = trainer_with([]).game
        with torch.no_grad():
            plain.G.theta.copy_((theta * 2 + 1) * 3 + 1)
        assert torch.equal(plain.sample(8, "evaluation"), found)
