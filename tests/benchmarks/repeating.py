"""Evaluations one after the other, as while training: ours against torch-fidelity's as they come.

Both measure Fréchet distance, classifier score, kernel distance, precision and recall; ours
measures the rest of its columns too. Torch-fidelity keeps its reference features on disk, under a
name that is given to it, and both have seen the reference before the clock starts. A second ratio
is of the first two numbers alone, on both sides.
"""

from __future__ import annotations

import statistics
import tempfile
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch_fidelity import calculate_metrics, register_feature_extractor
from torch_fidelity.feature_extractor_base import FeatureExtractorBase

from harness.datasets.base import Dataset, Examples, datasets, to_bytes, to_unit_range
from harness.metrics.applicable import conditions_of
from harness.metrics.base import Metric, Observation
from harness.metrics.classifier_score import ClassifierScore
from harness.metrics.evaluation import Evaluator
from harness.metrics.extractors.base import extractors
from harness.metrics.extractors.classifiers import DigitsClassifier
from harness.metrics.extractors.inception import FILE, InceptionV3
from harness.metrics.frechet import FrechetDistance
from tests.inception import write_random_weights

ROUNDS = 5
SMALL = 2000
LARGE = 10_000


class Bytes(torch.utils.data.Dataset[Tensor]):
    """A data set of uint8 tensors, which torch-fidelity accepts."""

    def __init__(self, images: Tensor) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Tensor:
        return self.images[index]


class DigitsForTorchFidelity(FeatureExtractorBase):  # type: ignore[misc]
    """The shipped classifier of digits as torch-fidelity wants its extractors."""

    def __init__(self, name: str, features_list: list[str], **kwargs: Any) -> None:
        super().__init__(name, features_list)
        self.network = DigitsClassifier.load(torch.device("cpu")).network

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Give the layers in the order in which they are asked for."""
        outputs = dict(zip(("features", "logits"), self.network(images), strict=True))
        return tuple(outputs[layer] for layer in self.features_list)

    @staticmethod
    def get_provided_features_list() -> tuple[str, str]:
        """Name the layers."""
        return "features", "logits"


class Noise(Dataset):
    """Colour images of 32×32, as many in each split as are generated."""

    id = "noise"
    kind = "images"
    shape = (3, 32, 32)

    def read(self, split: str, root: Path | None) -> Examples:
        """Draw a split."""
        draws = torch.Generator().manual_seed(len(split))
        return Examples(torch.randint(256, (LARGE, *self.shape), generator=draws).byte(), None)

    def fingerprint(self) -> str:
        """Name the content."""
        return f"noise-{LARGE}"


def measure() -> dict[str, object]:
    """Compare on the CPU, with the small classifier and 2,000 digits."""
    torch.set_num_threads(1)
    digits = datasets.get("digits")()
    real = digits.load("train").values[:]
    made = real[torch.arange(SMALL) % len(real)].float()
    noise = 40 * torch.randn(made.shape, generator=torch.Generator().manual_seed(0))
    images = (made + noise).clamp(0, 255).byte()
    name = f"digits-{uuid.uuid4().hex}"
    register_feature_extractor(name, DigitsForTorchFidelity)
    layers = {f"feature_layer_{metric}": "features" for metric in ("fid", "kid", "prc")}
    options = {**layers, "feature_layer_isc": "logits", "feature_extractor": name, "cuda": False}
    with tempfile.TemporaryDirectory() as folder:
        ours = evaluator(digits, "digits-cnn", SMALL, Path(folder), torch.device("cpu"))
        two = two_numbers(digits, "digits-cnn", real, Path(folder), torch.device("cpu"))
        return {
            "benchmark": f"repeated evaluations: digits-cnn, {SMALL} images, CPU",
            **compare(ours, two, images, real, folder, options),
        }


def measure_on_gpu() -> dict[str, object]:
    """Compare on a GPU, with Inception and 10,000 images; says so where there is none."""
    benchmark = f"repeated evaluations: Inception, {LARGE} images, GPU"
    if not torch.cuda.is_available():
        return {"benchmark": benchmark, "skipped": "no CUDA device"}
    device = torch.device("cuda")
    noise = Noise()
    images, real = noise.read("test", None).values[:], noise.read("train", None).values[:]
    with tempfile.TemporaryDirectory() as folder:
        # What the weights are changes nothing about the time.
        digest = write_random_weights(Path(folder))
        options = {
            "feature_extractor": "inception-v3-compat",
            "feature_extractor_weights_path": str(Path(folder) / FILE),
            **{f"feature_layer_{metric}": "2048" for metric in ("fid", "kid", "prc")},
            "feature_layer_isc": "logits_unbiased",
            "cuda": True,
        }
        with mock.patch.object(InceptionV3, "sha256_expected", digest):
            ours = evaluator(noise, "inception-v3-compat", LARGE, Path(folder), device)
            two = two_numbers(noise, "inception-v3-compat", real, Path(folder), device)
        made = images.to(device)
        return {"benchmark": benchmark, **compare(ours, two, made, real, folder, options)}


def evaluator(
    dataset: Dataset, extractor: str, samples: int, folder: Path, device: torch.device
) -> Evaluator:
    """Build an evaluator that keeps its reference in a folder of its own."""
    return Evaluator(
        dataset,
        extractor=extractor,
        samples=samples,
        reference="train",
        root=folder,
        device=device,
        cache=folder / "ours",
    )


def two_numbers(
    dataset: Dataset, name: str, real: Tensor, root: Path, device: torch.device
) -> Callable[[Tensor], object]:
    """Return what measures Fréchet distance and classifier score of bytes, and nothing else."""
    conditions = conditions_of(dataset, name, len(real), "train")
    chosen: list[Metric] = [FrechetDistance(conditions), ClassifierScore(conditions)]
    extractor = extractors.get(name).load(device, root)
    references = [metric.reference(Observation(*extractor.features(real))) for metric in chosen]

    def measure_two(images: Tensor) -> object:
        seen = Observation(*extractor.features(images))
        return [m.values(seen, kept) for m, kept in zip(chosen, references, strict=True)]

    return measure_two


def compare(
    ours: Evaluator,
    two: Callable[[Tensor], object],
    images: Tensor,
    real: Tensor,
    folder: str,
    options: dict[str, Any],
) -> dict[str, object]:
    """Time both ways in turn, so that a noisy neighbour slows both."""
    generated = to_unit_range(images, torch.float32)[None]
    theirs = {
        **options,
        "input1": Bytes(images.cpu()),
        "input2": Bytes(real),
        "input2_cache_name": "reference",
        "cache_root": f"{folder}/theirs",
        "verbose": False,
    }
    ways: dict[str, Callable[[], object]] = {
        "ours": lambda: ours(generated),
        "calculate_metrics": lambda: calculate_metrics(
            fid=True, isc=True, kid=True, prc=True, **theirs
        ),
        "ours, two numbers": lambda: two(to_bytes(generated[0])),
        "calculate_metrics, two numbers": lambda: calculate_metrics(fid=True, isc=True, **theirs),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for way in ways.values():
        way()
    for _ in range(ROUNDS):
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            seconds[name].append(time.perf_counter() - start)
    found: dict[str, object] = {
        "seconds": {name: statistics.median(times) for name, times in seconds.items()}
    }
    for what in ("", ", two numbers"):
        pairs = zip(seconds["calculate_metrics" + what], seconds["ours" + what], strict=True)
        ratios = [slow / fast for slow, fast in pairs]
        found["ratio" + what] = statistics.median(ratios)
        found[f"ratio{what}, range"] = [min(ratios), max(ratios)]
    return found
