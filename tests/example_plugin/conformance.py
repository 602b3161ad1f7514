"""How a plugin is held to the kit: ``pytest conformance.py`` beside the plugin."""

from pathlib import Path

import numpy as np
import pytest
import torch

from harness.registry import load_plugin
from harness.testing import Check, check_objective, checks, make_spec
from harness.testing.cells import make_trainer
from harness.training.batch import Batch

load_plugin(str(Path(__file__).with_name("swirl.py")))

ALL = [
    *checks("variant", "geometric", datasets=["swirl", "digits"]),
    *checks("trick", "drift", hosts=[("swirl", "geometric"), ("digits", "wgan-gp")]),
    *checks("network", "tanh2d"),
    *checks("dataset", "swirl"),
    *checks("metric", "spread"),
    *checks("extractor", "edges"),
]


@pytest.mark.parametrize("check", ALL, ids=str)
def test_conforms(check: Check) -> None:
    check()


def test_the_objective() -> None:
    check_objective(
        "geometric",
        discriminator=lambda r, f: np.maximum(0, 1 - r).mean() + np.maximum(0, 1 + f).mean(),
        generator=lambda r, f: -f.mean(),
    )


def test_the_drift() -> None:
    spec = make_spec("swirl", "geometric", [("drift", {"weight": 0.5})], network="tanh2d")
    game = make_trainer([spec]).game
    batch = Batch(game, "discriminator", 0)
    with_it = game.discriminator_loss(batch)
    without = game.variant.discriminator_loss(game, batch)
    by_hand = 0.5 * (batch.judged_real.logits[0] ** 2).sum() / batch.size
    torch.testing.assert_close(with_it[0] - without[0], by_hand)
