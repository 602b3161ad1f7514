"""What is kept of real data is found again by what the data and the formulas are, not by names."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

from harness.datasets.base import Dataset, Examples, Kind, datasets
from harness.datasets.digits import Digits
from harness.datasets.mixtures import Mixture, Ring8
from harness.metrics.applicable import default_extractor
from harness.metrics.cache import ReferenceCache
from harness.metrics.evaluation import Evaluator
from harness.metrics.probes.representation import Representation
from harness.networks.base import networks
from harness.planning.calibration import Calibration
from harness.planning.cohorts import workload_of
from harness.testing.specs import make_spec
from tests.plugins import load_anew, registered_apart

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def apart(monkeypatch: pytest.MonkeyPatch) -> None:
    registered_apart(monkeypatch)


def measured(
    dataset: Dataset, cache: Path, metric: str = "energy", extractor: str | None = None
) -> tuple[float, float]:
    """Measure a metric of real test data, and return it with the floor."""
    test = dataset.load("test").values[:2000]
    evaluator = Evaluator(
        dataset,
        extractor=extractor or default_extractor(dataset),
        samples=len(test),
        reference="train",
        root=None,
        device=CPU,
        cache=cache,
    )
    generated = test[:] if dataset.kind == "points" else test[:].float() / 127.5 - 1
    (result,) = evaluator(generated.unsqueeze(0))
    (name,) = (name for name in result.values if name.startswith(f"{metric}["))
    (floor,) = (info.floor for info in evaluator.metrics if info.name == name)
    return result.values[name], floor or 0.0


MIXTURE = """
from typing import ClassVar
import numpy as np
from harness.datasets.base import datasets
from harness.datasets.mixtures import Mixture

@datasets.register("triangle", source="nowhere")
class Triangle(Mixture):
    '''Three Gaussians.'''

    train_size = 50_000
    classes = 3
    modes = {scale} * np.array([[0.0, 1.0], [-1.0, -1.0], [1.0, -1.0]])
    sigma = 0.1
"""


def test_modes_three_times_as_far_apart_are_another_reference(tmp_path: Path) -> None:
    file = tmp_path / "triangle.py"
    found = []
    for scale in (1, 3):
        file.write_text(MIXTURE.format(scale=scale))
        load_anew(file)
        dataset = datasets.get("triangle")()
        kept = measured(dataset, tmp_path / "cache")
        assert kept == measured(dataset, tmp_path / "cache")
        assert kept == measured(dataset, tmp_path / f"empty-{scale}")
        found.append(kept)
    # Three times as far apart, the same points are as much farther; those of before 1.
    assert found[0][0] < 0.005 and found[1][0] < 0.015


class Changeable(Mixture):
    """Three Gaussians that a test changes where they stand."""

    id: ClassVar[str] = "changeable"
    classes: ClassVar[int | None] = 3
    modes: ClassVar[Any] = np.array([[0.0, 1.0], [-1.0, -1.0], [1.0, -1.0]])
    sigma: ClassVar[float] = 0.1


def move_modes(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Changeable, "modes", 3 * Changeable.modes)


def widen_modes(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Changeable, "sigma", 3.0)


def change_only_the_test_split(patch: pytest.MonkeyPatch) -> None:
    read = Changeable.read

    def changed(self: Mixture, split: Any, root: Path | None = None) -> Examples:
        examples = read(self, split, root)
        return Examples(3 * examples.values[:], examples.labels) if split == "test" else examples

    patch.setattr(Changeable, "read", changed)


def leave_labels_out(patch: pytest.MonkeyPatch) -> None:
    read = Changeable.read
    patch.setattr(
        Changeable,
        "read",
        lambda self, split, root=None: Examples(3 * read(self, split).values[:], None),
    )


@pytest.mark.parametrize(
    "change", [move_modes, widen_modes, change_only_the_test_split, leave_labels_out]
)
def test_whatever_changes_in_data_without_pins(
    change: Callable[[pytest.MonkeyPatch], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = measured(Changeable(), tmp_path / "cache")
    change(monkeypatch)
    after = measured(Changeable(), tmp_path / "cache")
    assert after == measured(Changeable(), tmp_path / "empty")
    assert after[1] != before[1]


class Stored(Dataset):
    """Images in a file of which the code says nothing."""

    id: ClassVar[str] = "stored"
    kind: ClassVar[Kind] = "images"
    shape: ClassVar[tuple[int, ...]] = (1, 16, 16)
    file: ClassVar[Path]

    def read(self, split: Any, root: Path | None = None) -> Examples:
        return Examples(torch.from_numpy(np.load(self.file)), None)


def test_data_in_a_file_that_changes(tmp_path: Path) -> None:
    Stored.file = tmp_path / "images.npy"
    values = Digits().load("train").values[:].numpy()
    for images in (values, 255 - values):
        np.save(Stored.file, images)
        assert measured(Stored(), tmp_path / "cache", "fd", "thumbnail")[0] < 5


@pytest.mark.parametrize("dataset", [Ring8(), Digits()], ids=["ring8", "digits"])
def test_pinned_data_is_not_read_to_be_named(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options: dict[str, Any] = {"samples": 300, "reference": "train", "root": None, "device": CPU}
    extractor = default_extractor(dataset)
    Evaluator(dataset, extractor=extractor, cache=tmp_path, **options)
    monkeypatch.setattr(type(dataset), "load", lambda *read: pytest.fail("read"))
    Evaluator(dataset, extractor=extractor, cache=tmp_path, **options)


METRIC = """
from harness.metrics.base import Metric, metrics
from harness.store.records import MetricInfo
from factor import FACTOR

@metrics.register("spread", source="nowhere")
class Spread(Metric):
    '''Generated standard deviation over the real one.'''

    def columns(self):
        return [self.column(self.conditions.name("spread", reference=True), "none", "ratio")]

    def reference(self, real):
        return {"std": FACTOR * real.features.std(0)}

    def values(self, generated, reference):
        return [float((generated.features.std(0) / reference["std"]).mean())]
"""


def test_a_metric_that_is_edited_under_its_version_is_measured_anew(tmp_path: Path) -> None:
    file = tmp_path / "spread.py"
    file.write_text(METRIC)
    found = []
    for factor in (1, 4):
        (tmp_path / "factor.py").write_text(f"FACTOR = {factor}.0\n")
        load_anew(file)
        found.append(measured(Ring8(), tmp_path / "cache", "spread"))
    assert found[0] == pytest.approx((1, 1), rel=0.05)
    assert found[1] == pytest.approx((0.25, 0.25), rel=0.05)


def test_a_metric_without_source_is_measured_every_time(tmp_path: Path) -> None:
    for factor in (1, 4):
        source = METRIC.replace("from factor import FACTOR", f"FACTOR = {factor}")
        exec(source, {"__name__": "typed"})
        value, _ = measured(Ring8(), tmp_path / "cache", "spread")
        assert value == pytest.approx(1 / factor, rel=0.05)
    assert not list((tmp_path / "cache").glob("*"))


EXTRACTOR = """
from torch import nn
from harness.metrics.extractors.base import Extractor, extractors

class Means(nn.Module):
    def forward(self, images):
        x = images.float().flatten(1)[:, :64] * {factor}
        return x, x.new_empty(len(x), 0)

@extractors.register("means", source="nowhere")
class MeansExtractor(Extractor):
    '''Some pixels.'''

    has_classes = False

    @classmethod
    def weights_sha256(cls):
        return "0" * 64

    @classmethod
    def require(cls, root=None):
        pass

    @classmethod
    def load(cls, device, root=None):
        return cls(Means().eval(), device, cls.weights_sha256())
"""


def test_an_extractor_that_is_edited_under_its_hash_looks_anew(tmp_path: Path) -> None:
    file = tmp_path / "means.py"
    found = []
    for factor in (1, 3):
        file.write_text(EXTRACTOR.format(factor=factor))
        load_anew(file)
        found.append(measured(Digits(), tmp_path / "cache", "fd", "means"))
    assert found[1] == pytest.approx((9 * found[0][0], 9 * found[0][1]), rel=1e-3)


def test_baselines_of_a_probe_are_those_of_its_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Digits, "sha256", {})
    cache = ReferenceCache(tmp_path)
    monkeypatch.setattr("harness.metrics.probes.representation.PATCHES", 2000)
    monkeypatch.setattr("harness.metrics.probes.representation.CENTROIDS", 20)
    before = Representation(Digits(), "train", None, cache).describe()["baselines"]
    read = Digits.read

    def half(self: Digits, split: Any, root: Path | None = None) -> Examples:
        examples = read(self, split, root)
        values = examples.values[:].clone()
        values[:, :, :, 6:] = 0
        return Examples(values, examples.labels)

    monkeypatch.setattr(Digits, "read", half)
    after = Representation(Digits(), "train", None, cache).describe()["baselines"]
    pixels = next(name for name in before if "pixels" in name)
    assert after[pixels]["share"] < before[pixels]["share"] - 0.1


NETWORK = """
from harness.networks.base import networks
from {module} import {base}

@networks.register("sized", source="nowhere")
class Sized({base}):
    '''As many layers as a test likes.'''
"""


def test_what_a_step_costs_is_measured_anew_of_a_network_that_is_edited(tmp_path: Path) -> None:
    file = tmp_path / "sized.py"
    family = networks.get("toy2d")
    keys = []
    for remark in ("", "# with other layers\n"):
        file.write_text(NETWORK.format(base=family.__name__, module=family.__module__) + remark)
        load_anew(file)
        kind = workload_of(make_spec("ring8", "gan", network="sized"))
        keys.append(json.dumps(Calibration("cpu", ["cpu"])._key(kind)))
    assert keys[0] != keys[1]
    plain = workload_of(make_spec("ring8", "gan", network="toy2d"))
    assert Calibration("cpu", ["cpu"])._key(plain)["code"] == []
