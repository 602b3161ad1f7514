"""Images of one's own: every kind of file, the same wherever it lies, errors that say why."""

import io
import json
import os
import shutil
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from harness.commands.show import describe_run, print_run
from harness.datasets.base import dataset_of
from harness.datasets.folder import HELD_OUT, Folder
from harness.datasets.images import cache as images_cache
from harness.datasets.images import decoding
from harness.datasets.images.decoding import Undecodable, decode
from harness.datasets.images.files import is_image_name, shared_folders
from harness.datasets.images.layout import SPLIT_FOLDERS
from harness.datasets.images.reading import GROUP
from harness.errors import DataError, DataWarning, GanbenchError, SuiteError
from harness.jobs.job import Job
from harness.planning.backlog import finished
from harness.sampling.export import export
from harness.sampling.sheets import Request, sample
from harness.store.folders import Store
from harness.store.reading import read_run
from harness.suite.load import load_suite
from harness.suite.matrix import Matrix, expand
from reports.build import write_report

SPLITS = ("train", "validation", "test")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    """Give every test a cache of its own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "ganbench" / "images"


def picture(number: int, size: tuple[int, int] = (12, 12), mode: str = "RGB") -> Image.Image:
    """Draw noise that is another for every number."""
    shape = (size[1], size[0], 3) if mode == "RGB" else (size[1], size[0])
    levels = np.random.RandomState(number).randint(0, 256, shape, dtype=np.uint8)
    return Image.fromarray(levels)


def encoded(image: Image.Image, form: str = "PNG", **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format=form, **options)
    return buffer.getvalue()


def fill(folder: Path, count: int, first: int = 0, **options) -> Path:
    """Write so many different images."""
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(first, first + count):
        (folder / f"{i:04d}.png").write_bytes(encoded(picture(i, **options)))
    return folder


def pixels_of(folder: Folder) -> dict[str, list[bytes]]:
    return {s: sorted(v.numpy().tobytes() for v in folder.load(s).values) for s in SPLITS}


class TestDecoding:
    def square(self, data: bytes, size: int = 8, crop="center", channels: int = 3):
        return decode(data, size=size, crop=crop, channels=channels)[:2]

    def test_an_image_of_the_size_is_taken_as_it_is(self):
        image = picture(1, (8, 8))
        pixels, remarks = self.square(encoded(image))
        assert np.array_equal(pixels, np.asarray(image).transpose(2, 0, 1))
        assert remarks == frozenset()

    @pytest.mark.parametrize(("size", "box"), [((12, 8), (2, 0, 10, 8)), ((8, 13), (0, 2, 8, 10))])
    def test_the_middle_is_cut_out_or_everything_squeezed(self, size, box):
        image = picture(2, size)
        centre, _ = self.square(encoded(image))
        assert np.array_equal(centre, np.asarray(image.crop(box)).transpose(2, 0, 1))
        squeezed, _ = self.square(encoded(image), crop="none")
        expected = image.resize((8, 8), Image.Resampling.LANCZOS)
        assert np.array_equal(squeezed, np.asarray(expected).transpose(2, 0, 1))
        assert not np.array_equal(squeezed, centre)

    def test_small_images_are_enlarged_and_counted(self):
        pixels, remarks = self.square(encoded(Image.new("RGB", (1, 3), (9, 80, 200))), 16)
        assert remarks == {decoding.ENLARGED}
        assert pixels.reshape(3, -1).T.tolist() == [[9, 80, 200]] * 256

    def test_grey_becomes_colour_and_colour_grey(self):
        grey, colour = picture(3, (8, 8), "L"), picture(3, (8, 8))
        pixels, _ = self.square(encoded(grey))
        assert all(np.array_equal(channel, np.asarray(grey)) for channel in pixels)
        pixels, _ = self.square(encoded(colour), channels=1)
        red, green, blue = np.asarray(colour).astype(float).transpose(2, 0, 1)
        assert pixels.shape == (1, 8, 8)
        assert np.abs(pixels[0] - (0.299 * red + 0.587 * green + 0.114 * blue)).max() <= 1

    @pytest.mark.parametrize("mode", ["RGBA", "LA"])
    def test_white_shows_through_what_is_transparent(self, mode):
        image = Image.new("RGBA", (8, 8), (100, 100, 100, 255))
        image.paste((100, 100, 100, 0), (0, 0, 4, 8))
        image.paste((100, 100, 100, 51), (0, 0, 2, 8))
        pixels, remarks = self.square(encoded(image.convert(mode)))
        assert remarks == {decoding.TRANSPARENT}
        assert set(pixels[:, :, 4:].flatten().tolist()) == {100}
        assert set(pixels[:, :, 2:4].flatten().tolist()) == {255}
        assert set(pixels[:, :, :2].flatten().tolist()) == {255 - 155 * 51 // 255}

    def test_an_opaque_alpha_channel_is_no_remark(self):
        _, remarks = self.square(encoded(picture(4, (8, 8)).convert("RGBA")))
        assert remarks == frozenset()

    def test_a_palette_may_be_transparent(self):
        image = Image.new("P", (8, 8), 0)
        image.putpalette([10, 20, 30, 200, 200, 200])
        image.paste(1, (4, 0, 8, 8))
        pixels, remarks = self.square(encoded(image, transparency=1))
        assert remarks == {decoding.TRANSPARENT}
        assert pixels[:, 0, 0].tolist() == [10, 20, 30]
        assert pixels[:, 0, 7].tolist() == [255, 255, 255]

    def test_sixteen_bits_become_eight(self):
        levels = np.arange(64, dtype=np.uint16).reshape(8, 8) * 1023
        for form in ("PNG", "TIFF"):
            pixels, remarks = self.square(encoded(Image.fromarray(levels), form), channels=1)
            assert np.array_equal(pixels[0], levels // 256)
            assert remarks == {decoding.SIXTEEN_BIT}

    def test_cmyk_is_converted(self):
        image = Image.new("CMYK", (8, 8), (255, 0, 0, 0))
        pixels, _ = self.square(encoded(image, "JPEG", quality=100))
        assert np.abs(pixels[:, 4, 4].astype(int) - [0, 255, 255]).max() <= 4

    def test_one_bit_per_pixel_is_black_and_white(self):
        image = Image.new("1", (8, 8), 0)
        image.paste(1, (4, 0, 8, 8))
        assert sorted(set(self.square(encoded(image))[0].flatten().tolist())) == [0, 255]

    def test_the_exif_tag_turns_the_image(self):
        image = picture(5, (8, 8))
        exif = Image.Exif()
        exif[0x0112] = 6
        pixels, remarks = self.square(encoded(image, exif=exif))
        turned = np.asarray(image.transpose(Image.Transpose.ROTATE_270)).transpose(2, 0, 1)
        assert np.array_equal(pixels, turned)
        assert remarks == {decoding.TURNED}

    @pytest.mark.parametrize("form", ["GIF", "PNG", "TIFF", "WEBP"])
    def test_the_first_of_several_frames_is_taken(self, form):
        first, second = Image.new("RGB", (8, 8), "red"), Image.new("RGB", (8, 8), "blue")
        options = {"lossless": True} if form == "WEBP" else {}
        data = encoded(first, form, save_all=True, append_images=[second], **options)
        pixels, remarks = self.square(data)
        assert pixels[:, 0, 0].tolist() == [255, 0, 0]
        assert remarks == {decoding.ANIMATED}

    @pytest.mark.parametrize(
        ("data", "why"),
        [
            (b"", "is no image"),
            (b"GIF89a", "."),
            (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "is no image"),
            (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n", "is no image"),
            (encoded(picture(6, (64, 64)))[:-200], "."),
            (encoded(picture(6, (64, 64)), "JPEG")[:300], "(?i)truncated"),
            (encoded(Image.new("F", (8, 8)), "TIFF"), "floating-point"),
            (encoded(Image.fromarray(np.full((8, 8), 70_000, np.int32)), "TIFF"), "32 bits"),
        ],
    )
    def test_what_cannot_be_decoded_says_why(self, data, why):
        with pytest.raises(Undecodable, match=why):
            self.square(data)

    def test_a_giant_is_refused_before_it_is_unpacked(self):
        data = encoded(Image.new("1", (20_001, 5_000)))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with pytest.raises(Undecodable, match="20001×5000 pixels"):
                self.square(data)

    @given(st.binary(max_size=200), st.sampled_from(["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP"]))
    def test_any_bytes_decode_or_say_why_not(self, noise, form):
        whole = encoded(picture(0, (9, 9)), form)
        place = len(noise) * 7 % len(whole)
        for data in (noise, whole[:place] + noise, whole[:place] + noise + whole[place:]):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                try:
                    pixels, _ = self.square(data)
                except Undecodable as reason:
                    assert str(reason)
                else:
                    assert (pixels.shape, pixels.dtype) == ((3, 8, 8), np.uint8)


class TestFiles:
    def test_what_counts_as_an_image(self):
        assert all(map(is_image_name, ["a.png", "b/c.JPG", "d.jpeg", "e.tif", "f g.webp"]))
        others = ["a.txt", ".a.png", ".git/a.png", "__MACOSX/a.png", "png", "a.png.txt", "a.svg"]
        assert not any(map(is_image_name, others))

    def test_shared_folders(self):
        assert shared_folders([]) == 0
        assert shared_folders([["a", "b"], ["a", "c"], ["a"]]) == 1
        assert shared_folders([["ab"], ["ac"]]) == 0


class TestFolder:
    def test_everything_is_read_once_and_cut_in_three(self, tmp_path):
        data = Folder(path=str(fill(tmp_path / "a", 50)), size=12)
        assert (data.shape, data.classes, data.train_size) == ((3, 12, 12), None, 40)
        splits = {split: data.load(split) for split in SPLITS}
        assert [len(s) for s in splits.values()] == [40, 5, 5]
        assert all(s.labels is None for s in splits.values())
        assert all(s.values.dtype == torch.uint8 for s in splits.values())
        found = sorted(image.numpy().tobytes() for s in splits.values() for image in s.values)
        drawn = [np.asarray(picture(i)).transpose(2, 0, 1).tobytes() for i in range(50)]
        assert found == sorted(drawn)
        assert data.notes == ()

    def test_what_the_images_are_names_the_run_and_not_where_they_lie(self, tmp_path):
        here = fill(tmp_path / "here", 30)
        there = tmp_path / "there" / "deep"
        shutil.copytree(here, there)
        for i, file in enumerate(sorted(there.iterdir())):
            file.rename(there / f"renamed-{30 - i}.png")
        archive = tmp_path / "images.zip"
        with zipfile.ZipFile(archive, "w") as out:
            for file in here.iterdir():
                out.write(file, f"wrapped/{file.name}")
        found = [Folder(path=str(path), size=8) for path in (here, there, archive)]
        assert len({data.fingerprint() for data in found}) == 1
        contents = [pixels_of(data) for data in found]
        assert contents[0] == contents[1] == contents[2]
        orders = [data.load("train").sha256 for data in found]
        assert orders[0] == orders[1] == orders[2]

    def test_other_content_or_options_are_another_name(self, tmp_path):
        base = fill(tmp_path / "a", 30, size=(70, 64))
        names = {
            Folder(path=str(base), **options).fingerprint()
            for options in ({}, {"size": 8}, {"crop": "none"}, {"channels": 1})
        }
        assert len(names) == 4
        fill(base, 1, first=99, size=(70, 64))
        names.add(Folder(path=str(base)).fingerprint())
        (base / "0099.png").write_bytes(encoded(picture(100, (70, 64))))
        names.add(Folder(path=str(base)).fingerprint())
        assert len(names) == 6

    def test_one_image_more_moves_hardly_any_other(self, tmp_path):
        base = fill(tmp_path / "a", 60)
        before = pixels_of(Folder(path=str(base), size=12))
        fill(base, 1, first=777)
        after = pixels_of(Folder(path=str(base), size=12))
        for split in SPLITS:
            assert len(set(before[split]) - set(after[split])) <= 1

    def test_the_split_is_by_hash_whatever_the_size(self, tmp_path):
        base = fill(tmp_path / "a", 40)
        for i, file in enumerate(sorted(base.iterdir())):  # flat images, told apart at any size
            file.write_bytes(encoded(Image.new("RGB", (16, 16), (6 * i, 0, 0))))
        by_size = [
            {s: sorted(Folder(path=str(base), size=n).load(s).values[:, 0, 0, 0].tolist())
             for s in SPLITS}
            for n in (8, 16)
        ]  # fmt: skip
        assert by_size[0] == by_size[1]

    def test_folders_at_the_top_are_classes(self, tmp_path):
        for i, name in enumerate(("dog", "cat", "eel")):
            fill(tmp_path / "a" / name, 20, first=100 * i)
        data = Folder(path=str(tmp_path / "a"), size=12)
        assert data.classes == 3
        kind = {}
        for label, first in ((1, 0), (0, 100), (2, 200)):  # cat, dog, eel
            for i in range(first, first + 20):
                kind[np.asarray(picture(i)).transpose(2, 0, 1).tobytes()] = label
        for split in SPLITS:
            examples = data.load(split)
            for image, label in zip(examples.values, examples.labels.tolist(), strict=True):
                assert kind[image.numpy().tobytes()] == label

    def test_numbers_in_names_are_ordered_as_numbers(self, tmp_path):
        for i, name in enumerate(("1", "2", "10")):
            fill(tmp_path / "a" / name, 20, first=100 * i)
        data = Folder(path=str(tmp_path / "a"), size=12)
        assert data.class_names == ("1", "2", "10")
        label = {
            np.asarray(picture(i)).transpose(2, 0, 1).tobytes(): i // 100
            for i in (*range(20), *range(100, 120), *range(200, 220))
        }
        for split in SPLITS:
            examples = data.load(split)
            for image, own in zip(examples.values, examples.labels.tolist(), strict=True):
                assert label[image.numpy().tobytes()] == own

    def test_another_order_of_classes_is_another_run(self, tmp_path):
        for place, names in (("a", ("1", "2", "10")), ("b", ("1", "20", "10"))):
            for i, name in enumerate(names):
                fill(tmp_path / place / name, 20, first=100 * i)
        prints = {Folder(path=str(tmp_path / p), size=12).fingerprint() for p in ("a", "b")}
        assert len(prints) == 2

    def test_what_an_older_version_decoded_is_not_taken(self, tmp_path, monkeypatch):
        for name in ("2", "10"):
            fill(tmp_path / "a" / name, 20, first=100 * int(name))
        monkeypatch.setattr("harness.datasets.folder.DECODING", 1)
        old = Folder(path=str(tmp_path / "a"), size=12).fingerprint()
        monkeypatch.undo()
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        assert decoding.DECODING > 1
        assert Folder(path=str(tmp_path / "a"), size=12).fingerprint() != old

    @pytest.mark.parametrize("extra", ["loose.png", "cat/more/deep.png"])
    def test_a_stray_image_costs_no_labels(self, extra, tmp_path):
        for i, name in enumerate(("dog", "cat")):
            fill(tmp_path / "a" / name, 20, first=100 * i)
        before = Folder(path=str(tmp_path / "a"), size=12)
        assert before.load("train").labels is not None
        file = tmp_path / "a" / extra
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(encoded(picture(5000)))
        for other in ("README.txt", ".DS_Store", "Thumbs.db", ".hidden.png"):
            (tmp_path / "a" / other).write_text("no image")
        data = Folder(path=str(tmp_path / "a"), size=12)
        with pytest.warns(DataWarning, match=f"1 left out, not directly .*: {extra}$"):
            assert data.class_names == ("cat", "dog")
        assert data.fingerprint() == before.fingerprint()

    @pytest.mark.parametrize("packed", [False, True])
    @pytest.mark.parametrize("classes", [(), ("a", "b")])
    @pytest.mark.parametrize(
        ("folders", "lengths"),
        [
            ({"train": 40, "val": 6, "test": 8}, (40, 6, 8)),
            ({"Training": 40, "VALID": 6, "Test": 8}, (40, 6, 8)),
            ({"train": 40, "test": 8}, (36, 4, 8)),
            ({"train": 40, "validation": 6}, (36, 6, 4)),
            ({"train": 40}, (32, 4, 4)),
        ],
    )
    def test_splits_are_honoured(self, folders, lengths, classes, packed, tmp_path, recwarn):
        base, first = tmp_path / "a", 0
        drawn: dict[str, set[bytes]] = {}
        for folder, count in folders.items():
            for name in classes or (".",):
                own = count // (len(classes) or 1)
                fill(base / folder / name, own, first=first)
                drawn.setdefault(SPLIT_FOLDERS[folder.casefold()], set()).update(
                    np.asarray(picture(i)).transpose(2, 0, 1).tobytes()
                    for i in range(first, first + own)
                )
                first += own
        path = base
        if packed:
            path = tmp_path / "a.zip"
            with zipfile.ZipFile(path, "w") as out:
                for file in base.rglob("*.png"):
                    out.write(file, f"wrapped/{file.relative_to(base)}")
        data = Folder(path=str(path), size=12)
        found = {split: set(images) for split, images in pixels_of(data).items()}
        assert tuple(map(len, found.values())) == lengths
        assert data.class_names == (classes or None)
        assert data.fingerprint() == Folder(path=str(base), size=12).fingerprint()
        for split in SPLITS:
            assert found[split] <= drawn.get(split, drawn["train"])
        assert set.union(*found.values()) == set.union(*drawn.values())
        assert not found["train"] & (found["validation"] | found["test"])

    def test_an_image_in_another_split_is_another_run(self, tmp_path):
        for folder, first, count in (("train", 0, 30), ("val", 50, 5), ("test", 60, 5)):
            fill(tmp_path / "a" / folder, count, first=first)
        before = Folder(path=str(tmp_path / "a"), size=12).fingerprint()
        (tmp_path / "a/train/0000.png").rename(tmp_path / "a/test/0000.png")
        assert Folder(path=str(tmp_path / "a"), size=12).fingerprint() != before

    def test_an_image_that_is_in_two_splits_is_told(self, tmp_path):
        for folder, first, count in (("train", 0, 30), ("val", 50, 5), ("test", 28, 5)):
            fill(tmp_path / "a" / folder, count, first=first)
        data = Folder(path=str(tmp_path / "a"), size=12)
        with pytest.warns(DataWarning, match="2 byte for byte like another in another split's"):
            assert [len(data.load(split)) for split in SPLITS] == [30, 5, 5]

    def test_an_empty_split_that_comes_later_is_noticed(self, tmp_path):
        fill(tmp_path / "a" / "train", 30)
        fill(tmp_path / "a" / "test", 5, first=50)
        with pytest.warns(DataWarning, match="validation has no folder, and is cut out of train"):
            Folder(path=str(tmp_path / "a"), size=12).fingerprint()
        (tmp_path / "a" / "val").mkdir()
        with pytest.raises(DataError, match="the split val has no images that can be read"):
            Folder(path=str(tmp_path / "a"), size=12).fingerprint()

    @pytest.mark.parametrize(
        ("counts", "message"),
        [
            ({"train": 19, "test": 5}, "train has 19 .* least 20 are needed to cut validation out"),
            ({"train": 30, "val": 5, "test": 1}, "test has 1 different .* at least 2 are needed$"),
        ],
    )
    def test_splits_of_too_few_images_are_refused(self, counts, message, tmp_path):
        for i, (folder, count) in enumerate(counts.items()):
            fill(tmp_path / "a" / folder, count, first=100 * i)
        with pytest.raises(DataError, match=message):
            Folder(path=str(tmp_path / "a"), size=12).fingerprint()

    def test_damaged_images_leave_a_split_without_a_class(self, tmp_path):
        for folder in ("train", "val", "test"):
            for i, name in enumerate("ab"):
                fill(tmp_path / "a" / folder / name, 12, first=1000 * i + 20 * len(folder))
        for file in (tmp_path / "a/test/b").iterdir():
            file.write_text("damaged")
        with pytest.raises(DataError, match="the split test has no images of b, which another"):
            Folder(path=str(tmp_path / "a"), size=12).fingerprint()

    def test_what_an_archive_shares_is_no_split(self, tmp_path):
        path = tmp_path / "a.zip"
        with zipfile.ZipFile(path, "w") as out:
            for i in range(30):
                out.writestr(f"photos/train/{'ab'[i % 2]}/{i}.png", encoded(picture(i)))
            out.writestr("photos/test/", b"")
            out.writestr("other/README", b"")
        with pytest.raises(DataError, match="the split test has no images"):
            Folder(path=str(path), size=12).fingerprint()

    def test_names_of_classes_may_be_anything_that_files_may_be_called(self, tmp_path):
        names = [b"caf\xe9", "Ünïcode ✔".encode(), b"\x1b[31mred", b"a, b", b"new\nline", b"<b>$x$"]
        for i, name in enumerate(names):
            fill(tmp_path / "a" / os.fsdecode(name), 5, first=100 * i)
        data = Folder(path=str(tmp_path / "a"), size=12)
        assert set(data.class_names or ()) == set(map(os.fsdecode, names))
        assert Folder(path=str(tmp_path / "a"), size=12).class_names == data.class_names

    def test_one_folder_is_no_class(self, tmp_path):
        fill(tmp_path / "a" / "cat", 20)
        assert Folder(path=str(tmp_path / "a"), size=12).classes is None

    def test_the_same_image_in_two_classes_keeps_both_labels(self, tmp_path):
        for name in ("dog", "cat"):
            fill(tmp_path / "a" / name, 20)
        with pytest.warns(DataWarning, match="20 byte for byte like another"):
            train = Folder(path=str(tmp_path / "a"), size=12).load("train")
        assert train.labels.bincount().tolist() == [16, 16]

    def test_equal_files_stay_in_one_split(self, tmp_path):
        base = fill(tmp_path / "a", 40)
        for copy in range(5):
            for i in range(40):
                shutil.copy(base / f"{i:04d}.png", base / f"copy{copy}-{i}.png")
        with pytest.warns(DataWarning, match="200 byte for byte like another, and in the same"):
            data = Folder(path=str(base), size=12)
            sets = {split: set(found) for split, found in pixels_of(data).items()}
        assert [len(found) for found in sets.values()] == [32, 4, 4]
        assert not sets["train"] & sets["test"]
        assert not sets["train"] & sets["validation"]
        assert data.train_size == 32 * 6

    def test_odd_files_are_converted_or_skipped_and_told(self, tmp_path):
        base = fill(tmp_path / "a", 30)
        (base / "torn.jpg").write_bytes(encoded(picture(500, (64, 64)), "JPEG")[:400])
        (base / "text.png").write_text("no image")
        (base / "empty.png").write_bytes(b"")
        (base / "tiny.png").write_bytes(encoded(picture(501, (2, 2))))
        (base / "cmyk.jpg").write_bytes(encoded(picture(502).convert("CMYK"), "JPEG"))
        (base / "grey.png").write_bytes(encoded(picture(503).convert("LA")))
        (base / "notes.txt").write_text("not an image by its name")
        (base / "lost.png").symlink_to(base / "nowhere.png")
        os.mkfifo(base / "pipe.png")
        with pytest.warns(DataWarning) as caught:
            data = Folder(path=str(base), size=12)
            assert data.train_size == 33 - 2 * (33 // HELD_OUT)
        (message,) = [str(w.message) for w in caught]
        assert message == f"{base}: {'; '.join(data.notes)}"
        for part in (
            "5 of 38 skipped",
            "empty.png (is no image",
            "lost.png (No such file or directory)",
            "pipe.png (is no regular file)",
            "text.png (is no image",
            "torn.jpg (",
            "1 smaller than the size",
            "1 left alone",
        ):
            assert part in message
        again = Folder(path=str(base), size=12)
        with pytest.warns(DataWarning, match="5 of 38 skipped"):
            assert again.notes == data.notes

    def test_only_some_skipped_files_are_named(self, tmp_path):
        base = fill(tmp_path / "a", 25)
        for i in range(9):
            (base / f"bad{i}.png").write_text("x")
        with pytest.warns(DataWarning, match=r"9 of 34 skipped: bad0\.png .* and 4 more"):
            Folder(path=str(base), size=12).fingerprint()

    def test_links_are_followed_and_circles_end(self, tmp_path):
        fill(tmp_path / "elsewhere", 30)
        base = tmp_path / "a"
        base.mkdir()
        (base / "linked").symlink_to(tmp_path / "elsewhere")
        (tmp_path / "elsewhere" / "up").symlink_to(base)
        (base / "one.png").symlink_to(tmp_path / "elsewhere" / "0003.png")
        with pytest.warns(DataWarning, match="1 byte for byte"):
            data = Folder(path=str(base), size=12)
            assert sum(len(data.load(split)) for split in SPLITS) == 31

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            ({}, r"has no images; they are known by their endings, \.bmp"),
            ({"a.txt": b"x", "b.csv": b"x"}, "has no images among its 2 files"),
            ({"a.png": b"x"}, r"has 0 different images .* at least 20 are needed; 1 of 1 skipped"),
            ({f"{i}.png": encoded(picture(i)) for i in range(19)}, "has 19 different images"),
            ({f"{i}.png": encoded(picture(1)) for i in range(30)}, "has 1 different images"),
        ],
    )
    @pytest.mark.parametrize("archive", [False, True])
    def test_too_few_images_are_refused(self, content, message, archive, tmp_path):
        path = tmp_path / "a"
        if archive:
            with zipfile.ZipFile(path, "w") as out:
                for name, data in content.items():
                    out.writestr(name, data)
        else:
            path.mkdir()
            for name, data in content.items():
                (path / name).write_bytes(data)
        with pytest.raises(DataError, match=message):
            Folder(path=str(path)).fingerprint()

    def test_what_is_neither_folder_nor_archive_is_refused(self, tmp_path):
        with pytest.raises(DataError, match="neither a folder nor a zip archive"):
            Folder(path=str(tmp_path / "nowhere")).fingerprint()
        (tmp_path / "a.zip").write_bytes(b"PK\x03\x04 torn")
        with pytest.raises(DataError, match="no zip archive that can be read"):
            Folder(path=str(tmp_path / "a.zip")).fingerprint()

    def test_a_damaged_member_is_skipped_by_name(self, tmp_path):
        path = tmp_path / "a.zip"
        with zipfile.ZipFile(path, "w") as out:
            for i in range(30):
                out.writestr(f"{i:02d}.png", encoded(picture(i)))
        data = bytearray(path.read_bytes())
        place = data.index(b"IDAT", data.index(b"05.png")) + 40
        data[place] ^= 0xFF
        path.write_bytes(data)
        with pytest.warns(DataWarning, match=r"1 of 30 skipped: 05\.png \(Bad CRC-32"):
            assert Folder(path=str(path), size=12).train_size == 25

    def test_many_images_keep_their_labels_and_hashes(self, tmp_path):
        for k in range(2):
            folder = tmp_path / "a" / f"class{k}"
            folder.mkdir(parents=True)
            for i in range(GROUP):
                colour = (i % 256, 40 * k, 7 * (i // 256))
                (folder / f"{i}.png").write_bytes(encoded(Image.new("RGB", (8, 8), colour)))
        data = Folder(path=str(tmp_path / "a"), size=8)
        for split in SPLITS:
            examples = data.load(split)
            assert torch.equal(examples.values[:, 1, 0, 0] // 40, examples.labels.to(torch.uint8))


class TestCache:
    def test_files_are_decoded_once(self, tmp_path, monkeypatch):
        base = fill(tmp_path / "a", 30)
        first = Folder(path=str(base), size=12)
        expected = {split: first.load(split).sha256 for split in SPLITS}
        monkeypatch.setattr(decoding, "decode", None)
        monkeypatch.setattr("harness.datasets.images.reading.decode", None)
        again = Folder(path=str(base), size=12)
        assert again.fingerprint() == first.fingerprint()
        assert {split: again.load(split).sha256 for split in SPLITS} == expected

    def test_arrays_are_mapped_and_cannot_be_changed_on_disk(self, tmp_path, cache):
        data = Folder(path=str(fill(tmp_path / "a", 30)), size=12)
        values = data.load("train").values
        values.zero_()
        assert data.load("train").values.any()

    def test_a_changed_file_is_noticed(self, tmp_path):
        base = fill(tmp_path / "a", 30)
        before = Folder(path=str(base), size=12).fingerprint()
        file = base / "0007.png"
        stamp = file.stat().st_mtime_ns
        file.write_bytes(encoded(picture(900)))
        os.utime(file, ns=(stamp + 1, stamp + 1))
        assert Folder(path=str(base), size=12).fingerprint() != before

    @pytest.mark.parametrize("harm", ["cut", "flip", "delete", "empty", "record", "all"])
    @pytest.mark.parametrize("known", [False, True])
    def test_a_damaged_cache_is_made_anew(self, harm, known, tmp_path, cache):
        for k in range(2):
            fill(tmp_path / "a" / str(k), 20, first=50 * k)
        data = Folder(path=str(tmp_path / "a"), size=12)
        expected = {split: data.load(split).sha256 for split in SPLITS}
        for file in list(cache.iterdir()):
            if (file.suffix == ".json") != (harm == "record") and harm != "all":
                continue
            content = bytearray(file.read_bytes())
            if harm in ("delete", "all"):
                file.unlink()
            elif harm == "flip":
                content[-1] ^= 1
                file.write_bytes(content)
            else:
                file.write_bytes(content[: 0 if harm == "empty" else len(content) // 2])
        if not known:
            data = Folder(path=str(tmp_path / "a"), size=12)
        assert {split: data.load(split).sha256 for split in SPLITS} == expected

    def test_no_temporary_file_stays(self, tmp_path, cache):
        old = cache / ".1-dead.tmp"
        old.parent.mkdir(parents=True)
        old.write_bytes(b"left by a killed process")
        os.utime(old, (1, 1))
        young = cache / ".2-live.tmp"
        young.write_bytes(b"being written")
        Folder(path=str(fill(tmp_path / "a", 30)), size=12).load("test")
        assert list(cache.glob(".*")) == [young]

    def test_a_folder_that_cannot_be_made_is_named(self, tmp_path, monkeypatch):
        (tmp_path / "file").write_text("")
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
        with pytest.raises(DataError, match=r"cannot be made .*set XDG_CACHE_HOME"):
            Folder(path=str(fill(tmp_path / "a", 30))).fingerprint()

    @pytest.mark.parametrize("where", ["write_json", "Examples"])
    def test_a_full_disk_is_an_error_that_leaves_nothing(self, where, tmp_path, cache, monkeypatch):
        def full(*arguments):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(images_cache, where, full)
        data = Folder(path=str(fill(tmp_path / "a", 30)), size=12)
        with pytest.raises(DataError, match="No space left"):
            data.fingerprint()
        assert not list(cache.glob(".*"))


HEAD = "suite: mine\nvariants: [lsgan]\nseeds: 2\n"
SETTINGS = (
    "settings: {steps: 3, evaluate_every: 1, batch: 4, width: 4, extractor: digits-cnn, "
    "evaluation_samples: 64}\n"
)


def suite(folder: Path, entries: str, others: str = SETTINGS):
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "mine.yaml"
    file.write_text(f"{HEAD}datasets: {entries}\n{others}")
    return load_suite(str(file))


class TestInSuites:
    def test_three_ways_to_write_it_are_one_run(self, tmp_path):
        fill(tmp_path / "faces", 30, size=(64, 64))
        ids = []
        for place, entry in (
            ("s", "[{id: folder, path: ../faces, size: 16, channels: 1}]"),
            ("s", "[{id: 'folder:../faces', size: 16, channels: 1}]"),
            (".", "[{id: 'folder:faces', size: 16, channels: 1}]"),
            (".", f"[{{id: folder, path: '{tmp_path}/faces', size: 16, channels: 1}}]"),
        ):
            matrix = expand(suite(tmp_path / place, entry))
            ids.append([spec.id for spec in matrix.specs])
            (spec, _) = matrix.specs
            assert spec.dataset.options == {"size": 16, "crop": "center", "channels": 1}
            assert spec.dataset.where == {"path": str(tmp_path / "faces")}
            assert "path" not in json.dumps(spec.identity["dataset"])
            assert dataset_of(spec).fingerprint() == spec.dataset.fingerprint
        assert ids[0] == ids[1] == ids[2] == ids[3]

    def test_a_copy_elsewhere_is_the_same_run(self, tmp_path):
        fill(tmp_path / "a" / "faces", 30, size=(64, 64))
        shutil.copytree(tmp_path / "a", tmp_path / "b")
        entry = "[{id: 'folder:faces', size: 16, channels: 1}]"
        plans = [expand(suite(tmp_path / place, entry)) for place in ("a", "b")]
        assert [s.id for s in plans[0].specs] == [s.id for s in plans[1].specs]
        assert plans[0].plan.fingerprint == plans[1].plan.fingerprint
        assert plans[0].specs[0].dataset.where != plans[1].specs[0].dataset.where

    def test_the_label_is_as_written(self, tmp_path):
        fill(tmp_path / "faces", 30, size=(64, 64))
        entry = (
            "[{id: 'folder:faces', size: 16, channels: 1}, "
            "{id: folder, path: ./faces, size: 8, channels: 1}]"
        )
        text = "settings: {extractor: digits-cnn, network: mlp-small, batch: 8}\n"
        matrix = expand(suite(tmp_path, entry, text))
        assert [run.dataset for run in matrix.plan.runs[::2]] == [
            "folder:faces(size=16, channels=1)",
            "folder:./faces(size=8, channels=1)",
        ]
        chosen = expand(
            suite(tmp_path, entry, text), only={"dataset": ["folder:faces(size=16, channels=1)"]}
        )
        assert len(chosen.selected) == 2

    def problem(self, tmp_path, entry: str) -> str:
        with pytest.raises(SuiteError) as caught:
            expand(suite(tmp_path, entry))
        first = caught.value.problems[0]
        assert first.line == 4
        return first.message

    def test_mistakes_are_problems_of_the_suite(self, tmp_path):
        fill(tmp_path / "faces", 30, size=(64, 64))
        fill(tmp_path / "few", 3, size=(64, 64))
        assert "neither a folder nor a zip" in self.problem(tmp_path, "['folder:nowhere']")
        assert "has 3 different images" in self.problem(tmp_path, "['folder:few']")
        assert "nothing follows its id" in self.problem(tmp_path, "['ring8:faces']")
        assert "a path must follow" in self.problem(tmp_path, "['folder:']")
        assert "did you mean 'folder'" in self.problem(tmp_path, "['foldr:faces']")
        assert "is missing" in self.problem(tmp_path, "[folder]")
        two = "[{id: 'folder:faces', path: faces}]"
        assert "at least 1 character" in self.problem(tmp_path, "[{id: folder, path: ''}]")
        assert "has two paths" in self.problem(tmp_path, two)
        assert "at least 8" in self.problem(tmp_path, "[{id: 'folder:faces', size: 2}]")

    def test_the_same_images_at_two_places_are_there_twice(self, tmp_path):
        fill(tmp_path / "faces", 30, size=(64, 64))
        shutil.copytree(tmp_path / "faces", tmp_path / "copy")
        message = self.problem(tmp_path, "['folder:faces', 'folder:copy']")
        assert message == "folder:copy is there twice: it equals datasets[0] in line 4"

    def test_a_batch_larger_than_the_folder_is_refused(self, tmp_path):
        fill(tmp_path / "faces", 30, size=(64, 64))
        with pytest.raises(SuiteError, match="a batch of 64 is more than the 24 training examples"):
            expand(
                suite(
                    tmp_path,
                    "[{id: 'folder:faces', size: 16, channels: 1}]",
                    "settings: {extractor: digits-cnn, batch: 64}\n",
                )
            )


class TestRuns:
    ENTRY = "[{id: 'folder:faces', size: 16, channels: 1}]"

    def store(self, tmp_path: Path) -> tuple[Store, Matrix]:
        fill(tmp_path / "faces", 30, size=(40, 40))
        matrix = expand(suite(tmp_path, self.ENTRY))
        store = Store(tmp_path / "results")
        store.write_plan(matrix.plan)
        return store, matrix

    def test_a_suite_trains_on_a_folder_and_reports_what_was_odd(self, tmp_path):
        fill(tmp_path / "faces", 1, first=99, size=(4, 4))
        (tmp_path / "faces" / "torn.png").write_text("<b>no image</b>")
        with pytest.warns(DataWarning, match=r"torn\.png"):
            store, matrix = self.store(tmp_path)
        with pytest.warns(DataWarning, match=r"torn\.png"):
            assert Job(store, torch.device("cpu")).train(matrix.specs) == 0
        for spec in matrix.specs:
            record = read_run(store.folder(spec))
            assert record.is_final
            assert record.data.shape == (1, 16, 16)
            assert any("torn.png" in note for note in record.data.notes)
        page = write_report(store.root).read_text()
        assert "1 of 32 skipped: torn.png" in page
        assert "folder:faces(size=16, channels=1)" in page

    def test_names_of_classes_are_in_the_run_and_wherever_it_is_shown(self, tmp_path, capsys):
        names = ("1", "2", "10", "<b>\x1b[31m$x$")
        for i, name in enumerate(names):
            fill(tmp_path / "faces" / name, 12, first=100 * i, size=(16, 16))
        text = SETTINGS.replace("channels: 1", "").replace("digits-cnn", "thumbnail")
        entry = "[{id: 'folder:faces', size: 16, channels: 3}]"
        (tmp_path / "mine.yaml").write_text(
            f"suite: mine\nvariants: [cgan]\nseeds: 1\ndatasets: {entry}\n{text}"
        )
        matrix = expand(load_suite(str(tmp_path / "mine.yaml")))
        store = Store(tmp_path / "results")
        store.write_plan(matrix.plan)
        assert Job(store, torch.device("cpu")).train(matrix.specs) == 0
        shutil.rmtree(tmp_path / "faces")  # from here on the run alone has to know
        folder = store.folder(matrix.specs[0])
        assert read_run(folder).data.class_names == names
        capsys.readouterr()

        described = describe_run(str(folder))
        assert described["data"]["class_names"] == list(names)
        print_run(described)
        assert "classes: 1, 2, 10, <b>\ufffd[31m$x$" in capsys.readouterr().out

        for wanted, label in (("10", 2), ("1", 0), ("0", 0), (names[3], 3), ("3", 3)):
            made = sample(folder, Request(count=2, classes=wanted), tmp_path / "x.png", force=True)
            assert made["classes"] == [label]
        made = sample(folder, Request(count=2, classes="all"), tmp_path / "x.png", force=True)
        assert made["class_names"] == ["1", "2", "10", "<b>\ufffd[31m$x$"]
        with pytest.raises(GanbenchError, match=r"'11' is no class \(did you mean '1'\?\); the cl"):
            sample(folder, Request(classes="11"), tmp_path / "y.png", force=False)

        written = export(folder, tmp_path / "g.pt2", force=False)
        assert written["class_names"] == list(names)
        assert written["usage"][-1].endswith("from 0: 1, 2, 10, <b>\ufffd[31m$x$")
        exec("\n".join(written["usage"]), {})  # the last is a comment on one line
        extra = {"ganbench.json": ""}
        torch.export.load(tmp_path / "g.pt2", extra_files=extra)
        assert json.loads(extra["ganbench.json"])["class_names"] == list(names)

        page = write_report(store.root).read_text()
        shown = "1, 2, 10, &lt;b&gt;\ufffd[31m$x$"
        assert shown in page
        (own,) = (store.root / "report" / "runs").glob("folder-*.html")
        assert shown in own.read_text()

    def test_a_folder_that_has_moved_goes_on_where_it_was(self, tmp_path):
        store, matrix = self.store(tmp_path)
        assert Job(store, torch.device("cpu")).train(matrix.specs[:1]) == 0
        (tmp_path / "faces").rename(tmp_path / "photos")
        again = expand(suite(tmp_path, self.ENTRY.replace("faces", "photos")))
        assert [s.id for s in again.specs] == [s.id for s in matrix.specs]
        assert set(finished(store, again.specs)) == {matrix.specs[0].id}
        assert Job(store, torch.device("cpu")).train(again.specs) == 0

    def test_a_folder_that_changes_before_it_is_read_is_refused(self, tmp_path, capsys):
        store, matrix = self.store(tmp_path)
        fill(tmp_path / "faces", 1, first=99, size=(40, 40))
        assert Job(store, torch.device("cpu")).train(matrix.specs) == 1
        capsys.readouterr()
        record = read_run(store.folder(matrix.specs[0]))
        assert record.outcome.outcome == "crashed"
        assert "'folder' is no longer what it was" in record.outcome.reason
