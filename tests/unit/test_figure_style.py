"""Proves how labels are made to fit a figure."""

from reports.figures.style import short, short_apart


def test_a_label_that_fits_stays() -> None:
    assert short_apart(["ema", "spectral-norm"]) == ["ema", "spectral-norm"]


def test_a_long_label_is_cut_at_its_end() -> None:
    assert short_apart(["a" * 50, "b"], 10) == ["aaaaaaaaa…", "b"]
    assert short("a" * 10, 10) == "a" * 10


def test_labels_that_begin_alike_are_told_apart_by_where_they_differ() -> None:
    labels = [f"settings(lr_g=0.001, optimizer=adam, lr_d={rate})" for rate in ("0.1", "0.002")]
    cut = short_apart([*labels, "none"], 24)
    assert cut == ["settings…lr_d=0.1)", "settings…lr_d=0.002)", "none"]
    assert all(len(label) <= 24 for label in cut)


def test_one_that_is_the_beginning_of_the_other() -> None:
    first, second = short_apart(["x" * 30, "x" * 30 + " and ema"], 20)
    assert first != second


def test_what_would_hide_a_label_from_a_legend() -> None:
    assert short("_x") == " _x"
    assert short("a\nb") == "a b"
