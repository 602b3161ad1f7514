"""The evaluator: equal to torch-fidelity, blind to its batches and cohort, safe against caches."""

import math
from dataclasses import asdict
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch_fidelity import calculate_metrics, register_feature_extractor
from torch_fidelity.feature_extractor_base import FeatureExtractorBase

from harness.datasets.base import Dataset, Examples, datasets, to_unit_range
from harness.datasets.digits import Digits
from harness.datasets.mixtures import Grid25, Ring8
from harness.datasets.splits import splits_of
from harness.datasets.torchvision import MNIST
from harness.errors import GanbenchError, UnknownNameError
from harness.metrics import applicable, kernel, reference
from harness.metrics.applicable import (
    conditions_of,
    default_extractor,
    metrics_for,
    protocol,
    require,
)
from harness.metrics.base import PERFECT
from harness.metrics.cache import ReferenceCache
from harness.metrics.classifier_score import ClassifierScore
from harness.metrics.density_coverage import DensityCoverage
from harness.metrics.evaluation import Evaluator
from harness.metrics.extractors.base import Extractor
from harness.metrics.extractors.classifiers import DigitsClassifier
from harness.metrics.extractors.thumbnail import ThumbnailExtractor
from harness.metrics.observer import Observer
from harness.metrics.reference import Measurement
from harness.store.folders import cache_folder
from harness.store.records import DataFacts, MetricInfo
from reports.sections.measurements import metric_table

CPU = torch.device("cpu")


def evaluator(dataset: Dataset, cache, samples: int, **changes) -> Evaluator:
    options = {"extractor": default_extractor(dataset), "reference": "train", **changes}
    return Evaluator(dataset, samples=samples, root=None, device=CPU, cache=cache, **options)


def value(evaluation, prefix: str) -> float:
    (found,) = [v for name, v in evaluation.values.items() if name.startswith(prefix)]
    return found


def noisy_digits(seed: int, count: int) -> torch.Tensor:
    """Make unevenly chosen, noisy digits, uint8."""
    random = np.random.RandomState(seed)
    images = Digits().load("validation").values[random.choice(120, count)].double().numpy()
    noisy = images + 60 * random.standard_normal(images.shape)
    return torch.from_numpy(noisy.clip(0, 255).astype(np.uint8))


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def digits(cache):
    return evaluator(Digits(), cache, samples=300)


@pytest.fixture(scope="module")
def ring(cache):
    return evaluator(Ring8(), cache, samples=2500)


@pytest.fixture(scope="module")
def some_digits():
    return to_unit_range(torch.stack([noisy_digits(seed, 300) for seed in range(3)]), torch.float32)


class ForTorchFidelity(FeatureExtractorBase):
    """One of our extractors as torch-fidelity wants its own."""

    extractor: ClassVar[type[Extractor]]

    def __init__(self, name, features_list, **kwargs):
        super().__init__(name, features_list)
        self.network = self.extractor.load(CPU).network

    def forward(self, images):
        # torch-fidelity asks for the layers in the order of a set, which changes by process.
        outputs = dict(zip(("features", "logits"), self.network(images), strict=True))
        # It computes in the features' precision, and means in float32 are not what they seem.
        return tuple(outputs[layer].double() for layer in self.features_list)

    @staticmethod
    def get_provided_features_list():
        return "features", "logits"


class Bytes(torch.utils.data.Dataset):
    """A data set of uint8 tensors, which torch-fidelity accepts."""

    def __init__(self, images):
        self.images = images

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        return self.images[index]


class DigitsForTorchFidelity(ForTorchFidelity):
    """The shipped classifier of digits."""

    extractor = DigitsClassifier


class ThumbnailForTorchFidelity(ForTorchFidelity):
    """Thumbnails, which colour images may have too."""

    extractor = ThumbnailExtractor


class Hues(Dataset):
    """Smooth colour images, of which each split has 1,010."""

    id = "hues"
    kind = "images"
    shape = (3, 16, 16)

    def read(self, split, root):
        return Examples(hues(len(split), 1010), None)


def hues(seed: int, count: int, contrast: float = 50) -> torch.Tensor:
    """Make smooth colour images, uint8."""
    draws = torch.Generator().manual_seed(seed)
    coarse = torch.randn(count, 3, 4, 4, generator=draws) * contrast + 128
    fine = torch.nn.functional.interpolate(coarse, (16, 16), mode="bilinear")
    return fine.clamp(0, 255).to(torch.uint8)


class TestAgainstTorchFidelity:
    @pytest.mark.parametrize("batch", [37, 256])
    @pytest.mark.parametrize("colour", [False, True])
    def test_all_that_both_measure_is_calculate_metrics(
        self, batch, colour, cache, request, monkeypatch
    ):
        monkeypatch.setattr(kernel, "SUBSETS", 5)
        dataset: Dataset = Hues() if colour else Digits()
        images = hues(0, 1010, 40) if colour else noisy_digits(1, 1197)
        name = f"custom-{request.node.name}"
        bridge = ThumbnailForTorchFidelity if colour else DigitsForTorchFidelity
        register_feature_extractor(name, bridge)
        scored = {"isc": True, "feature_layer_isc": "logits"} if not colour else {}
        # As many are generated as there are real ones, so that pairs are formed with them all.
        expected = calculate_metrics(
            input1=Bytes(images),
            input2=Bytes(dataset.load("train").values),
            cuda=False,
            fid=True,
            kid=True,
            prc=True,
            kid_subsets=5,
            feature_extractor=name,
            feature_layer_fid="features",
            feature_layer_kid="features",
            feature_layer_prc="features",
            batch_size=batch,
            save_cpu_ram=True,
            cache=False,
            verbose=False,
            **scored,
        )
        ours = evaluator(dataset, cache, len(images), extractor=bridge.extractor.id)
        (measured,) = ours(to_unit_range(images, torch.float32).unsqueeze(0))
        names = {
            "fd[": "frechet_inception_distance",
            "kd[": "kernel_inception_distance_mean",
            "precision[": "precision",
            "recall[": "recall",
        }
        for prefix, theirs in (
            names.items()
            if colour
            else {
                **names,
                "cs[": "inception_score_mean",
            }.items()
        ):
            assert value(measured, prefix) == pytest.approx(expected[theirs], rel=1e-6), prefix
        assert 0.05 < value(measured, "precision[") < 1
        assert 0.05 < value(measured, "recall[") < 1

    def test_levels_are_rounded_not_cut_off(self, digits, some_digits):
        exact = digits(some_digits)
        for shift in (-0.45, 0.45):
            assert digits(some_digits + shift / 127.5) == exact
        assert digits(some_digits - 1 / 127.5) != exact


class TestIndependence:
    def test_a_run_is_measured_as_if_alone(self, digits, ring, some_digits):
        together = digits(some_digits)
        assert together == [digits(run.unsqueeze(0))[0] for run in some_digits]
        assert len({one.diversity for one in together}) == 3
        points = torch.randn(3, 2500, 2, generator=torch.Generator().manual_seed(0))
        assert ring(points) == [ring(run.unsqueeze(0))[0] for run in points]

    def test_a_failed_run_does_not_touch_its_neighbours(self, digits, some_digits):
        spoilt = some_digits.clone()
        spoilt[1, 7] = math.nan
        before, after = digits(some_digits), digits(spoilt)
        assert (after[0], after[2]) == (before[0], before[2])
        assert all(math.isnan(v) for v in after[1].values.values())

    def test_batches_do_not_matter(self, cache, some_digits, monkeypatch):
        expected = evaluator(Digits(), cache, samples=300)(some_digits)
        for batch in (37, 299):
            monkeypatch.setattr(DigitsClassifier, "batch", batch)
            for one, other in zip(
                evaluator(Digits(), cache, samples=300)(some_digits), expected, strict=True
            ):
                assert one.histogram == other.histogram
                assert one.values == pytest.approx(other.values, rel=1e-5)

    def test_repeats_itself_exactly(self, digits, some_digits):
        assert digits(some_digits) == digits(some_digits)

    def test_precision_of_the_samples_does_not_matter(self, digits, some_digits):
        assert digits(some_digits.double()) == digits(some_digits)


class TestResults:
    def test_real_points_get_full_marks(self, ring):
        points = Ring8().load("validation").values[:2500].unsqueeze(0)
        (result,) = ring(points)
        assert value(result, "modes@") == 8
        assert value(result, "high-quality@") == pytest.approx(0.9889, abs=0.005)
        assert value(result, "energy[data]@2500/train") < 0.002
        assert value(result, "cs[data]@2500") == pytest.approx(8, abs=0.3)
        assert result.diversity == pytest.approx(1, abs=0.02)
        assert result.mode_coverage == 1
        assert sum(result.histogram) == round(2500 * value(result, "high-quality@"))

    def test_real_digits_get_full_marks(self, digits):
        values = Digits().load("validation").values
        (result,) = digits(to_unit_range(values, torch.float32).unsqueeze(0))
        assert result.mode_coverage == 1
        assert sum(result.histogram) == 300
        assert max(abs(count - 30) for count in result.histogram) <= 3
        assert result.diversity == pytest.approx(1, abs=0.05)
        assert value(result, "fd[") < 1
        assert value(result, "missing-classes[") == 0

    def test_half_the_modes_is_half_the_coverage(self, ring):
        real = Ring8().load("train")
        points = real.values[real.labels < 4][:2500].unsqueeze(0)
        (result,) = ring(points)
        assert result.mode_coverage == 0.5
        assert result.histogram[4:] == [0] * 4
        assert value(result, "mode-kl@") == pytest.approx(math.log(2), abs=0.02)
        assert value(result, "cs[") == pytest.approx(4, abs=0.1)

    @pytest.mark.parametrize("constant", [-1.0, 0.0, 0.3, 1.0, 5.0])
    def test_constant_generators(self, constant, digits, ring):
        (images,) = digits(torch.full((1, 300, 1, 16, 16), constant))
        assert all(math.isfinite(v) for v in images.values.values())
        assert images.diversity == 0
        assert images.mode_coverage == 0.1
        (points,) = ring(torch.full((1, 2500, 2), constant))
        undefined = {n for n, v in points.values.items() if not math.isfinite(v)}
        assert undefined <= {"mode-kl@2500"}
        assert points.diversity == 0

    @pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
    @pytest.mark.parametrize("everything", [True, False])
    def test_samples_that_are_not_finite(self, bad, everything, digits, ring):
        for evaluate, shape in ((digits, (300, 1, 16, 16)), (ring, (2500, 2))):
            samples = torch.zeros(1, *shape)
            samples[0, : None if everything else 1] = bad
            (result,) = evaluate(samples)
            assert all(math.isnan(v) for v in result.values.values())
            assert math.isnan(result.diversity)
            assert 0 <= result.mode_coverage <= 0.1
            assert sum(result.histogram) in (0, shape[0] - 1)

    def test_huge_points_are_an_answer(self, ring):
        (result,) = ring(torch.full((1, 2500, 2), 3e38) * torch.rand(1, 2500, 2))
        assert value(result, "energy[") > 1e30
        assert result.mode_coverage == 0

    def test_wrong_shapes_are_refused(self, ring):
        with pytest.raises(ValueError, match="2500"):
            ring(torch.zeros(1, 2499, 2))


class TestDescription:
    def test_columns(self, digits, ring):
        for one, primary in ((digits, "frechet"), (ring, "energy")):
            assert all(isinstance(info, MetricInfo) for info in one.metrics)
            assert [info.primary for info in one.metrics] == [True] + [False] * (
                len(one.metrics) - 1
            )
            assert one.metrics[0].metric == primary
            assert all(info.floor is not None for info in one.metrics)
        label = DigitsClassifier.label()
        assert digits.metrics[0].name == f"fd[{label}]@300/train"
        assert label.startswith("digits-cnn@") and len(label) == len("digits-cnn@") + 8

    def test_values_have_the_columns_in_order(self, digits, some_digits):
        assert list(digits(some_digits)[0].values) == [info.name for info in digits.metrics]

    def test_floors_are_real_data_of_the_test_split(self, ring):
        floors = {info.name: info.floor for info in ring.metrics}
        assert floors["modes@2500"] == 8
        assert floors["high-quality@2500"] == pytest.approx(0.9889, abs=0.01)
        assert {info.floor_count for info in ring.metrics} == {2500}
        random = np.random.RandomState(0)
        held_out = Ring8().load("test").values
        draws = [held_out[random.permutation(10_000)[:2500]] for _ in range(21)]
        results = [ring(draw.unsqueeze(0))[0].values for draw in draws]
        for name, floor in floors.items():
            assert floor == np.median([values[name] for values in results])

    @pytest.mark.parametrize(
        ("reference", "held_out"), [("train", "test"), ("test", "train"), ("validation", "train")]
    )
    def test_floors_stay_in_the_half_of_the_reference(self, reference, held_out, tmp_path):
        read: list[str] = []

        class Watched(Ring8):
            def read(self, split, root=None):
                read.append(split)
                return super().read(split, root)

        evaluator(Watched(), tmp_path, samples=100, reference=reference)
        assert read == [reference, held_out]

    def test_floor_with_more_samples_than_held_out(self, tmp_path):
        one = evaluator(Digits(), tmp_path, samples=400)
        assert all(math.isfinite(info.floor) for info in one.metrics)
        assert {info.floor_count for info in one.metrics} == {300}
        whole = evaluator(Digits(), tmp_path, samples=300)
        for wanted, info in zip(whole.metrics, one.metrics, strict=True):
            assert info.floor == wanted.floor

    def test_data_for_reports(self, digits, ring):
        assert digits.data == DataFacts(
            kind="images",
            shape=(1, 16, 16),
            classes=10,
            reference_count=1197,
            extractor=DigitsClassifier.label(),
            class_counts=(118, 122, 117, 123, 121, 122, 121, 119, 114, 120),
            class_names=tuple("0123456789"),
        )
        assert ring.data.class_names is None
        assert ring.data.modes == Ring8.modes.tolist()
        assert (ring.data.sigma, ring.data.extractor) == (0.01, "data")

    def test_points_of_unknown_modes(self, tmp_path):
        class Plane(Dataset):
            """Points of no known mixture."""

            id = "plane"
            kind = "points"
            shape = (2,)

            def read(self, split, root):
                random = np.random.RandomState(len(split))
                points = random.standard_normal((500, 2)).astype(np.float32)
                return Examples(torch.from_numpy(points), None)

        one = evaluator(Plane(), tmp_path, samples=200)
        assert [info.metric for info in one.metrics] == ["energy", "diversity"]
        (result,) = one(torch.randn(1, 200, 2))
        assert result.histogram is None
        assert math.isnan(result.mode_coverage)

    def test_default_extractors(self):
        chosen = [default_extractor(dataset) for dataset in (Ring8(), Grid25(), Digits(), MNIST())]
        assert chosen == ["data", "data", "digits-cnn", "mnist-cnn"]

        class Other(Digits):
            """Images no shipped classifier knows."""

        Other.id = "other"
        assert default_extractor(Other()) == "inception-v3-compat"

    def test_misfits_are_refused_with_what_to_use(self, tmp_path):
        with pytest.raises(GanbenchError, match="holds points; use 'data'"):
            protocol(Ring8(), extractor="digits-cnn", samples=100, reference="train")
        with pytest.raises(GanbenchError, match="holds images; use 'digits-cnn'"):
            evaluator(Digits(), tmp_path, samples=100, extractor="data")
        with pytest.raises(UnknownNameError, match="did you mean 'digits-cnn'"):
            require(Digits(), "digit-cnn", None)

        class Coloured(Digits):
            """Digits in three channels."""

            shape = (3, 16, 16)

        with pytest.raises(GanbenchError, match=r"of 1 channels, .* have 3"):
            require(Coloured(), "digits-cnn", None)
        require(Digits(), "digits-cnn", None)
        require(Ring8(), "data", None)


class TestProtocol:
    def test_everything_that_decides_a_number_changes_it(self, monkeypatch):
        base = {"extractor": "digits-cnn", "samples": 1000, "reference": "train"}
        seen = {protocol(Digits(), **base)}
        seen.add(protocol(Digits(), **{**base, "samples": 999}))
        seen.add(protocol(Digits(), **{**base, "reference": "test"}))
        seen.add(protocol(Ring8(), **{**base, "extractor": "data"}))
        seen.add(protocol(Grid25(), **{**base, "extractor": "data"}))
        with monkeypatch.context() as patch:
            patch.setattr(ClassifierScore, "version", 99)
            seen.add(protocol(Digits(), **base))
        with monkeypatch.context() as patch:
            patch.setattr(applicable, "PREPROCESSING", 99)
            seen.add(protocol(Digits(), **base))
        with monkeypatch.context() as patch:
            patch.setattr(DigitsClassifier, "weights_sha256", classmethod(lambda cls: "f" * 64))
            seen.add(protocol(Digits(), **base))
        assert len(seen) == 8
        assert protocol(Digits(), **base) in seen

    def test_reads_no_data(self, monkeypatch):
        def refuse(self, split, root):
            raise AssertionError("data were read")

        for name in ("ring8", "grid25", "digits"):
            monkeypatch.setattr(datasets.get(name), "read", refuse)
            dataset = datasets.get(name)()
            protocol(dataset, extractor=default_extractor(dataset), samples=100, reference="train")


class TestCache:
    def state(self, one: Evaluator) -> object:
        return [asdict(info) for info in one.metrics], one.data

    def test_second_use_reads_no_data_and_gives_the_same(self, tmp_path, some_digits, monkeypatch):
        first = evaluator(Digits(), tmp_path, samples=300)
        expected = first(some_digits)

        def refuse(self, split, root):
            raise AssertionError("data were read")

        monkeypatch.setattr(Digits, "read", refuse)
        second = evaluator(Digits(), tmp_path, samples=300)
        assert self.state(second) == self.state(first)
        assert second(some_digits) == expected

    @pytest.mark.parametrize("damage", ["flip", "truncate", "empty", "foreign"])
    def test_damaged_files_are_computed_again(self, damage, tmp_path):
        first = evaluator(Ring8(), tmp_path, samples=100)
        (file,) = tmp_path.iterdir()
        whole = file.read_bytes()
        flipped = bytearray(whole)
        flipped[-3] ^= 1
        file.write_bytes(
            {
                "flip": bytes(flipped),
                "truncate": whole[: len(whole) // 2],
                "empty": b"",
                "foreign": b"x" * 400,
            }[damage]
        )
        assert self.state(evaluator(Ring8(), tmp_path, samples=100)) == self.state(first)
        assert file.read_bytes() == whole

    def test_other_data_under_the_same_name_gets_another_key(self, tmp_path):
        first = evaluator(Ring8(), tmp_path, samples=100)

        class Moved(Ring8):
            """The same id and split, other content."""

            sha256: ClassVar[dict] = {}

            def read(self, split, root=None):
                examples = super().read(split, root)
                return Examples(examples.values + 5, examples.labels)

            def fingerprint(self):
                return "moved"

        second = evaluator(Moved(), tmp_path, samples=100)
        points = Ring8().load("validation").values[:100].unsqueeze(0)
        assert value(first(points)[0], "energy[") < 0.1
        assert value(second(points)[0], "energy[") > 10
        assert len(list(tmp_path.iterdir())) == 2

    def test_key_holds_split_count_preprocessing_weights_and_libraries(self, tmp_path, monkeypatch):
        extractor = DigitsClassifier.load(CPU, None)

        def key(samples=100, compared_with="train", requested=(), device=CPU):
            dataset = Digits()
            conditions = conditions_of(dataset, "digits-cnn", samples, compared_with)
            return Measurement(
                dataset,
                splits_of(compared_with),
                metrics_for(conditions, requested),
                Observer(conditions, extractor, device),
                None,
            ).key

        keys = [key(), key(101), key(compared_with="test"), key(device=torch.device("meta"))]
        for target, name, other in (
            (reference, "PREPROCESSING", 99),
            (reference, "version", lambda library: "99"),
            (ClassifierScore, "version", 99),
            (extractor, "sha256", "f" * 64),
            (DensityCoverage, "version", 99),
            (Digits, "shape", (1, 8, 8)),
        ):
            with monkeypatch.context() as patch:
                patch.setattr(target, name, other)
                keys.append(key())
        keys += [key(300, requested=requested) for requested in ((), ("frechet-infinity",))]
        store = ReferenceCache(tmp_path)
        assert len({store.path(key) for key in keys}) == len(keys) == 12

    def test_folder_that_cannot_be_written_costs_only_a_warning(self, tmp_path):
        blocked = tmp_path / "file"
        blocked.write_bytes(b"")
        with pytest.warns(UserWarning, match=r"cannot be kept in .*file.*computed again"):
            one = evaluator(Ring8(), blocked / "cache", samples=100)
        assert one.metrics[0].floor < 0.1

    def test_nothing_is_left_behind_but_whole_files(self, tmp_path):
        evaluator(Ring8(), tmp_path, samples=100)
        assert [path.suffix for path in tmp_path.iterdir()] == [".safetensors"]

    def test_default_folder(self, monkeypatch, tmp_path):
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        assert cache_folder() == tmp_path / "ganbench"
        monkeypatch.delenv("XDG_CACHE_HOME")
        monkeypatch.setenv("HOME", str(tmp_path / "home"))
        assert cache_folder() == tmp_path / "home" / ".cache" / "ganbench"


def perfect_divergences(samples: int) -> np.ndarray:
    """Draw how many samples of the ring are near each mode; return KL from uniform, by NumPy."""
    random = np.random.default_rng(1)
    hit = random.multinomial(random.binomial(samples, 1 - np.exp(-4.5), 2000), np.full(8, 1 / 8))
    shares = hit / hit.sum(1, keepdims=True)
    logarithms = np.log(8 * shares, where=shares > 0, out=np.zeros_like(shares))
    return (shares * logarithms).sum(1)


def kl_column(folder: Path, samples: int) -> MetricInfo:
    """Measure the calibration of the ring's KL over modes."""
    measured = evaluator(Ring8(), folder, samples)
    (column,) = [m for m in measured.metrics if m.name.startswith("mode-kl")]
    return column


def test_a_calibration_holds_what_a_perfect_sampler_scores(tmp_path) -> None:
    """A divergence of counts is never below 0 and skewed: its limits are those of the draws."""
    mean, low, high = kl_column(tmp_path, 250).calibration[PERFECT]
    divergences = perfect_divergences(250)
    assert 0 < low < mean < high
    assert mean == pytest.approx(divergences.mean(), rel=0.15)
    assert np.mean((low <= divergences) & (divergences <= high)) == pytest.approx(0.95, abs=0.03)


def test_a_report_says_of_a_perfect_sampler_what_its_draws_do(tmp_path) -> None:
    """Its row has the mean, and limits between which 95 % of the draws lie, as the note says."""
    table = metric_table("ring8", kl_column(tmp_path, 250), [], "kl")
    assert "means over draws, and the limits that 95 % of the draws lie between" in table.note
    (shown,) = [row[2] for row in table.rows if row[0].value == PERFECT]
    divergences = perfect_divergences(250)
    assert shown.value == pytest.approx(divergences.mean(), rel=0.15)
    assert shown.interval is not None
    inside = (shown.interval.low <= divergences) & (divergences <= shown.interval.high)
    assert inside.mean() == pytest.approx(0.95, abs=0.03)
    # Neither an interval of the mean, nor limits as of a normal law: this one begins at 0.
    assert shown.interval.low > 0
    assert shown.interval.high - shown.value > 1.3 * (shown.value - shown.interval.low)
