"""Proves that conditional generators are measured under the shares that the data's classes have."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from harness.datasets.base import Dataset, datasets
from harness.metrics.evaluation import Evaluator
from harness.parts.conditions import in_proportion
from harness.testing.cells import CPU


@pytest.fixture
def unequal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Dataset:
    """Make 900 dark images of one class and 100 bright ones of another."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    random = np.random.RandomState(0)
    for name, count, level in (("a", 900, 40), ("b", 100, 220)):
        folder = tmp_path / "pictures" / name
        folder.mkdir(parents=True)
        for number in range(count):
            noise = random.normal(level, 10, (16, 16)).clip(0, 255).astype(np.uint8)
            Image.fromarray(noise).save(folder / f"{number:04d}.png")
    return datasets.get("folder")(path=str(tmp_path / "pictures"), size=16, channels=1)


def drawn(dataset: Dataset, classes: Tensor) -> Tensor:
    """Draw real training images by class, as a perfect conditional generator would give them."""
    train = dataset.load("train")
    assert train.labels is not None
    random = np.random.RandomState(1)
    chosen = []
    for label in classes.tolist():
        own = (train.labels == label).nonzero().flatten().numpy()
        chosen.append(int(random.choice(own)))
    return train.values[torch.tensor(chosen)]


def test_a_perfect_sampler_scores_as_one_under_the_datas_shares_only(
    unequal: Dataset, tmp_path: Path
) -> None:
    evaluator = Evaluator(
        unequal,
        extractor="thumbnail",
        samples=1000,
        reference="train",
        root=None,
        device=CPU,
        cache=tmp_path / "cache",
    )
    counts = evaluator.data.class_counts
    assert counts is not None
    train = unequal.load("train")
    assert sum(counts) == len(train)
    assert 0.85 < counts[0] / sum(counts) < 0.95
    images = torch.stack(
        [drawn(unequal, in_proportion(shares, 1000)) for shares in (counts, (1, 1))]
    )
    by_shares, equally = (each.values[evaluator.metrics[0].name] for each in evaluator(images))
    floor = evaluator.metrics[0].floor
    assert evaluator.metrics[0].primary and floor is not None
    assert by_shares < floor
    assert equally > 20 * floor


def test_the_classes_of_another_split_are_counted_there(unequal: Dataset, tmp_path: Path) -> None:
    for reference in ("train", "test"):
        evaluator = Evaluator(
            unequal,
            extractor="thumbnail",
            samples=100,
            reference=reference,
            root=None,
            device=CPU,
            cache=tmp_path / "cache",
        )
        labels = unequal.load(reference).labels
        assert labels is not None
        assert evaluator.data.class_counts == tuple(torch.bincount(labels).tolist())
