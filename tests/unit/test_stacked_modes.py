"""Coverage of stacked digits: its numbers, its calibration, and what real MNIST scores."""

import math
import os
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from harness.datasets import stacked
from harness.datasets.digits import Digits
from harness.datasets.mixtures import Ring8
from harness.datasets.splits import ReportSplits, Splits, TuningSplits
from harness.datasets.stacked import StackedDigits, StackedMNIST
from harness.errors import DataError
from harness.metrics import stacked_modes
from harness.metrics.applicable import conditions_of, metrics_for, protocol
from harness.metrics.base import PERFECT, Observation
from harness.metrics.evaluation import Evaluator
from harness.metrics.extractors.stacked import StackedDigitsClassifier, StackedMNISTClassifier
from harness.metrics.stacked_modes import StackedModes, coverage

CPU = torch.device("cpu")
REPORTED = ReportSplits("train")
LIMITED = "real images of exactly 100 modes"
TRAINING = "real training images"


def metric_of(samples: int = 26_000) -> StackedModes:
    return StackedModes(
        conditions_of(StackedDigits(), StackedDigitsClassifier.id, samples, "train")
    )


def labelled(labels: np.ndarray) -> Observation:
    logits = torch.zeros(len(labels), 1000, dtype=torch.float64)
    logits[torch.arange(len(labels)), torch.from_numpy(labels)] = 1.0
    return Observation(torch.zeros(len(labels), 1), logits)


def known(metric: StackedModes, labels: np.ndarray) -> dict[str, list[float]]:
    """Calibrate with a classifier that answers what it is told."""
    dataset = StackedDigits()
    found = metric.calibrate(dataset, REPORTED, None, lambda values: labelled(labels))
    return {label: np.mean(draws, axis=0).tolist() for label, draws in found.items()}


class TestNumbers:
    def test_equal_a_count_by_hand(self):
        labels = np.random.RandomState(3).zipf(1.6, size=500) % 1000
        counts: dict[int, int] = {}
        for label in labels.tolist():
            counts[label] = counts.get(label, 0) + 1
        divergence = sum(n / 500 * math.log(n / 500 / (1 / 1000)) for n in counts.values())
        found = metric_of(500).values(labelled(labels), {})
        assert found[0] == len(counts)
        assert found[1] == sum(n >= 6 for n in counts.values())
        assert found[2] == pytest.approx(divergence, rel=1e-12)

    def test_one_mode_is_the_logarithm_of_a_thousand(self):
        counts = torch.zeros(1000, dtype=torch.int64)
        counts[123] = 26_000
        assert coverage(counts) == [1, 1, pytest.approx(math.log(1000), rel=1e-12)]

    def test_five_hits_are_not_often(self):
        counts = torch.tensor([6, 5, 0])
        assert coverage(counts)[:2] == [2, 1]

    def test_the_histogram_says_which(self):
        histogram = metric_of(3).histogram(labelled(np.array([7, 7, 999])))
        assert (len(histogram), histogram[7], histogram[999], sum(histogram)) == (1000, 2, 1, 3)


class TestCalibration:
    def test_a_perfect_sampler_is_not_at_zero(self):
        blind = labelled(np.zeros(26_000, dtype=np.int64))
        draws = metric_of().calibrate(StackedDigits(), REPORTED, None, lambda values: blind)[
            PERFECT
        ]
        modes, often, divergence = np.array(draws).T
        assert modes.min() == often.min() == 1000
        readme = " ".join((Path(stacked_modes.__file__).parent / "README.md").read_text().split())
        said = re.search(
            r"perfect sampler's KL is (\S+), with a standard deviation of (\S+);", readme
        )
        assert said is not None
        assert divergence.mean() == pytest.approx(float(said[1]), abs=0.0003)
        assert divergence.std(ddof=1) == pytest.approx(float(said[2]), abs=0.0001)
        # Half of chi square with 999 degrees of freedom, over N, to first order.
        assert divergence.mean() == pytest.approx(999 / (2 * 26_000), rel=0.02)

    def test_a_limited_sampler_shows_what_the_classifier_adds(self):
        truth = StackedDigits().limited(100, 26_000, "test").labels.numpy()
        honest = known(metric_of(), truth)[LIMITED]
        assert honest[:2] == [100, 100]
        assert honest[2] == pytest.approx(math.log(10), abs=0.005)
        random = np.random.RandomState(0)
        wrong = random.rand(len(truth)) < 0.01
        mistaken = np.where(wrong, truth // 10 * 10 + random.randint(10, size=len(truth)), truth)
        assert known(metric_of(), mistaken)[LIMITED][0] > 150

    def test_a_limited_sampler_draws_real_images_of_its_modes_evenly(self):
        dataset = StackedDigits()
        limited = dataset.limited(100, 5000, "test")
        counts = torch.bincount(limited.labels, minlength=1000)
        assert int((counts > 0).sum()) == 100
        assert 20 < int(counts[counts > 0].min()) <= int(counts.max()) < 90
        single, digits = dataset._single("test", None)
        assert torch.equal(limited.values.images, single)
        written = digits[limited.values.triples]
        assert torch.equal((written * torch.tensor([100, 10, 1])).sum(1), limited.labels)
        assert limited.sha256 == dataset.limited(100, 5000, "test").sha256

    @pytest.mark.parametrize(
        ("splits", "other"),
        [
            (ReportSplits("train"), "validation"),
            (ReportSplits("test"), "validation"),
            (TuningSplits(), "test"),
        ],
    )
    def test_it_reads_no_split_of_the_other_half(self, splits: Splits, other, monkeypatch):
        read, load = [], Digits.load

        def noted(self, split, root=None):
            read.append(split)
            return load(self, split, root)

        monkeypatch.setattr(Digits, "load", noted)
        blind = labelled(np.zeros(50, dtype=np.int64))
        metric_of(50).calibrate(StackedDigits(), splits, None, lambda values: blind)
        assert set(read) == {"train", "validation", "test"} - {other}

    def test_an_evaluator_measures_it_once(self, tmp_path, monkeypatch):
        sizes = {"train": (900, 1), "validation": (300, 2), "test": (300, 3)}
        monkeypatch.setattr(stacked, "SPLITS", sizes)
        pins = {split: StackedDigits().read(split).sha256 for split in sizes}
        monkeypatch.setattr(StackedDigits, "sha256", pins)

        def made() -> Evaluator:
            return Evaluator(
                StackedDigits(),
                extractor=StackedDigitsClassifier.id,
                samples=400,
                reference="train",
                root=None,
                device=CPU,
                cache=tmp_path,
            )

        first = made()
        monkeypatch.setattr(StackedDigits, "read", None)
        assert made().metrics == first.metrics
        label = StackedDigitsClassifier.label()
        by_name = {info.name: info for info in first.metrics}
        modes = by_name[f"modes[{label}]@400"]
        assert (modes.better, modes.metric) == ("higher", "stacked-modes")
        assert modes.calibration.keys() == {PERFECT, LIMITED, TRAINING}
        mean, low, high = modes.calibration[PERFECT]
        assert low <= 1000 * (1 - 0.999**400) <= high
        assert modes.calibration[TRAINING] == [pytest.approx(mean, abs=1.3 * (high - low))]
        (apparent,) = modes.calibration[LIMITED]
        assert 95 <= apparent <= 140
        assert not first.metrics[0].calibration

    def test_mixtures_have_theirs(self, tmp_path):
        one = Evaluator(
            Ring8(), extractor="data", samples=2500, reference="train", root=None, device=CPU,
            cache=tmp_path,
        )  # fmt: skip
        found = {info.name: info.calibration.get(PERFECT) for info in one.metrics}
        assert found["modes@2500"] == [8, 8, 8]
        mean, low, high = found["high-quality@2500"]
        exact = 1 - math.exp(-4.5)
        assert mean == pytest.approx(exact, abs=5e-4)
        assert high - low == pytest.approx(3.92 * math.sqrt(exact * (1 - exact) / 2500), rel=0.2)


class TestNames:
    def test_no_number_has_two_names(self):
        label = StackedMNISTClassifier.label()
        conditions = conditions_of(StackedMNIST(), StackedMNISTClassifier.id, 26_000, "train")
        names = [c.name for metric in metrics_for(conditions) for c in metric.columns()]
        assert {f"modes[{label}]@26k", f"modes-6[{label}]@26k", f"mode-kl[{label}]@26k"} <= {*names}
        assert not [name for name in names if name.startswith(("missing-classes", "class-"))]

    def test_without_the_right_classifier_there_is_none(self):
        conditions = conditions_of(StackedMNIST(), "thumbnail", 26_000, "train")
        assert not any(isinstance(metric, StackedModes) for metric in metrics_for(conditions))
        asked = {"samples": 26_000, "reference": "train"}
        assert protocol(StackedMNIST(), extractor="thumbnail", **asked) != protocol(
            StackedMNIST(), extractor=StackedMNISTClassifier.id, **asked
        )


@pytest.mark.slow
def test_real_mnist_has_all_modes():
    """Real training images, as in the literature; the held-out halves have rarer digits."""
    root = os.environ.get("GANBENCH_DATA")
    if root is None:
        pytest.skip("MNIST is not here; GANBENCH_DATA names no folder with it")
    try:
        real = StackedMNIST().load("train", Path(root))
    except DataError:
        pytest.skip("MNIST is not here; GANBENCH_DATA names no folder with it")
    classifier = StackedMNISTClassifier.load(CPU)
    counts = torch.zeros(1000, dtype=torch.int64)
    for start in range(0, 26_000, 2000):
        _, logits = classifier.features(real.values[start : start + 2000])
        counts += torch.bincount(logits.argmax(1), minlength=1000)
    modes, often, divergence = coverage(counts)
    assert (modes, often) == (1000, 1000)
    assert 0.019 <= divergence <= 0.026
