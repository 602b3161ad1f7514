"""Trains variants on the networks of their papers, on images of 32×32: alone as in a cohort."""

from typing import Any

import pytest
import torch

from harness.datasets.base import Examples
from harness.testing.cells import CPU, assert_near
from harness.testing.specs import make_spec
from harness.training.trainer import Trainer

REFERENCES: list[tuple[str, dict[str, Any], str]] = [
    ("sngan", {"d_steps": 2, "g_batch": 2}, "resnet32"),
    ("wgan-gp", {"d_steps": 1}, "resnet32"),
    ("sngan", {"g_batch": 2}, "cnn32"),
    ("r3gan", {}, "r3gan32"),
    ("gan-original", {"loss": "saturating"}, "maxout"),
    ("gan", {}, "mlp-s1"),
    ("gan", {}, "mlp-s1-eps"),
]


def images() -> Examples:
    generator = torch.Generator().manual_seed(12)
    return Examples(
        torch.randint(0, 256, (40, 1, 32, 32), generator=generator, dtype=torch.uint8),
        torch.arange(40) % 10,
    )


@pytest.mark.parametrize(("variant", "options", "network"), REFERENCES)
def test_a_run_does_not_know_its_cohort(
    variant: str, options: dict[str, Any], network: str
) -> None:
    specs = [
        make_spec(
            "mnist",
            (variant, options),
            network=network,
            seed=seed,
            width=4,
            precision="float64",
            lr_d=2e-4 * (seed + 1),
        )
        for seed in range(2)
    ]
    cohort, alone = Trainer(specs, images(), CPU), Trainer([specs[1]], images(), CPU)
    start = alone.state(0)
    for _ in range(3):
        cohort.train_step()
        alone.train_step()
    found = alone.state(0)
    assert_near(cohort.state(1), found, 1e-9)
    for player in ("generator", "discriminator"):
        names = [name for name in found if name.startswith(f"{player}/")]
        assert any(not torch.equal(start[name], found[name]) for name in names)
    assert cohort.read()[1] == [None, None]
