"""Proves the average of G's weights: its formula, that it is measured, and kept."""

from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from harness.jobs.job import Job
from harness.parts import tricks
from harness.planning.cohorts import make_cohorts
from harness.sampling.generator import load_generator
from harness.store.folders import Store
from harness.store.reading import read_run
from harness.testing.cells import CPU, make_trainer, refusal, trainer_of
from harness.testing.specs import make_spec
from harness.training.checkpoint import last_state
from harness.training.trainer import Trainer


def average_by_hand(trainer: Trainer, updates: int, shares: list[float]) -> list[list[float]]:
    """Train, and average the first run's weights one number at a time; one row per update."""
    average = trainer.game.G.theta[0].tolist()
    rows = []
    for share in shares[:updates]:
        trainer.train_step()
        now = trainer.game.G.theta[0].tolist()
        average = [share * new + (1 - share) * old for old, new in zip(average, now, strict=True)]
        rows.append(average)
    return rows


def averaged(trainer: Trainer) -> Tensor:
    return trainer.game.memory["ema"]["theta"]


class TestEMA:
    """Formula, warm-up, half-life and what is measured."""

    @pytest.mark.parametrize(
        ("options", "shares"),
        [
            ({"decay": 0.9, "warm_up": False}, [0.1] * 6),
            ({"decay": 0.6}, [0.9, 9 / 11, 9 / 12, 9 / 13, 9 / 14, 9 / 15]),
            ({"decay": 0.2}, [0.9, 9 / 11, 0.8, 0.8, 0.8, 0.8]),
            ({"half_life": 8.0, "warm_up": False}, [0.5] * 6),
            ({"half_life": 16.0, "warm_up": False}, [1 - 0.5**0.5] * 6),
        ],
    )
    def test_formula(self, options: dict[str, Any], shares: list[float]) -> None:
        trainer = trainer_of("ring8", "gan", ("ema", options), runs=2, lr_g=0.01)
        rows = average_by_hand(trainer, 6, shares)
        assert averaged(trainer)[0].tolist() == pytest.approx(rows[-1], rel=1e-9, abs=1e-12)
        assert not torch.equal(averaged(trainer), trainer.game.G.theta)

    def test_images_halve_it_whatever_the_batch(self) -> None:
        """After as many images as the half-life, what was there at first counts one half."""
        for batch, updates in ((8, 4), (16, 2)):
            trainer = trainer_of(
                "ring8", "gan", ("ema", {"half_life": 32.0, "warm_up": False}), batch=batch
            )
            before = averaged(trainer).clone()
            with torch.no_grad():
                trainer.game.G.theta.add_(1.0)
            moved = trainer.game.G.theta.detach().clone()
            trainer.optimizer_g.lr.zero_()
            for _ in range(updates):
                trainer.train_step()
            torch.testing.assert_close(averaged(trainer), (before + moved) / 2)

    def test_the_default_is_a_decay(self) -> None:
        trick = tricks.get("ema")()
        assert (trick.decay, trick.half_life, trick.warm_up) == (0.999, None, True)
        again = tricks.get("ema").model_validate(trick.model_dump(mode="json"))
        assert again == trick
        other = tricks.get("ema")(half_life=1000)
        assert tricks.get("ema").model_validate(other.model_dump(mode="json")) == other

    @pytest.mark.parametrize(
        "options",
        [
            {"decay": 0.9, "half_life": 100.0},
            {"decay": None},
            {"decay": 1.0},
            {"decay": 0.0},
            {"half_life": 0},
            {"half_life": -5.0},
        ],
    )
    def test_exactly_one_definition_is_taken(self, options: dict[str, Any]) -> None:
        with pytest.raises(ValidationError):
            tricks.get("ema")(**options)

    @pytest.mark.parametrize("options", [{}, {"half_life": 30.0}])
    def test_training_is_as_without(self, options: dict[str, Any]) -> None:
        plain = trainer_of("ring8", "gan")
        averaging = trainer_of("ring8", "gan", ("ema", options))
        for trainer in (plain, averaging):
            for _ in range(3):
                trainer.train_step()
        assert torch.equal(plain.game.G.theta, averaging.game.G.theta)
        assert torch.equal(plain.game.D.theta, averaging.game.D.theta)

    @pytest.mark.parametrize("dataset", ["ring8", "digits"])
    def test_samples_are_the_averages_with_the_generators_own_buffers(self, dataset: str) -> None:
        variant = "dcgan" if dataset == "digits" else "gan"
        trainer = trainer_of(dataset, variant, ("ema", {"decay": 0.5}))
        for _ in range(3):
            trainer.train_step()
        game = trainer.game
        found = game.sample(8, "evaluation")
        average = averaged(trainer).clone()
        buffers = {name: value.clone() for name, value in game.G.buffers.items()}
        assert buffers
        plain = trainer_of(dataset, variant).game
        with torch.no_grad():
            plain.G.theta.copy_(game.G.theta)
            for name, value in buffers.items():
                plain.G.buffers[name].copy_(value)
            assert not torch.equal(plain.sample(8, "evaluation"), found)
            plain.G.theta.copy_(average)
        assert torch.equal(plain.sample(8, "evaluation"), found)

    def test_each_run_has_its_own_decay(self) -> None:
        specs = [
            make_spec("ring8", "gan", [("ema", {"decay": decay, "warm_up": False})], lr_g=0.01)
            for decay in (0.5, 0.9)
        ]
        assert len(make_cohorts(specs, "cpu")) == 1
        trainer = make_trainer(specs)
        before = averaged(trainer).clone()
        trainer.train_step()
        step = trainer.game.G.theta.detach() - before
        torch.testing.assert_close(averaged(trainer) - before, step * torch.tensor([[0.5], [0.1]]))

    def test_decays_and_half_lives_train_apart(self) -> None:
        specs = [
            make_spec("ring8", "gan", [("ema", options)])
            for options in ({"decay": 0.9}, {"half_life": 50.0}, {"half_life": 60.0})
        ]
        assert len(make_cohorts(specs, "cpu")) == 3

    def test_a_checkpoint_holds_it(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        spec = make_spec("ring8", "gan", [("ema", {"decay": 0.9})], steps=10)
        store = Store(tmp_path / "results")
        assert Job(store, CPU).train([spec]) == 0
        record = read_run(store.folder(spec))
        newest = last_state(record.path, spec.id)
        assert newest is not None
        tensors = newest.tensors()
        trainer = make_trainer([spec])
        for _ in range(newest.step):
            trainer.train_step()
        assert torch.equal(tensors["memory/ema/theta"], averaged(trainer)[0])
        resumed = make_trainer([spec])
        resumed.networks.load(0, tensors)
        assert torch.equal(resumed.game.sample(8, "e"), trainer.game.sample(8, "e"))

    def test_a_saved_generator_is_the_average(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """So that ``ganbench sample`` and ``export`` show what was measured."""
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        spec = make_spec("ring8", "gan", [("ema", {"decay": 0.9})], steps=10, lr_g=0.01)
        store = Store(tmp_path / "results")
        assert Job(store, CPU).train([spec]) == 0
        G = load_generator(store.folder(spec))
        trainer = make_trainer([spec])
        for _ in range(10):
            trainer.train_step()
        flat = torch.cat([value.flatten() for value in G.module.parameters()])
        torch.testing.assert_close(flat, averaged(trainer)[0])
        assert not torch.allclose(flat, trainer.game.G.theta[0])
        z, _ = G.inputs(spec.seed, 8)
        made = G(z, None, seed=spec.seed)
        torch.testing.assert_close(made, trainer.game.sample(8, "evaluation")[0])

    def test_it_applies_everywhere(self) -> None:
        for variant in ("gan", "wgan", "wgan-gp", "lsgan", "sngan", "vae"):
            assert refusal(make_spec("ring8", variant, ["ema"])) is None
