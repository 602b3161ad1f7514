"""Proves learning-rate decay: the factor over training, for both players, in the updates."""

import math

import pytest
import torch

from harness.parts import Rates, tricks
from harness.testing.cells import make_trainer, train
from harness.testing.specs import make_spec


class TestLRDecay:
    """Learning rates that fall to 0."""

    @pytest.mark.parametrize("form", ["linear", "cosine"])
    @pytest.mark.parametrize("start", [0.0, 0.25, 0.9])
    def test_formula(self, form: str, start: float) -> None:
        trick = tricks.get("lr-decay").stacked(
            [tricks.get("lr-decay")(form=form, start=s) for s in (start, 0.5)], dtype=torch.float64
        )
        column = torch.tensor([[0.2], [0.4]], dtype=torch.float64)
        rates = Rates(column, 3 * column, 5 * column, 7 * column)
        for progress in (0.0, 0.1, 0.25, 0.5, 0.75, 0.95, 1.0):
            found = trick.rates(rates, progress)
            for run, begin in enumerate((start, 0.5)):
                t = max(0.0, (progress - begin) / (1 - begin))
                factor = 1 - t if form == "linear" else (1 + math.cos(math.pi * t)) / 2
                base = column[run].item()
                assert found.lr_g[run].item() == pytest.approx(base * factor, abs=1e-15)
                assert found.lr_d[run].item() == pytest.approx(3 * base * factor, abs=1e-15)
            assert found.beta1 is rates.beta1
            assert found.beta2 is rates.beta2

    @pytest.mark.parametrize("start", [-0.1, 1.0])
    def test_what_is_no_share_is_refused(self, start: float) -> None:
        with pytest.raises(ValueError, match="start"):
            tricks.get("lr-decay")(start=start)

    def test_the_last_updates_are_the_smallest(self) -> None:
        specs = [
            make_spec("ring8", "gan", [("lr-decay", {"start": start})], seed=1, steps=10)
            for start in (0.0, 0.5)
        ]
        trainer = make_trainer(specs)
        used = []
        for _ in range(10):
            trainer.train_step()
            players = trainer.optimizer_g, trainer.optimizer_d
            used.append([player.lr.flatten().clone() for player in players])
        lr = specs[0].settings.lr_g
        for step, rates in enumerate(used):
            expected = [lr * (1 - step / 10), lr * min(1.0, 2 * (1 - step / 10))]
            for found in rates:
                assert found.tolist() == pytest.approx(expected, rel=1e-6)

    def test_training_follows(self) -> None:
        options = {"optimizer": "sgd", "beta1": 0.0, "lr_g": 0.1, "lr_d": 0.1, "steps": 4}
        cut = {**options, "lr_g": 0.075, "lr_d": 0.075}
        decaying = train([make_spec("ring8", "gan", ["lr-decay"], **options)], 1)
        plain = train([make_spec("ring8", "gan", **options)], 1)
        assert torch.equal(decaying.game.G.theta, plain.game.G.theta)
        decaying.train_step()
        slower = make_trainer([make_spec("ring8", "gan", **cut)])
        slower.load(0, plain.state(0), plain.counters())
        slower.train_step()
        torch.testing.assert_close(decaying.game.G.theta, slower.game.G.theta)
        torch.testing.assert_close(decaying.game.D.theta, slower.game.D.theta)
        plain.train_step()
        assert not torch.allclose(plain.game.G.theta, slower.game.G.theta)
