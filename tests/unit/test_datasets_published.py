"""Published data sets: their formats, their pins, their splits, and what damage leads to."""

import gzip
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from harness.datasets.base import datasets
from harness.datasets.published import Published
from harness.datasets.torchvision import (
    CIFAR10,
    IDX,
    KMNIST,
    MNIST,
    SVHN,
    CelebA,
    FashionMNIST,
    read_idx,
)
from harness.errors import AbsentDataError, DataError
from tests.unit.published_files import (
    celeba_files,
    cifar_files,
    idx,
    idx_files,
    pin,
    svhn_files,
    write,
)

SPLITS = ("train", "validation", "test")
ALL = [cls for cls in datasets if isinstance(cls, type) and issubclass(cls, Published)]
FILES = {
    "mnist": lambda: idx_files(MNIST),
    "fashion-mnist": lambda: idx_files(FashionMNIST),
    "kmnist": lambda: idx_files(KMNIST),
    "cifar10": cifar_files,
    "svhn": svhn_files,
    "celeba": celeba_files,
}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def root(tmp_path) -> Path:
    return tmp_path / "root"


def test_the_six_are_there():
    assert sorted(cls.id for cls in ALL) == sorted(FILES)


class TestPins:
    def test_they_are_torchvisions(self):
        import torchvision.datasets as known

        for cls in (MNIST, FashionMNIST, KMNIST):
            assert list(cls.files.items()) == [
                (f"{cls.folder}/raw/{name}", md5)
                for name, md5 in getattr(known, cls.folder).resources
            ]
        batches = [*known.CIFAR10.train_list, *known.CIFAR10.test_list]
        assert CIFAR10.files == {f"cifar-10-batches-py/{name}": md5 for name, md5 in batches}
        parts = [known.SVHN.split_list[part] for part in ("train", "test")]
        assert SVHN.files == {name: md5 for _, name, md5 in parts}
        faces = {f"celeba/{name}": md5 for _, md5, name in known.CelebA.file_list}
        assert faces.items() >= CelebA.files.items()

    @pytest.mark.parametrize("cls", ALL, ids=lambda cls: cls.id)
    def test_downloads_give_what_is_read(self, cls):
        downloads = cls().downloads()
        if cls is CIFAR10:
            assert [d.path for d in downloads] == ["cifar-10-python.tar.gz"]
        else:
            assert {d.path: d.md5 for d in downloads} == cls.files
        assert all(url.startswith("http") for d in downloads for url in d.urls)

    @pytest.mark.parametrize("cls", ALL, ids=lambda cls: cls.id)
    def test_the_fingerprint_is_of_every_pin_and_needs_no_file(self, cls, monkeypatch):
        before = cls().fingerprint()
        if cls.sha256:
            return
        for name in cls.files:
            with monkeypatch.context() as patch:
                patch.setattr(cls, "files", {**cls.files, name: "0" * 32})
                assert cls().fingerprint() != before

    def test_a_size_is_part_of_it(self):
        assert CelebA().fingerprint() != CelebA(size=32).fingerprint()
        assert (CelebA().shape, CelebA(size=32).shape) == ((3, 64, 64), (3, 32, 32))


class TestReading:
    @pytest.mark.parametrize("cls", [MNIST, FashionMNIST, KMNIST])
    def test_idx(self, cls: type[IDX], root, monkeypatch):
        files = idx_files(cls)
        write(root, files)
        pin(monkeypatch, cls, files)
        train = cls().load("train", root)
        assert train.values.shape == (6, 1, 32, 32)
        assert train.values.dtype == torch.uint8
        assert train.values[:, 0, 2:30, 2:30].flatten(1).float().mean(1).tolist() == [
            1, 2, 3, 4, 5, 6,
        ]  # fmt: skip
        assert train.values[1].sum() == 2 * 28 * 28
        assert train.labels.tolist() == list(range(6))
        halves = [cls().load(split, root) for split in ("validation", "test")]
        assert halves[0].values[:, 0, 9, 9].tolist() == [1, 3, 5, 7, 9]
        assert halves[1].values[:, 0, 9, 9].tolist() == [2, 4, 6, 8, 10]
        assert halves[1].labels.tolist() == [1, 3, 5, 7, 9]

    def test_only_mnist_may_be_unpacked_alone(self, root, monkeypatch):
        for cls in (MNIST, KMNIST):
            unpacked = {
                name.removesuffix(".gz"): gzip.decompress(data)
                for name, data in idx_files(cls).items()
            }
            write(root, unpacked)
        monkeypatch.setattr(MNIST, "sha256", {})
        assert len(MNIST().load("train", root)) == 6
        with pytest.raises(AbsentDataError, match=r"KMNIST/raw/train-images-idx3-ubyte\.gz"):
            KMNIST().load("train", root)

    def test_cifar10(self, root, monkeypatch):
        files = cifar_files()
        write(root, files)
        pin(monkeypatch, CIFAR10, files)
        train = CIFAR10().load("train", root)
        assert train.values.shape == (20, 3, 32, 32)
        assert train.values[:, 0, 5, 7].tolist() == list(range(20))
        assert train.values[3, 1:, 9, 9].tolist() == [100, 200]
        assert train.labels.tolist() == [i % 10 for i in range(20)]
        assert CIFAR10().load("validation", root).values[:, 0, 0, 0].tolist() == [20, 22]
        assert CIFAR10().load("test", root).labels.tolist() == [1, 3]

    def test_svhn(self, root, monkeypatch):
        files = svhn_files()
        write(root, files)
        pin(monkeypatch, SVHN, files)
        train = SVHN().load("train", root)
        assert train.values.shape == (10, 3, 32, 32)
        assert train.values[:, 0, 17, 0].tolist() == list(range(10))
        assert train.values[:, 1:].sum() == 0
        assert train.labels.tolist() == [1, 2, 3, 4, 5, 6, 7, 8, 9, 0]
        assert SVHN().load("validation", root).labels.tolist() == [1, 3, 5, 7, 9]
        assert SVHN().load("test", root).labels.tolist() == [2, 4, 6, 8, 0]

    def test_celeba(self, root, monkeypatch):
        files = celeba_files()
        write(root, files)
        pin(monkeypatch, CelebA, files)
        for size in (64, 16):
            for side, split in enumerate(SPLITS):
                examples = CelebA(size=size).load(split, root)
                assert examples.labels is None
                assert examples.values.shape == (3, 3, size, size)
                # Flat pictures stay flat once the bars above and below are cut off.
                reds = examples.values[:, 0, 2:-2].flatten(1).double()
                assert reds.std(1).max() < 2
                assert reds.mean(1).tolist() == pytest.approx(
                    [20 * (side + 3 * i) for i in range(3)], abs=3
                )

    def test_celeba_is_decoded_once(self, root, monkeypatch):
        files = celeba_files()
        write(root, files)
        pin(monkeypatch, CelebA, files)
        expected = [CelebA().load(split, root).sha256 for split in SPLITS]
        monkeypatch.setattr("harness.datasets.images.reading.decode", None)
        assert [CelebA().load(split, root).sha256 for split in SPLITS] == expected

    def test_celeba_must_be_whole(self, root, monkeypatch):
        files = celeba_files()
        names = list(files)
        files[names[1]] += b"000099.jpg 0\n"
        write(root, files)
        pin(monkeypatch, CelebA, files)
        with pytest.raises(DataError, match="9 of 10 images"):
            CelebA().load("train", root)

    def test_what_was_read_is_not_kept_for_other_content(self, root, monkeypatch):
        for count in (9, 12):
            files = celeba_files(count)
            write(root, files)
            with monkeypatch.context() as patch:
                pin(patch, CelebA, files)
                assert len(CelebA().load("train", root)) == count // 3


class TestDamage:
    @pytest.mark.parametrize("name", FILES)
    def test_absent_files_are_named_with_the_remedy(self, name, root):
        dataset = datasets.get(name)()
        for where in (None, root):
            for split in SPLITS:
                with pytest.raises(AbsentDataError) as caught:
                    dataset.load(split, where)
                message = str(caught.value)
                assert f"`ganbench data fetch {name}`" in message
                assert "--data-root or GANBENCH_DATA" in message
                assert any(Path(f).stem.split(".")[0] in message for f in dataset.files)

    @pytest.mark.parametrize("name", [name for name in FILES if name != "mnist"])
    def test_changed_files_are_refused_with_both_hashes(self, name, root):
        dataset, files = datasets.get(name)(), FILES[name]()
        write(root, files)
        with pytest.raises(DataError, match=r"has md5 [0-9a-f]{32}, expected [0-9a-f]{32}"):
            dataset.load("train", root)
        with pytest.raises(DataError, match="has md5"):
            dataset.check(root)

    @pytest.mark.parametrize("name", FILES)
    @pytest.mark.parametrize("share", [0.0, 0.5])
    def test_a_damaged_file_is_named_even_if_its_hash_were_right(
        self, name, share, root, monkeypatch
    ):
        dataset, files = datasets.get(name)(), FILES[name]()
        files = {name: data[: int(share * len(data))] for name, data in files.items()}
        write(root, files)
        pin(monkeypatch, type(dataset), files)
        with pytest.raises(DataError) as caught:
            dataset.load("train", root)
        assert str(root) in str(caught.value)

    def test_a_malicious_pickle_never_runs(self, root, monkeypatch, tmp_path):
        class Bomb:
            def __reduce__(self):
                return Path.touch, (tmp_path / "boom",)

        files = cifar_files()
        files[next(iter(files))] = pickle.dumps({"data": Bomb(), "labels": []}, protocol=2)
        write(root, files)
        pin(monkeypatch, CIFAR10, files)
        with pytest.raises(DataError, match=r"data_batch_1 is damaged \(it asks for "):
            CIFAR10().load("train", root)
        assert not (tmp_path / "boom").exists()

    @pytest.mark.parametrize(
        "data",
        [b"", b"\0\0", b"\0\0\x0d\1\0\0\0\1x", b"\0\0\x08\1\0\0\0\2x", idx(np.zeros(3)) + b"y"],
    )
    def test_what_is_no_idx_file_is_refused(self, data):
        with pytest.raises(ValueError, match=r"IDX|bytes|buffer"):
            read_idx(data)

    def test_images_without_labels_are_refused(self, root, monkeypatch):
        files = idx_files(KMNIST)
        files["KMNIST/raw/train-labels-idx1-ubyte.gz"] = gzip.compress(idx(np.zeros(5)))
        write(root, files)
        pin(monkeypatch, KMNIST, files)
        with pytest.raises(DataError, match="6 images, 5 labels"):
            KMNIST().load("train", root)
