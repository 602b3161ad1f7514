"""The extractor without weights: what it computes, and what it leaves out."""

import pytest
import torch

from harness.datasets.digits import Digits
from harness.metrics.applicable import conditions_of, metrics_for
from harness.metrics.evaluation import Evaluator
from harness.metrics.extractors.thumbnail import ThumbnailExtractor

CPU = torch.device("cpu")


@pytest.mark.parametrize(("channels", "size"), [(1, 16), (3, 64)])
def test_features_are_means_of_fields(channels: int, size: int) -> None:
    draws = torch.Generator().manual_seed(0)
    shape = (5, channels, size, size)
    images = torch.randint(256, shape, generator=draws, dtype=torch.uint8)
    features, logits = ThumbnailExtractor.load(CPU).features(images)
    assert features.shape == (5, 64 * channels)
    assert logits.shape == (5, 0)
    field = size // 8
    by_hand = images[2, 0, field : 2 * field, :field].double().mean() / 255
    assert features[2, 8].item() == pytest.approx(by_hand.item(), rel=1e-6)


def test_nothing_that_needs_classes_is_measured() -> None:
    conditions = conditions_of(Digits(), "thumbnail", 200, "train")
    names = {metric.id for metric in metrics_for(conditions)}
    assert {"frechet", "diversity", "precision-recall"} <= names
    assert not {"class-histogram", "classifier-score"} & names


def test_real_data_is_nearer_than_noise() -> None:
    evaluator = Evaluator(
        Digits(), extractor="thumbnail", samples=200, reference="train", root=None, device=CPU
    )
    real = Digits().load("test").values[:200].double() / 127.5 - 1
    draws = torch.Generator().manual_seed(1)
    noise = torch.rand(real.shape, generator=draws, dtype=torch.float64) * 2 - 1
    name = evaluator.metrics[0].name
    assert name.startswith("fd[thumbnail@")
    good, bad = (found.values[name] for found in evaluator(torch.stack([real, noise])))
    assert 0 < good < bad / 10
