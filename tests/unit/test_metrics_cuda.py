"""Metrics on a GPU: the same numbers as on the CPU, from features that never leave it."""

from pathlib import Path

import pytest
import torch

from harness.datasets.base import to_unit_range
from harness.datasets.digits import Digits
from harness.datasets.mixtures import Ring8
from harness.metrics.applicable import default_extractor
from harness.metrics.evaluation import Evaluator

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]


@pytest.mark.parametrize("name", ["digits", "ring8"])
def test_numbers_are_those_of_the_cpu(name: str, tmp_path: Path) -> None:
    dataset = Digits() if name == "digits" else Ring8()
    values = dataset.load("train").values[:1000]
    noise = torch.randn(values.shape, generator=torch.Generator().manual_seed(0))
    if dataset.kind == "images":
        made = to_unit_range(values, torch.float32) + 0.3 * noise
    else:
        made = values + 0.01 * noise
    found = {}
    for device in (torch.device("cpu"), torch.device("cuda", 0)):
        evaluator = Evaluator(
            dataset,
            extractor=default_extractor(dataset),
            samples=1000,
            reference="train",
            root=None,
            device=device,
            cache=tmp_path,
        )
        generated = torch.stack([made, made.flip(0)]).to(device)
        look = evaluator.observe(generated)
        assert look(1).examples.features.device.type == device.type
        together = evaluator(generated)
        assert together == [evaluator(run[None])[0] for run in generated]
        found[device.type] = together[0].values
    # Convolutions differ in the last bits of float32; shares may then differ by single images.
    assert found["cuda"] == pytest.approx(found["cpu"], rel=1e-3, abs=5e-3)
    assert len(list(tmp_path.iterdir())) == 2
