"""Metrics on Inception's real architecture, with weights made here: equal to torch-fidelity's."""

import pytest
import torch
from torch_fidelity import calculate_metrics, register_feature_extractor
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

from harness.metrics.base import Conditions, Metric, Observation
from harness.metrics.classifier_score import ClassifierScore
from harness.metrics.extractors.inception import FILE, InceptionV3
from harness.metrics.frechet import FrechetDistance
from harness.metrics.kernel import KernelDistance
from harness.metrics.precision_recall import PrecisionRecall
from tests.inception import write_random_weights

COUNT = 40
BATCH = 37


@pytest.fixture
def weights(tmp_path, monkeypatch):
    """Put random weights into a folder, and expect their hash."""
    monkeypatch.setattr(InceptionV3, "sha256_expected", write_random_weights(tmp_path))
    return tmp_path


class InDouble(FeatureExtractorInceptionV3):
    """Torch-fidelity's network; its metrics then compute in float64, as ours do."""

    def forward(self, images):
        return tuple(layer.double() for layer in super().forward(images))


class Pictures(torch.utils.data.Dataset):
    """A data set of uint8 tensors, which torch-fidelity accepts."""

    def __init__(self, images):
        self.images = images

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        return self.images[index]


def pictures(seed: int, count: int, contrast: float, tint: tuple[int, int, int]) -> torch.Tensor:
    """Make blurred noise, uint8 ``(count, 3, 32, 32)``."""
    draws = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, 3, 4, 4, generator=draws) * contrast
    smooth = torch.nn.functional.interpolate(coarse, (32, 32), mode="bilinear")
    noise = 30 * torch.rand(count, 3, 32, 32, generator=draws)
    return (smooth + noise + torch.tensor(tint)[:, None, None]).clamp(0, 255).to(torch.uint8)


def measured(metric: type[Metric], generated: Observation, real: Observation) -> list[float]:
    made = metric(Conditions("images", InceptionV3.label(), COUNT, "train"))
    return made.values(generated, made.reference(real))


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_every_shared_metric_is_calculate_metrics(weights):
    # Forty images leave torch-fidelity's eigenvalues of a 2048 × 2048 product with noise of 1e-6:
    # what is to be equal must not be small, so most of the generated images are red.
    real = pictures(1, COUNT, 150, (20, 20, 20))
    alike, red = pictures(3, 10, 150, (20, 20, 20)), pictures(0, COUNT - 10, 60, (150, 0, 0))
    generated = torch.cat([red, alike])
    register_feature_extractor("inception-in-double", InDouble)
    expected = calculate_metrics(
        input1=Pictures(generated),
        input2=Pictures(real),
        cuda=False,
        fid=True,
        isc=True,
        kid=True,
        prc=True,
        kid_subsets=1,
        kid_subset_size=COUNT,
        feature_extractor="inception-in-double",
        feature_extractor_weights_path=str(weights / FILE),
        feature_layer_fid="2048",
        feature_layer_kid="2048",
        feature_layer_prc="2048",
        feature_layer_isc="logits_unbiased",
        batch_size=BATCH,
        save_cpu_ram=True,
        cache=False,
        verbose=False,
    )
    extractor = InceptionV3.load(torch.device("cpu"), weights)
    ours = [Observation(*extractor.features(images)) for images in (generated, real)]
    (distance,) = measured(FrechetDistance, *ours)
    assert distance == pytest.approx(expected["frechet_inception_distance"], rel=1e-6)
    (distance,) = measured(KernelDistance, *ours)
    assert distance == pytest.approx(expected["kernel_inception_distance_mean"], rel=1e-6)
    (score,) = measured(ClassifierScore, *ours)
    assert score == pytest.approx(expected["inception_score_mean"], rel=1e-6)
    assert score > 1.01
    shares = measured(PrecisionRecall, *ours)
    assert shares == pytest.approx([expected["precision"], expected["recall"]], rel=1e-6)
    assert sum(shares) > 0
