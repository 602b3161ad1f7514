"""What D learned: features, the linear classifier, its baselines, and the probe in a job."""

from __future__ import annotations

import csv
import io
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.svm import LinearSVC
from torch import Tensor
from torch.nn.functional import max_pool2d

from harness.datasets.base import datasets
from harness.errors import DataError, SuiteError
from harness.jobs.job import Job, has_evaluations
from harness.metrics import applicable
from harness.metrics.cache import ReferenceCache
from harness.metrics.probes import representation
from harness.metrics.probes.base import probes
from harness.metrics.probes.representation import (
    CENTROIDS,
    PENALTIES,
    KMeansFeatures,
    Representation,
    choose_labelled,
    linear_accuracy,
    normalized,
    pooled,
)
from harness.networks.blueprint import Blueprint
from harness.spec import RunSpec
from harness.store.events import ProbeRow, Protocol
from harness.store.folders import Store
from harness.store.packed import Packed
from harness.store.reading import RunRecord, read_run
from harness.store.records import MetricInfo, PlannedRun
from harness.suite.load import read_suite
from harness.suite.matrix import Matrix, expand
from harness.testing.specs import make_spec
from harness.training.trainer import Trainer
from reports.cells import CellRuns, Result
from reports.sections import representation as chapter
from reports.statistics.intervals import wilson
from tests.stores import planned_cell

CPU = torch.device("cpu")
DIGITS = datasets.get("digits")()
SUITE = """
suite: probed
datasets: [digits]
variants: [dcgan]
seeds: 1
settings: {steps: 10, probes: [representation]}
"""


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make k-means quick."""
    monkeypatch.setattr(representation.KMeansFeatures.__init__, "__defaults__", (10, 500))


def plan(text: str) -> Matrix:
    return expand(read_suite(text.encode(), "mine.yaml"))


def test_maps_are_pooled_to_four_by_four_and_all_layers_joined() -> None:
    random = torch.Generator().manual_seed(0)
    large, small = (torch.randn(3, c, s, s, generator=random) for c, s in ((2, 16), (5, 2)))
    units = torch.randn(3, 7, generator=random)
    found = pooled({"a": large, "b": small, "c": units})
    expected = torch.cat([max_pool2d(large, 4).flatten(1), small.flatten(1), units], dim=1)
    torch.testing.assert_close(found, expected, rtol=0, atol=0)
    assert found.shape == (3, 2 * 16 + 5 * 4 + 7)


def test_labelled_images_are_equally_many_of_each_class() -> None:
    labels = DIGITS.load("train").labels
    assert labels is not None
    chosen = choose_labelled(labels, 10)
    assert torch.bincount(labels[chosen]).tolist() == [100] * 10
    assert len(set(chosen.tolist())) == 1000
    assert torch.equal(chosen, choose_labelled(labels, 10))
    # In random order, so that the first fifth, which is held out, has all classes.
    assert torch.bincount(labels[chosen[:200]]).min() > 5
    with pytest.raises(DataError, match="one has 30; leave it out"):
        choose_labelled(torch.cat([labels[labels > 0], torch.zeros(30, dtype=torch.int64)]), 10)


def blobs(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Draw three overlapping classes in five dimensions of very different scale."""
    random = np.random.RandomState(seed)
    labels = random.randint(3, size=count)
    centres = np.array([[0, 0, 0, 0, 0], [2, 0, 1, 0, 0], [0, 2, 0, 1, 0]])
    points = (centres[labels] + random.normal(size=(count, 5))) * np.array([1, 1e-4, 1e3, 1, 1])
    return torch.from_numpy(points), torch.from_numpy(labels)


def test_accuracy_is_that_of_a_classifier_chosen_on_held_out_labels() -> None:
    (x, y), (u, v) = blobs(100, 0), blobs(400, 1)
    found = linear_accuracy(x, y, u, v)
    a, b = x.numpy(), u.numpy()
    a, b = ((s - x.numpy().mean(0)) / x.numpy().std(0) / math.sqrt(5) for s in (a, b))

    def score(C: float, fit: slice, on: np.ndarray, truth: np.ndarray) -> float:
        svm = LinearSVC(C=C, tol=1e-3, random_state=0).fit(a[fit], y.numpy()[fit])
        return svm.score(on, truth)

    held_out = [score(C, slice(20, None), a[:20], y.numpy()[:20]) for C in PENALTIES]
    best = PENALTIES[held_out.index(max(held_out))]
    assert found is not None
    assert found.penalty == best
    assert found.share == pytest.approx(score(best, slice(None), b, v.numpy()))
    assert 0.6 < found.share < 0.95
    assert found.dimensions == 5


def test_features_without_information_classify_by_chance() -> None:
    (_, y), (_, v) = blobs(300, 0), blobs(3000, 1)
    noise = torch.randn(3300, 8, generator=torch.Generator().manual_seed(0))
    found = linear_accuracy(noise[:300], y, noise[300:], v)
    assert found is not None
    assert found.share == pytest.approx(1 / 3, abs=0.04)


def test_features_that_never_change_do_no_harm_and_infinite_ones_are_no_number() -> None:
    (x, y), (u, v) = blobs(100, 0), blobs(400, 1)
    flat = linear_accuracy(torch.ones(100, 2), y, torch.ones(400, 2), v)
    assert flat is not None and 0.2 < flat.share < 0.5
    x[3, 2] = math.inf
    assert linear_accuracy(x, y, u, v) is None


def test_k_means_features_by_hand() -> None:
    images = DIGITS.load("train").values
    features = KMeansFeatures(images, centroids=6, patches=400)
    found = features(images[:3])
    assert found.shape == (3, 4 * 6)
    centroids = features.centroids
    expected = torch.zeros(3, 4, 6, dtype=torch.float64)
    for n in range(3):
        for i in range(11):
            for j in range(11):
                patch = images[n, 0, i : i + 6, j : j + 6].flatten().double()
                patch = (patch - patch.mean()) / math.sqrt(float(patch.var()) + 10)
                white = (patch - features.mean) @ features.whitening
                distance = (white - centroids).norm(dim=1)
                expected[n, 2 * (i >= 5) + (j >= 5)] += (distance.mean() - distance).clamp(min=0)
    torch.testing.assert_close(found.double(), expected.flatten(1), rtol=1e-4, atol=1e-4)
    assert torch.equal(found, KMeansFeatures(images, centroids=6, patches=400)(images)[:3])


def test_patches_are_white() -> None:
    images = DIGITS.load("train").values
    features = KMeansFeatures(images, centroids=2, patches=4000)
    patches = images[:500, 0].unfold(1, 6, 5).unfold(2, 6, 5).flatten(3).flatten(0, 2).double()
    white = (normalized(patches) - features.mean) @ features.whitening
    spread = torch.linalg.eigvalsh(white.T.cov())
    # Eigenvalues well above the 0.1 that is added become nearly 1.
    assert 0.7 < spread[-8:].mean() < 1.15


def make_probe(folder: Path, reference: str = "train") -> Representation:
    return Representation(DIGITS, reference, None, ReferenceCache(folder))  # type: ignore[arg-type]


def test_the_probe_sees_what_the_features_hold(small: None, tmp_path: Path) -> None:
    probe = make_probe(tmp_path)
    test = DIGITS.load("test")
    known = {image.numpy().tobytes(): int(k) for split in ("train", "test")
             for image, k in zip(*vars(DIGITS.load(split)).values(), strict=True)}  # type: ignore[arg-type]  # fmt: skip

    def oracle(images: Tensor) -> dict[str, Tensor]:
        labels = torch.tensor([known[image.numpy().tobytes()] for image in images])
        return {"hidden1": torch.eye(10)[labels], "hidden2": torch.zeros(len(images), 2, 8, 8)}

    (name,) = probe(oracle).values
    assert name == "svm[D,4x4]@1000/test"
    assert probe(oracle).values[name] == 1.0
    assert probe(oracle).details["layers"] == ["hidden1", "hidden2"]
    assert probe(oracle).details["dimensions"] == 10 + 2 * 16
    blind = probe(lambda images: {"hidden1": torch.zeros(len(images), 3)}).values[name]
    assert blind < 0.2
    broken = probe(lambda images: {"hidden1": torch.full((len(images), 3), torch.nan)})
    assert math.isnan(broken.values[name])
    assert probe.describe()["examples"] == len(test) == 300


def test_baselines_are_measured_once_and_pixels_are_right(
    small: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    described = make_probe(tmp_path).describe()
    monkeypatch.setattr(Representation, "_measure_baselines", None)
    assert make_probe(tmp_path).describe() == described
    train, test = DIGITS.load("train"), DIGITS.load("test")
    assert train.labels is not None and test.labels is not None
    chosen = choose_labelled(train.labels, 10)
    flat = [values.flatten(1).double() for values in (train.values[chosen], test.values)]
    expected = linear_accuracy(flat[0], train.labels[chosen], flat[1], test.labels)
    k_means, pixels = described["baselines"].values()
    assert expected is not None
    assert pixels == {
        "share": expected.share, "penalty": expected.penalty, "dimensions": 256
    }  # fmt: skip
    assert 0.85 < pixels["share"] <= 1
    assert k_means["share"] > 0.6
    assert make_probe(tmp_path, "test").describe() == described
    monkeypatch.setattr(Representation, "version", 99)
    with pytest.raises(TypeError):
        make_probe(tmp_path)


def test_validation_is_left_to_tuning(
    small: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = type(DIGITS).read

    def without_validation(self: Any, split: str, root: Path | None = None) -> Any:
        assert split != "validation"
        return read(self, split, root)  # type: ignore[arg-type]

    monkeypatch.setattr(type(DIGITS), "read", without_validation)
    for reference in ("train", "test"):
        make_probe(tmp_path, reference)
        names = [c.name for c in Representation.columns(DIGITS, reference)]  # type: ignore[arg-type]
        assert names == [
            "svm[D,4x4]@1000/test",
            f"svm[k-means-{CENTROIDS}]@1000/test",
            "svm[pixels]@1000/test",
        ]


@pytest.mark.parametrize(
    ("dataset", "changed", "reason"),
    [
        ("ring8", {}, "needs images with labels"),
        ("digits", {"condition": 10}, "not told the class"),
        ("digits", {"pack": 2}, "one image at a time"),
    ],
)
def test_what_it_cannot_be_made_of(dataset: str, changed: dict[str, int], reason: str) -> None:
    data = datasets.get(dataset)()
    blueprint = Blueprint.plain("dcgan16", 8, 4, data.shape)
    for name, value in changed.items():
        object.__setattr__(blueprint.discriminator, name, value)
    misfit = Representation.misfit(data, blueprint)
    assert misfit is not None and reason in misfit
    assert Representation.misfit(DIGITS, Blueprint.plain("dcgan16", 8, 4, (1, 16, 16))) is None


CELL = planned_cell("d", "v")


class TestSuite:
    def test_a_cell_where_it_does_not_fit_is_skipped_with_the_reason(self) -> None:
        found = plan(SUITE.replace("[digits]", "[digits, ring8]").replace("[dcgan]", "[gan]"))
        assert [spec.dataset.id for spec in found.specs] == ["digits"]
        assert [skip.reason for skip in found.plan.skipped] == [
            "the probe representation needs images with labels"
        ]

    @pytest.mark.parametrize(
        ("value", "message"),
        [
            ("[representatoin]", "unknown probe 'representatoin' (did you mean 'representation'?)"),
            ("[representation, representation]", "a probe is there twice"),
            ("representation", "list"),
        ],
    )
    def test_what_is_wrong_is_said_with_its_line(self, value: str, message: str) -> None:
        with pytest.raises(SuiteError) as caught:
            plan(SUITE.replace("[representation]", value))
        assert caught.value.problems[0].line == 6
        assert message in caught.value.problems[0].message

    def test_asking_is_part_of_the_protocol(self) -> None:
        (asked,), (plain,) = plan(SUITE).specs, plan(SUITE.replace("[representation]", "[]")).specs
        assert asked.settings.probes == ("representation",)
        assert asked.metrics != plain.metrics
        assert asked.id != plain.id

    def test_who_does_not_ask_keeps_protocol_and_id(self) -> None:
        (spec,) = plan(SUITE.replace(", probes: [representation]", "")).specs
        (empty,) = plan(SUITE.replace("[representation]", "[]")).specs
        assert "probes" not in spec.model_dump(mode="json")["settings"]
        assert (spec.id, spec.metrics) == (empty.id, empty.metrics)
        asked = make_spec("digits", probes=("representation",))
        assert asked.model_dump(mode="json")["settings"]["probes"] == ["representation"]
        for one in (spec, asked):
            assert RunSpec.model_validate_json(one.model_dump_json()) == one

    def test_a_new_version_is_another_protocol(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def fingerprint() -> str:
            return applicable.protocol(
                DIGITS, extractor="digits-cnn", samples=64, reference="train",
                asked=["representation"],
            )  # fmt: skip

        before = fingerprint()
        monkeypatch.setattr(Representation, "version", 99)
        assert fingerprint() != before


class TestTraining:
    def test_hidden_layers_are_the_runs_own(self) -> None:
        """Each run's D alone gives what the whole cohort gives, and training goes on unharmed."""
        specs = [make_spec("digits", "dcgan", seed=s, precision="float64") for s in range(3)]
        data = DIGITS.load("train")
        trainer, untouched = Trainer(specs, data, CPU), Trainer(specs, data, CPU)
        for one in (trainer, untouched):
            for _ in range(3):
                one.train_step()
        images = data.values[:20]
        x = (images.double() / 127.5 - 1).expand(3, *images.shape)
        with torch.no_grad():
            together = trainer.game.D(x, training=False).features
        for run in range(3):
            alone = trainer.game.hidden(run)(images)
            assert list(alone) == list(together)
            for name, layer in alone.items():
                torch.testing.assert_close(layer, together[name][run], rtol=1e-9, atol=1e-12)
        for one in (trainer, untouched):
            one.train_step()
        assert torch.equal(trainer.game.D.theta, untouched.game.D.theta)

    def test_a_job_probes_before_and_after(
        self, small: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        options = {"probes": ("representation",), "steps": 30}
        specs = [make_spec("digits", "dcgan", seed=seed, **options) for seed in range(2)]
        store = Store(tmp_path / "results")
        assert Job(store, CPU).train(specs) == 0
        found = []
        for spec in specs:
            record = read_run(store.folder(spec))
            events = record.of_type(ProbeRow)
            assert [event.step for event in events] == [0, 30]
            assert [list(e.values) for e in events] == [["svm[D,4x4]@1000/test"]] * 2
            # Sixteen channels of 4×4 and eight of 8×8, pooled to 4×4.
            assert events[0].details["dimensions"] == 16 * 16 + 8 * 16
            found += [next(iter(event.values.values())) for event in events]
            described = record.protocol.probes["representation"]
            assert [c["name"] for c in described["columns"][1:]] == list(described["baselines"])
            assert has_evaluations(record, 30)
            kept = (event for event in record.events if event != events[1])
            record = replace(record, events=Packed(kept))
            assert has_evaluations(record, 20)
            assert not has_evaluations(record, 30)
        assert len(set(found)) > 2
        assert min(found) > 0.5

    def test_a_run_whose_probe_fails_is_crashed_and_the_others_go_on(
        self, small: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        calls = []

        def fail_once(self: Representation, hidden: object) -> object:
            calls.append(hidden)
            if len(calls) == 1:
                raise RuntimeError("no features today")
            return representation.Finding({"svm[D,4x4]@1000/test": 0.5})

        monkeypatch.setattr(Representation, "__call__", fail_once)
        specs = [
            make_spec("digits", "gan", seed=seed, probes=("representation",)) for seed in range(2)
        ]
        store = Store(tmp_path / "results")
        assert Job(store, CPU).train(specs) == 1
        first, second = (read_run(store.folder(spec)).outcome for spec in specs)
        assert first is not None and second is not None
        assert first.outcome == "crashed"
        assert first.reason.startswith("a probe failed: RuntimeError: no features today")
        assert second.outcome == "ok"


def test_every_probe_describes_itself() -> None:
    assert probes.names() == ["representation"]
    for probe in probes:
        assert probe.summary and probe.source
        columns = probe.columns(DIGITS, "train")
        assert len({column.name for column in columns}) == len(columns)


class TestChapter:
    own, k_means, pixels = (MetricInfo(n, "representation", n, "higher") for n in "abc")

    def result(self, seed: int, before: float, after: float | None) -> Result:
        described = {
            "columns": [vars(column) for column in (self.own, self.k_means, self.pixels)],
            "baselines": {
                "b": {"share": 0.8, "penalty": 0.1, "dimensions": 1600.0},
                "c": {"share": 0.6, "penalty": 10.0, "dimensions": 256.0},
            },
            "examples": 300,
        }
        events = [Protocol(metrics=(), probes={"representation": described})]
        for step, value in ((0, before), (50, after)):
            if value is not None:
                details = {"layers": ["h"], "dimensions": 384, "C": 1.0}
                events.append(
                    ProbeRow(
                        probe="representation", step=step, values={"a": value}, details=details
                    )
                )
        record = RunRecord(Path("nowhere"), None, Packed(events))  # type: ignore[arg-type]
        planned = PlannedRun(f"run{seed}", "folder", planned_cell("digits", "dcgan"), seed)
        return Result(planned, "ok", record)

    def test_numbers_by_hand(self) -> None:
        results = (
            self.result(0, 0.70, 0.90),
            self.result(1, 0.72, 0.84),
            self.result(2, 0.68, None),
            self.result(3, 0.60, math.nan),
        )
        figure, table = chapter.blocks_of("digits", [CellRuns(CELL, results)], "digits")
        cell, k_means, pixels = table.rows  # type: ignore[union-attr]
        assert [cell[i].value for i in (2, 3, 4, 5)] == pytest.approx([0.87, 0.71, 0.16, 0.07])
        assert [cell[i].n for i in (2, 3, 4, 5)] == [2] * 4
        assert cell[2].interval is not None and cell[2].interval.high == 1.0
        assert (cell[6].value, cell[7].value) == (384, 1.0)
        assert (k_means[2].value, k_means[2].interval) == (0.8, wilson(240, 300))
        assert pixels[2].n == 300
        assert len(figure.svg) > 5000  # type: ignore[union-attr]

    def test_nothing_without_a_trained_discriminator(self) -> None:
        cell = CellRuns(CELL, (self.result(0, 0.7, None),))
        assert chapter.blocks_of("digits", [cell], "digits") == []

    def test_a_whole_report(self, small: None, tmp_path: Path) -> None:
        from reports import comma_separated, markdown

        cell = CellRuns(
            planned_cell("d", "v"), (self.result(0, 0.7, 0.9), self.result(1, 0.7, 0.8))
        )
        _, table = chapter.blocks_of("digits", [cell], "digits")
        rows = list(csv.DictReader(io.StringIO(comma_separated.render(table))))  # type: ignore[arg-type]
        assert [row["Features"] for row in rows] == ["v", "k-means features", "raw pixels"]
        assert "85 %" in markdown.render_table(table)  # type: ignore[arg-type]
