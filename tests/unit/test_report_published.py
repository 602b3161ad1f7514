"""Published numbers beside ours: only where the protocol is the same, and marked as not ours."""

import csv
import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from harness.store.events import Protocol
from harness.store.reading import read_suite
from reports.build import write_report
from reports.cells import group
from reports.document import Section
from reports.sections.published import Published, PublishedTable, bare, build, read, unlike
from tests import stores
from tests.stores import SETTINGS, Fate, Where, build_store

PLANE = {"modes@500": "modes@2500", "cs@500": "high-quality@2500"}
STACKED = {"modes@500": "modes[stacked-mnist-cnn@1a2b3c4d]@26k"}
CIFAR = {"fd[data]@500/test": "fid@50k/train", "cs@500": "is@50k"}


def renamed(monkeypatch: pytest.MonkeyPatch, names: dict[str, str], **changes: Any) -> None:
    """Let the runs of a store be measured by other protocols."""
    plain = stores.protocol

    def protocol(*, images: bool) -> Protocol:
        record = plain(images=images)
        metrics = (replace(m, name=names.get(m.name, m.name), **changes) for m in record.metrics)
        return replace(record, metrics=tuple(metrics))

    monkeypatch.setattr(stores, "protocol", protocol)


def fate(where: Where) -> Fate:
    return Fate("collapsed", 3.0) if where.seed == 0 else Fate("ok", 1.0)


def store(folder: Path, dataset: str, **options: Any) -> Path:
    options = {"fate_of": fate, "variants": ("gan",), "tricks": ("none",), **options}
    return build_store(folder / "s", datasets=(dataset,), **options)


def section(root: Path) -> Section | None:
    return build(group(read_suite(root)))


def rows_of(found: Section) -> list[dict[str, Any]]:
    (table,) = found.blocks
    titles = [column.title for column in table.columns]
    return [dict(zip(titles, row, strict=True)) for row in table.rows]


class TestFile:
    def test_it_holds_the_tables(self):
        found = {
            (t.dataset, t.source, row.method): row.values for t in read().tables for row in t.rows
        }
        assert found["ring8", "veegan", "Unrolled GAN"] == (7.6, 0.356)
        assert found["grid25", "pacgan", "PacGAN2"] == (23.8, 0.913)
        assert found["stacked-mnist", "pacgan", "PacDCGAN2"] == (1000, 0.06)
        assert found["cifar10", "collections", "SNGAN (ResNet)"] == (14.32, 8.31)
        assert len(found) == 12 + 6 + 6
        kinds = {t.source: (t.runs, t.error) for t in read().tables}
        assert kinds["pacgan"] == (10, "standard error")
        assert kinds["veegan"] == (None, "")

    @pytest.mark.parametrize(
        ("row", "message"),
        [
            ({"method": "a", "values": [1]}, "1 values"),
            ({"method": "a", "values": [1, 2], "errors": [1, 2]}, "need a kind"),
            ({"method": "a", "values": [1, 2], "typo": 1}, "typo"),
        ],
    )
    def test_rows_fit_their_columns(self, row, message):
        table = {"dataset": "x", "source": "s", "protocol": "p", "columns": ["a", "b"]}
        with pytest.raises(ValidationError, match=message):
            PublishedTable.model_validate({**table, "rows": [row]})
        with pytest.raises(ValidationError, match="unknown sources"):
            good = {**table, "rows": [{"method": "a", "values": [1, 2]}]}
            Published.model_validate({"sources": {}, "tables": [good]})

    def test_its_settings_are_ours(self):
        options = {"points"}
        for table in read().tables:
            assert set(table.training) <= set(SETTINGS.model_dump())
            assert set(table.data) <= options

    @pytest.mark.parametrize(
        ("name", "expected"),
        [
            ("modes[stacked-mnist-cnn@1a2b3c4d]@26k", "modes@26k"),
            ("fd[thumbnail@12345678]@50k/train", "fd@50k/train"),
            ("is@50k", "is@50k"),
        ],
    )
    def test_names_are_compared_without_the_extractor(self, name, expected):
        assert bare(name) == expected


class TestSection:
    def test_there_is_none_for_other_protocols_or_data(self, tmp_path, monkeypatch):
        assert section(store(tmp_path / "a", "ring8")) is None
        renamed(monkeypatch, PLANE)
        assert section(store(tmp_path / "b", "digits")) is None
        assert (
            section(store(tmp_path / "c", "ring8", seeds=1, fate_of=lambda w: Fate("missing")))
            is None
        )

    def test_ours_count_every_run_that_has_the_number(self, tmp_path, monkeypatch):
        renamed(monkeypatch, PLANE)
        root = store(tmp_path, "ring8")
        found = section(root)
        assert found is not None
        ours, *others = rows_of(found)
        values = [r.last("modes@2500") for r in group(read_suite(root)).results]
        cell = ours["modes@2500 ↑"]
        assert (cell.value, cell.n) == (pytest.approx(np.mean(values)), 5)
        assert min(values) < cell.value < max(values)
        assert cell.interval is not None
        assert (ours["Whose"].value, ours["Runs"].value) == ("ours", "5, 1 failed")
        assert [row["Whose"].value for row in others] == ["published, not ours"] * 6
        assert "points not 100,000" in ours["Unlike"].value
        assert "steps 400 (400,000)" in ours["Unlike"].value
        assert "optimizer" not in ours["Unlike"].value

    def test_the_same_training_is_said_to_be(self, tmp_path):
        cell = group(read_suite(store(tmp_path, "ring8"))).cells[0]
        given = {"dataset": "ring8", "source": "s", "protocol": "p", "columns": ["a"],
                 "rows": [{"method": "m", "values": [1]}]}  # fmt: skip
        same = PublishedTable.model_validate({**given, "training": {"batch": 64, "lr_g": 2e-4}})
        other = PublishedTable.model_validate({**given, "training": {"lr_g": 1e-4}})
        assert unlike(cell, same) == "as published"
        assert unlike(cell, other) == "lr_g 0.000200 (0.000100)"

    def test_published_rows_have_their_source_runs_and_error(self, tmp_path, monkeypatch):
        renamed(monkeypatch, PLANE)
        found = section(store(tmp_path, "ring8"))
        assert found is not None
        row = next(r for r in rows_of(found) if r["Method"].value == "PacGAN2")
        assert row["modes@2500 ↑"].value == 7.9
        assert row["modes@2500 ↑"].interval is None
        assert row["high-quality@2500 ↑"].value == 0.956
        assert row["Runs"].value == "10"
        assert row["Published error"].value == "modes@2500 ± 0.100; high-quality@2500 ± 0.0200"
        veegan = next(r for r in rows_of(found) if r["Method"].value == "VEEGAN")
        assert (veegan["Runs"].value, veegan["Published error"].value) == ("not stated", None)
        (table,) = found.blocks
        assert "arXiv:1712.04086" in table.note and "± is the standard error" in table.note

    def test_only_matching_columns_are_there(self, tmp_path, monkeypatch):
        renamed(monkeypatch, STACKED)
        found = section(store(tmp_path, "stacked-mnist"))
        assert found is not None
        titles = [column.title for column in found.blocks[0].columns]
        assert titles[2:4] == ["modes@26k ↑", "Runs"]
        ours = rows_of(found)[0]["modes@26k ↑"]
        assert ours.protocol == "modes[stacked-mnist-cnn@1a2b3c4d]@26k"

    def test_other_extractors_are_not_inception(self, tmp_path, monkeypatch):
        renamed(monkeypatch, {"fd[data]@500/test": "fd[thumbnail@12345678]@50k/train"})
        assert section(store(tmp_path / "a", "cifar10")) is None
        monkeypatch.undo()
        renamed(monkeypatch, CIFAR)
        found = section(store(tmp_path / "b", "cifar10"))
        assert found is not None
        row = next(r for r in rows_of(found) if r["Method"].value == "DCGAN")
        assert (row["fid@50k/train ↓"].value, row["is@50k ↑"].value) == (42.72, 6.01)

    def test_a_whole_report_has_them_in_every_format(self, tmp_path, monkeypatch):
        calibration = {
            "a perfect sampler": [0.9889, 0.9844, 0.9928],
            "limited": [231.0],
            "of an older record": [0.5, 0.01],
        }
        renamed(monkeypatch, PLANE, calibration=calibration)
        root = store(tmp_path, "ring8")
        write_report(root)
        page = (root / "report" / "index.html").read_text()
        text = (root / "report" / "report.md").read_text()
        assert page.index('id="metrics"') < page.index('id="published"')
        for shown in (page, text):
            assert "published, not ours" in shown
            assert "VEEGAN" in shown
        tables = root / "report" / "tables"
        rows = list(csv.DictReader(io.StringIO((tables / "published-ring8.csv").read_text())))
        assert len(rows) == 7
        metric = list(
            csv.DictReader(io.StringIO((tables / "metric-ring8-modes-2500.csv").read_text()))
        )
        labels = [(row["Variant"], row["Tricks"], row["Last ↑"]) for row in metric]
        assert labels[1:] == [
            ("real held-out data", "calibration", "1.0"),
            ("a perfect sampler", "calibration", "0.9889"),
            ("limited", "calibration", "231.0"),
            ("of an older record", "calibration", "0.5"),
        ]
        limits = [(row["Last ↑ low"], row["Last ↑ high"]) for row in metric[2:]]
        assert limits == [("0.9844", "0.9928"), ("", ""), ("", "")]
