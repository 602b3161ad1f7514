"""The built-in data sets: content, splits, pinned hashes, and errors that say what to do."""

import gzip
import hashlib
import math
import os
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.functional import interpolate

from harness.datasets import digits as digits_module
from harness.datasets.base import Dataset, datasets, from_options
from harness.datasets.digits import Digits, digits_file, enlarge, split_indices
from harness.datasets.mixtures import Gauss1D, Grid25, Mixture, Ring8, grid, ring
from harness.datasets.stacked import Stack, StackedDigits, StackedMNIST
from harness.datasets.torchvision import MNIST
from harness.errors import DataError
from harness.spec import Split

SPLITS: list[Split] = ["train", "validation", "test"]
BUILT_IN = [Ring8, Grid25, Digits]
EMBEDDED = [
    *(dataset() for dataset in (*BUILT_IN, StackedDigits)),
    *(Gauss1D(gaussians=n) for n in (1, 2)),
    *(mixture(points=100_000) for mixture in (Ring8, Grid25)),
]


@pytest.mark.parametrize("dataset", EMBEDDED, ids=repr)
@pytest.mark.parametrize("split", SPLITS)
def test_content_is_what_is_pinned(dataset, split):
    examples = dataset.load(split)
    assert examples.sha256 == dataset.sha256[split]
    assert examples.values.shape[1:] == dataset.shape
    assert examples.labels.dtype == torch.int64
    assert sorted(examples.labels.unique().tolist()) == list(range(dataset.classes))
    assert split != "train" or len(examples) == dataset.train_size


@pytest.mark.parametrize("dataset", [*BUILT_IN, MNIST, StackedMNIST, StackedDigits])
def test_fingerprint_needs_no_data_and_covers_every_split(dataset, monkeypatch):
    def refuse(self, split, root):
        raise AssertionError("data were read")

    monkeypatch.setattr(dataset, "read", refuse)
    before = dataset().fingerprint()
    for split in SPLITS:
        other = {**dataset().sha256, split: "0" * 64}
        with monkeypatch.context() as patch:
            patch.setattr(dataset, "sha256", other)
            assert dataset().fingerprint() != before


def test_fingerprints_differ():
    names = ["ring8", "grid25", "digits", "mnist", "stacked-mnist", "stacked-digits", "gauss1d"]
    found = {datasets.get(name)().fingerprint() for name in names}
    assert len(found | {Gauss1D(gaussians=2).fingerprint()}) == 8


def test_the_hash_is_of_dtype_shape_and_bytes_however_many_there_are():
    examples = Ring8().read("test")
    digest = hashlib.sha256()
    for tensor in (examples.values, examples.labels):
        digest.update(f"{tensor.dtype}{tuple(tensor.shape)}".encode())
        digest.update(tensor.numpy().tobytes())
    assert examples.sha256 == digest.hexdigest()


def test_an_attribute_may_follow_from_options():
    class Square(Dataset):
        """Squares of some size."""

        size: int = 3
        kind = "images"

        @from_options
        def shape(self):
            return (1, self.size, self.size)

    assert (Square().shape, Square(size=5).shape) == ((1, 3, 3), (1, 5, 5))
    Square.id = "square"
    assert Square().fingerprint() != Square(size=5).fingerprint()


def test_importing_and_loading_stays_light():
    code = (
        "import sys; import harness.metrics.evaluation\n"
        "from harness.datasets.base import datasets\n"
        "datasets.get('digits')().load('train'); datasets.get('ring8')().load('train')\n"
        "heavy = {'sklearn', 'torchvision', 'torch_fidelity', 'scipy', 'pandas'}\n"
        "sys.exit(' '.join(heavy & set(sys.modules)) or None)"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr


class TestMixtures:
    def test_ring_closes_without_doubling_its_first_mode(self):
        modes = Ring8.modes
        assert modes.shape == (8, 2)
        assert np.allclose(np.linalg.norm(modes, axis=1), 1)
        distances = np.linalg.norm(modes[:, None] - modes[None], axis=2)
        nearest = distances[~np.eye(8, dtype=bool)].min()
        assert nearest == pytest.approx(2 * np.sin(np.pi / 8))
        assert modes[0].tolist() == [1.0, 0.0]
        assert modes[2].tolist() == [0.0, 1.0]

    def test_grid_is_the_published_one(self):
        assert {tuple(mode) for mode in Grid25.modes} == {
            (x, y) for x in (-4.0, -2.0, 0.0, 2.0, 4.0) for y in (-4.0, -2.0, 0.0, 2.0, 4.0)
        }
        assert (Ring8.sigma, Grid25.sigma) == (0.01, 0.05)

    def test_modes_cannot_be_changed(self):
        with pytest.raises(ValueError, match="read-only"):
            Ring8.modes[0] = 5

    @pytest.mark.parametrize("dataset", [Ring8, Grid25])
    @pytest.mark.parametrize(
        ("split", "count"), [("train", 50_000), ("validation", 10_000), ("test", 10_000)]
    )
    def test_points_are_gaussian_about_their_modes(self, dataset, split, count):
        examples = dataset().load(split)
        assert examples.values.dtype == torch.float32
        assert len(examples) == count
        residuals = (examples.values.double().numpy() - dataset.modes[examples.labels.numpy()]) / (
            dataset.sigma
        )
        assert abs(residuals.mean(0)).max() < 4 / np.sqrt(count)
        assert np.cov(residuals, rowvar=False) == pytest.approx(np.eye(2), abs=6 / np.sqrt(count))
        shares = np.bincount(examples.labels) / count
        expected = 1 / dataset.classes
        assert abs(shares - expected).max() < 5 * np.sqrt(expected / count)

    @pytest.mark.parametrize(
        "mixture", [Ring8(), Grid25(), Gauss1D(), Gauss1D(gaussians=2)], ids=repr
    )
    def test_density_is_that_of_the_points(self, mixture):
        dimensions = mixture.shape[0]
        where = mixture.modes[0] + 0.7 * mixture.sigma
        expected = sum(
            math.exp(-((where - mode) ** 2).sum() / (2 * mixture.sigma**2))
            for mode in mixture.modes
        ) / (len(mixture.modes) * (2 * math.pi * mixture.sigma**2) ** (dimensions / 2))
        assert mixture.density(where[None]) == pytest.approx([expected], rel=1e-12)
        # The mean of 1/p over a uniform proposal in a box, and the share of points in that box.
        side = np.linspace(-1, 1, 401) * 3 * mixture.sigma
        box = np.stack(np.meshgrid(*[side] * dimensions), axis=-1).reshape(-1, dimensions)
        inside = mixture.density(mixture.modes[0] + box).mean() * (6 * mixture.sigma) ** dimensions
        points = mixture.load("train").values.double().numpy() - mixture.modes[0]
        share = (abs(points) < 3 * mixture.sigma).all(axis=1).mean()
        assert inside == pytest.approx(share, rel=0.05)

    def test_one_gaussian_or_two_on_the_line(self):
        one, two = Gauss1D(), Gauss1D(gaussians=2)
        assert (one.shape, one.classes, one.modes.tolist()) == ((1,), 1, [[2.0]])
        assert (two.classes, two.modes.tolist()) == (2, [[-2.0], [2.0]])
        with pytest.raises(ValueError, match="read-only"):
            two.modes[0] = 5
        values = two.load("train").values
        assert values.shape == (50_000, 1)
        assert (values > 0).double().mean().item() == pytest.approx(0.5, abs=0.01)
        assert values[values > 0].std().item() == pytest.approx(0.5, abs=0.01)

    def test_splits_share_no_point(self):
        points = [tuple(map(tuple, Ring8().load(split).values.tolist())) for split in SPLITS]
        assert len(set(points[0]) | set(points[1]) | set(points[2])) == 70_000

    @pytest.mark.parametrize("mixture", [Ring8, Grid25])
    def test_pacgans_size_changes_the_training_split_alone(self, mixture):
        usual, large = mixture(), mixture(points=100_000)
        assert (usual.train_size, large.train_size) == (50_000, 100_000)
        assert len(large.load("train")) == 100_000
        for split in ("validation", "test"):
            assert large.load(split).sha256 == usual.load(split).sha256
        assert large.fingerprint() != usual.fingerprint()
        assert (usual.identity, large.identity) == ({}, {"points": 100_000})
        with pytest.raises(ValueError, match="points"):
            mixture(points=70_000)

    def test_another_mixture_is_two_lines(self):
        class Pair(Mixture):
            """Two modes."""

            modes = ring(2, radius=3.0)
            sigma = 0.1

        assert Pair().read("test").labels.unique().tolist() == [0, 1]
        assert grid([0.0, 1.0]).tolist() == [[0, 0], [0, 1], [1, 0], [1, 1]]


class TestDigits:
    def test_images_are_scikit_learns_in_double_size(self):
        from sklearn.datasets import load_digits

        original = load_digits()
        indices = split_indices(original.target)
        assert sorted(np.concatenate(list(indices.values()))) == list(range(1797))
        for split in SPLITS:
            examples = Digits().load(split)
            chosen = indices[split]
            assert examples.labels.tolist() == original.target[chosen].tolist()
            levels = torch.from_numpy(original.images[chosen]).unsqueeze(1)
            expected = interpolate(levels, scale_factor=2, mode="bilinear") * 255 / 16
            # Halves may round either way in floating point; the whole-number formula is exact.
            assert (examples.values.double() - expected).abs().max() <= 0.5 + 1e-9

    def test_splits_are_stratified(self):
        sizes = {split: len(Digits().load(split)) for split in SPLITS}
        assert sizes == {"train": 1197, "validation": 300, "test": 300}
        for split in ("validation", "test"):
            assert Digits().load(split).labels.bincount().tolist() == [30] * 10

    def test_levels_span_the_whole_range(self):
        values = Digits().load("train").values
        assert values.dtype == torch.uint8
        assert (values.min(), values.max()) == (0, 255)

    def test_enlarging_keeps_flat_images_flat(self):
        for level in range(17):
            enlarged = enlarge(np.full((1, 8, 8), level))
            assert enlarged.shape == (1, 16, 16)
            assert np.unique(enlarged).tolist() == [round(level * 255 / 16)]

    def test_damaged_file_is_refused(self, tmp_path, monkeypatch):
        file = tmp_path / "digits.csv.gz"
        monkeypatch.setattr(digits_module, "digits_file", lambda: file)
        data = digits_file().read_bytes()
        file.write_bytes(data[: len(data) // 2])
        with pytest.raises(DataError, match=r"digits\.csv\.gz is damaged.*install scikit-learn"):
            Digits().load("train")
        text = gzip.decompress(data).replace(b"5,", b"6,", 1)
        file.write_bytes(gzip.compress(text))
        with pytest.raises(DataError, match=r"has sha256 [0-9a-f]{64}, expected 2d6a8b9e"):
            Digits().load("train")

    @pytest.mark.parametrize("installed", [True, False])
    def test_missing_file_is_named(self, installed, tmp_path, monkeypatch):
        from importlib.machinery import ModuleSpec

        spec = ModuleSpec("sklearn", None, is_package=True)
        spec.submodule_search_locations = [str(tmp_path)]
        monkeypatch.setattr(digits_module, "find_spec", lambda name: spec if installed else None)
        with pytest.raises(DataError, match=r"digits\.csv\.gz is missing; install scikit-learn"):
            Digits().load("train")


class TestStacked:
    @pytest.mark.parametrize("split", SPLITS)
    def test_every_channel_is_a_digit_and_the_label_reads_them(self, split):
        single, stacked = Digits().load(split), StackedDigits().load(split)
        assert len(stacked) == {"train": 128_000, "validation": 26_000, "test": 26_000}[split]
        for i in (0, 17, len(stacked) - 1):
            digits = []
            for channel in stacked.values[i]:
                (same,) = torch.nonzero((single.values[:, 0] == channel).all(2).all(1))[:1]
                digits.append(single.labels[same].item())
            assert stacked.labels[i].item() == int("".join(map(str, digits)))

    def test_classes_are_nearly_uniform_and_channels_independent(self):
        labels = StackedDigits().load("train").labels
        shares = torch.bincount(labels, minlength=1000).double() / len(labels)
        digits = Digits().load("train").labels.bincount().double() / 1197
        expected = (digits[:, None, None] * digits[:, None] * digits).flatten()
        chi2 = (len(labels) * (shares - expected) ** 2 / expected).sum().item()
        assert abs(chi2 - 999) < 5 * math.sqrt(2 * 999)

    def test_it_is_put_together_only_when_asked_for(self):
        values = StackedDigits().load("train").values
        assert isinstance(values, Stack)
        assert values.nbytes < 4_000_000
        assert values.shape == (128_000, 3, 16, 16)
        index = torch.tensor([[5, 3], [5, 0]])
        taken = values[index]
        assert taken.shape == (2, 2, 3, 16, 16)
        assert taken.dtype == values.dtype == torch.uint8
        assert torch.equal(taken[0, 0], taken[1, 0])
        assert torch.equal(taken[0, 1], values[3])
        assert torch.equal(values[2:4][1], values[3])
        assert torch.equal(values.to(torch.device("cpu"))[index], taken)

    def test_it_is_the_same_every_time(self):
        first, again = (StackedDigits().read("test") for _ in range(2))
        assert torch.equal(first.values.triples, again.values.triples)

    def test_mnist_is_stacked_split_by_split(self, tmp_path, monkeypatch):
        write_idx(tmp_path / "MNIST" / "raw", "train", 4)
        write_idx(tmp_path / "MNIST" / "raw", "t10k", 10)
        monkeypatch.setattr(MNIST, "sha256", {})
        for split, levels in (
            ("train", {1, 2, 3, 4}),
            ("validation", {1, 3, 5, 7, 9}),
            ("test", {2, 4, 6, 8, 10}),
        ):
            examples = StackedMNIST().read(split, tmp_path)
            middles = examples.values[:200][:, :, 16, 16]
            assert set(middles.flatten().tolist()) == levels
            hundreds, tens, ones = ((middles.long() - 1) % 10).unbind(1)
            assert torch.equal(examples.labels[:200], 100 * hundreds + 10 * tens + ones)

    def test_missing_mnist_is_named(self, tmp_path):
        with pytest.raises(DataError, match=r"train-images-idx3-ubyte.*not found"):
            StackedMNIST().load("train", tmp_path)

    @pytest.mark.parametrize("split", SPLITS)
    def test_real_content(self, split):
        root = os.environ.get("GANBENCH_DATA")
        if not root or not (Path(root) / "MNIST").is_dir():
            pytest.skip("MNIST is not here; GANBENCH_DATA names no folder with it")
        examples = StackedMNIST().load(split, Path(root))
        assert examples.labels.unique().numel() == 1000


def write_idx(folder: Path, part: str, count: int) -> None:
    """Write images whose pixels are their number, in MNIST's format."""
    folder.mkdir(parents=True, exist_ok=True)
    pixels = np.repeat(np.arange(1, count + 1, dtype=np.uint8), 28 * 28)
    header = struct.pack(">4B3i", 0, 0, 8, 3, count, 28, 28)
    (folder / f"{part}-images-idx3-ubyte").write_bytes(header + pixels.tobytes())
    labels = (np.arange(count) % 10).astype(np.uint8)
    header = struct.pack(">4Bi", 0, 0, 8, 1, count)
    (folder / f"{part}-labels-idx1-ubyte").write_bytes(header + labels.tobytes())


class TestMNIST:
    def test_images_are_padded_and_the_test_images_halved(self, tmp_path):
        write_idx(tmp_path / "MNIST" / "raw", "train", 4)
        write_idx(tmp_path / "MNIST" / "raw", "t10k", 10)
        train = MNIST().read("train", tmp_path)
        assert train.values.shape == (4, 1, 32, 32)
        assert train.values.dtype == torch.uint8
        assert (train.values[1, 0, 2:30, 2:30] == 2).all()
        assert train.values[1].sum() == 2 * 28 * 28
        halves = [MNIST().read(split, tmp_path) for split in ("validation", "test")]
        assert halves[0].labels.tolist() == [0, 2, 4, 6, 8]
        assert halves[1].labels.tolist() == [1, 3, 5, 7, 9]
        assert halves[1].values[:, 0, 5, 5].tolist() == [2, 4, 6, 8, 10]

    def test_absent_files_are_named_with_their_place(self, tmp_path):
        with pytest.raises(
            DataError, match=r"train-images-idx3-ubyte.*--data-root or GANBENCH_DATA"
        ):
            MNIST().load("train", None)
        write_idx(tmp_path / "MNIST" / "raw", "t10k", 2)
        (tmp_path / "MNIST" / "raw" / "t10k-labels-idx1-ubyte").unlink()
        with pytest.raises(DataError) as caught:
            MNIST().load("test", tmp_path)
        message = str(caught.value)
        assert f"MNIST/raw/t10k-labels-idx1-ubyte not found in {tmp_path}" in message
        assert "images" not in message
        assert "`ganbench data fetch mnist`" in message
        assert "--data-root or GANBENCH_DATA" in message

    @pytest.mark.parametrize("kept", [0, 2, 10, 500])
    def test_truncated_files_are_refused(self, kept, tmp_path):
        folder = tmp_path / "MNIST" / "raw"
        write_idx(folder, "train", 4)
        file = folder / "train-images-idx3-ubyte"
        file.write_bytes(file.read_bytes()[:kept])
        with pytest.raises(DataError, match=r"images-idx3-ubyte is damaged.*fetch mnist"):
            MNIST().load("train", tmp_path)

    def test_other_content_is_refused(self, tmp_path):
        write_idx(tmp_path / "MNIST" / "raw", "train", 4)
        with pytest.raises(DataError, match=r"expected 09444b9f.*replace the files under"):
            MNIST().load("train", tmp_path)

    @pytest.mark.parametrize("split", SPLITS)
    def test_real_content(self, split):
        root = os.environ.get("GANBENCH_DATA")
        if not root or not (Path(root) / "MNIST").is_dir():
            pytest.skip("MNIST is not here; GANBENCH_DATA names no folder with it")
        examples = MNIST().load(split, Path(root))
        assert len(examples) == (MNIST.train_size if split == "train" else 5_000)
        assert MNIST.train_size == 60_000
