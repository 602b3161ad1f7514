"""What folders of images mean: classes, splits, and what lies beside them."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.datasets.images.layout import Layout, layout_of, natural
from harness.errors import DataError

PATH = Path("photos")


def files(*folders: str, count: int = 3) -> list[str]:
    return [f"{folder}/{i}.png".lstrip("/") for folder in folders for i in range(count)]


def understood(names: list[str], *empty: str) -> tuple[Layout, tuple[str, ...] | None]:
    folders = {
        "/".join(name.split("/")[:depth])
        for name in names
        for depth in range(1, len(name.split("/")))
    }
    layout = layout_of(PATH, names, folders | set(empty))
    return layout, layout.classes(PATH, filter(layout.holds, names))


class TestOrder:
    def test_numbers_count_as_numbers(self):
        names = ["10", "b", "2", "a10", "1", "a9b", "a9", "a010", "B", "", "01", "a"]
        assert sorted(names, key=natural) == [
            "", "01", "1", "2", "10", "B", "a", "a9", "a9b", "a010", "a10", "b",
        ]  # fmt: skip

    @given(st.lists(st.text("0129ab٣² ", max_size=8), unique=True))
    def test_it_is_total(self, names):
        other = names[::-1]
        assert sorted(names, key=natural) == sorted(other, key=natural)
        assert len({str(natural(name)) for name in names}) == len(names)

    def test_a_name_of_many_digits_is_no_trouble(self):
        long = ["1" + "0" * 30_000, "9" * 30_000]
        assert sorted(long, key=natural) == ["9" * 30_000, "1" + "0" * 30_000]


class TestClasses:
    def test_folders_are_classes_in_natural_order(self):
        layout, classes = understood(files("10", "2", "1"))
        assert (classes, layout.notes, layout.splits) == (("1", "2", "10"), (), {})
        assert layout.class_of("10/0.png") == "10"

    @pytest.mark.parametrize("names", [files(""), files("cat"), files("a/b", "c/d"), []])
    def test_otherwise_there_are_none(self, names):
        layout, classes = understood(names)
        assert (classes, layout.notes) == (None, ())
        assert all(map(layout.holds, names))

    @pytest.mark.parametrize("extra", ["loose.png", "cat/more/deep.png", "old/2019/x.png"])
    def test_a_stray_image_is_left_out_and_named(self, extra):
        layout, classes = understood([*files("cat", "dog"), extra])
        assert classes == ("cat", "dog")
        assert not layout.holds(extra)
        assert layout.notes == (f"1 left out, not directly in a class's folder: {extra}",)

    def test_only_some_strays_are_named(self):
        layout, _ = understood([*files("cat", "dog", count=9), *files("", count=7)])
        (note,) = layout.notes
        assert note.startswith("7 left out")
        assert note.endswith("0.png, 1.png, 2.png, 3.png, 4.png and 2 more")

    def test_where_most_lie_elsewhere_there_are_no_labels_and_it_is_said(self):
        names = [*files("x", "y", count=1), *files("", count=5)]
        layout, classes = understood(names)
        assert classes is None
        assert all(map(layout.holds, names))
        assert layout.notes == (
            "without labels, since 5 of 7 do not lie directly in one of the folders x, y: "
            "0.png, 1.png, 2.png, 3.png, 4.png",
        )

    def test_an_empty_folder_is_no_class_and_is_named(self):
        layout, classes = understood(files("cat", "dog"), "eel", "cat/nothing", "2", "10")
        assert classes == ("cat", "dog")
        assert layout.notes == ("no class, without images: 2, 10, eel",)
        assert understood(files("cat"), "eel")[0].notes == ()

    def test_a_class_of_which_nothing_can_be_read_is_none(self):
        layout, _ = understood(files("a", "b", "c"))
        assert layout.classes(PATH, files("a", "c")) == ("a", "c")
        assert layout.classes(PATH, files("c")) is None


class TestSplits:
    @pytest.mark.parametrize(
        "folders",
        [
            ("train", "val", "test"),
            ("training", "valid", "test"),
            ("Train", "VALIDATION", "TEST"),
            ("train", "Val", "Test"),
        ],
    )
    @pytest.mark.parametrize("classes", [(), ("1", "2", "10")])
    def test_they_are_honoured_with_and_without_classes(self, folders, classes):
        below = [f"{folder}/{name}" for folder in folders for name in classes] or list(folders)
        layout, found = understood(files(*below))
        assert found == (classes or None)
        assert list(layout.splits) == ["train", "validation", "test"]
        assert tuple(layout.splits.values()) == folders
        assert [layout.split_of(files(f)[0]) for f in folders] == list(layout.splits)
        assert layout.notes == ()

    @pytest.mark.parametrize(
        ("folders", "note"),
        [
            (("train", "test"), "validation has no folder, and is cut out of train"),
            (("train", "val"), "test has no folder, and is cut out of train"),
            (("train",), "validation and test have no folders, and are cut out of train"),
        ],
    )
    def test_what_is_cut_is_said(self, folders, note):
        assert understood(files(*folders))[0].notes == (note,)

    @pytest.mark.parametrize(
        ("names", "empty", "message"),
        [
            (files("train", "test", "extra"), (), "train, test are splits by their names, and"),
            (files("train", "test", "dev"), (), r"in dev; move these into a split, or away"),
            (files("car", "train"), (), "train is a split by its name, .* in car; .* rename train"),
            (files("test", "cat"), (), "test is a split by its name, and there is no folder train"),
            (files("cat", "dog"), ("test",), "there is no folder train .* rename test"),
            (files("val", "test"), (), "val is a split by its name"),
            (files("train", "Training"), (), "Training and train are one split by their names"),
            (files("train", "val", "valid"), (), "val and valid are one split"),
            (files("train"), ("test",), "split test has no images .* take the folder away"),
            (files("test"), ("train",), "the split train has no images that can be read; add some"),
            (files("train", "test/a", "test/b"), (), "classes in test, and not in train; lay all"),
            (files("train/a", "train/b", "test"), (), "classes in train, and not in test; lay all"),
            (files("train/a", "train/b", "test/a"), (), "test has no images of b, which another"),
            (files("train/a", "train/b", "test/a", "test/b", "test/c"), (), "train has no .* of c"),
            (files("train/a", "test/a", "test/b"), (), "train has no images of b"),
            (files("train") + files("", count=5), (), "5 images lie beside the splits train"),
            (files("data/train", "data/test"), (), "data has train, test, which are splits by"),
            (files("x/y/Train/a", "x/y/valid/a", "z"), (), "x/y has Train, valid, which"),
        ],
    )
    def test_what_does_not_go_together_is_refused_with_a_remedy(self, names, empty, message):
        with pytest.raises(DataError, match=rf"^photos: .*{message}"):
            understood(names, *empty)

    def test_a_test_folder_further_down_is_just_a_folder(self):
        assert understood(files("holiday/test", "work/val"))[0].notes == ()

    @pytest.mark.parametrize("extra", ["loose.png", "cover.jpg"])
    def test_a_stray_image_beside_them_is_left_out_and_named(self, extra):
        names = [*files("train", "test", "val"), extra]
        layout, _ = understood(names)
        assert layout.notes == (f"1 left out, in no split: {extra}",)
        assert [name for name in names if not layout.holds(name)] == [extra]

    def test_a_stray_image_below_them_is_left_out_and_named(self):
        names = files("train/a", "train/b", "test/a", "test/b", "val/a", "val/b")
        layout, classes = understood([*names, "train/loose.png"])
        assert classes == ("a", "b")
        assert layout.notes == ("1 left out, not directly in a class's folder: train/loose.png",)
