"""Proves the two time scales: which rate each optimiser goes by, and that nothing else changes."""

import pytest
import torch
from pydantic import ValidationError

from harness.parts import Rates, tricks
from harness.testing.cells import make_trainer, refusal, trainer_of
from harness.testing.specs import make_spec


class TestTTUR:
    """Factors of the learning rates."""

    def test_formula(self) -> None:
        column = torch.tensor([[1e-3], [2e-3]], dtype=torch.float64)
        found = tricks.get("ttur")(d=3.0, g=0.25).rates(Rates(column, 5 * column, 0.5, 0.9), 0.7)
        assert found.lr_g.flatten().tolist() == pytest.approx([0.25e-3, 0.5e-3])
        assert found.lr_d.flatten().tolist() == pytest.approx([15e-3, 30e-3])
        assert (found.beta1, found.beta2) == (0.5, 0.9)

    def test_the_defaults_at_the_common_rate(self) -> None:
        trainer = trainer_of("ring8", "gan", "ttur", lr_g=2e-4, lr_d=2e-4)
        trainer.train_step()
        assert trainer.optimizer_d.lr.item() == pytest.approx(4e-4)
        assert trainer.optimizer_g.lr.item() == pytest.approx(1e-4)

    @pytest.mark.parametrize("optimizer", ["adam", "rmsprop", "sgd"])
    def test_training_is_that_of_the_settings_with_those_rates(self, optimizer: str) -> None:
        paced = trainer_of(
            "ring8", "gan", ("ttur", {"d": 4.0, "g": 0.5}), lr_g=2e-3, lr_d=1e-3,
            optimizer=optimizer, runs=2,
        )  # fmt: skip
        plain = trainer_of("ring8", "gan", lr_g=1e-3, lr_d=4e-3, optimizer=optimizer, runs=2)
        for trainer in (paced, plain):
            for _ in range(4):
                trainer.train_step()
        torch.testing.assert_close(paced.game.D.theta, plain.game.D.theta, rtol=1e-12, atol=1e-15)
        torch.testing.assert_close(paced.game.G.theta, plain.game.G.theta, rtol=1e-12, atol=1e-15)

    def test_the_factors_do_not_pile_up(self) -> None:
        trainer = trainer_of("ring8", "gan", "ttur")
        for _ in range(3):
            trainer.train_step()
        assert trainer.optimizer_d.lr.item() == pytest.approx(2 * 2e-4)

    def test_each_run_has_its_own_factors_also_when_one_is_left(self) -> None:
        specs = [make_spec("ring8", "gan", [("ttur", {"d": d})]) for d in (2.0, 8.0)]
        trainer = make_trainer(specs)
        trainer.train_step()
        assert trainer.optimizer_d.lr.flatten().tolist() == pytest.approx([4e-4, 16e-4])
        trainer.keep([1])
        trainer.train_step()
        assert trainer.optimizer_d.lr.flatten().tolist() == pytest.approx([16e-4])

    def test_one_time_scale_is_refused(self) -> None:
        with pytest.raises(ValidationError, match="one time scale; set lr_d and lr_g"):
            tricks.get("ttur")(d=2.0, g=2.0)
        for bad in ({"d": 0}, {"g": -1.0}):
            with pytest.raises(ValidationError):
                tricks.get("ttur")(**bad)

    def test_it_applies_everywhere(self) -> None:
        for variant in ("gan", "wgan", "wgan-gp", "lsgan", "sngan"):
            assert refusal(make_spec("ring8", variant, ["ttur"])) is None
