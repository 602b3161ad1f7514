"""A plugin that changes under its id: its runs are refused, trained again, or accepted in words."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from harness.cli import app
from harness.commands.expansion import expanded
from harness.commands.finished import RerunShortcut
from harness.commands.options import RunOptions, answer_of
from harness.commands.show import describe_run, print_run
from harness.commands.tune import TuneOptions, tune_suite
from harness.engines.base import Assignment
from harness.errors import CodeWarning, DataError, GanbenchError
from harness.jobs.cohort import JobOptions, JobRequest
from harness.jobs.job import Job, check_content
from harness.jobs.training_loop import Run
from harness.planning.backlog import readable, recorded
from harness.planning.changed_code import Settled, changes_of, settle_code, unreadable
from harness.sampling.generator import load_generator
from harness.store.code import UNKNOWN, Answer
from harness.store.events import Attempt, Ending
from harness.store.folders import REPLACED, Store
from harness.store.log import EventLog, read_events
from harness.store.merging import read_suites
from harness.store.plan import read_plan
from harness.store.reading import read_run
from harness.suite.matrix import Matrix
from harness.tracking.base import Mirror
from reports.build import compose, write_comparison, write_report
from reports.cells import group
from reports.code import mixtures
from reports.compare import compare, sentences
from tests.plugins import load_anew, registered_apart

CPU = torch.device("cpu")
SUITE = """
suite: mine
summary: Does my loss work?
seeds: 2
datasets: [ring8]
variants: [mine, gan]
settings: {network: toy2d, width: 4, steps: 3, batch: 8, evaluate_every: 1, log_every: 1,
           evaluation_samples: 64}
"""
VARIANT = """
from formulas import MARGIN
from harness.parts import Variant, variants

@variants.register("mine", source="me")
class Mine(Variant):
    '''Hinge with a margin.'''

    def real_loss(self, logits, target):
        return (MARGIN - logits).relu()

    def fake_loss(self, logits, target):
        return (MARGIN + logits).relu()

    def fooling_loss(self, logits):
        return -logits
"""


class Bench:
    """A suite with a plugin, and what its author does with them; jobs run in this process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.plugin = folder / "mine.py"
        (folder / "mine.yaml").write_text(SUITE)
        self.plugin.write_text(VARIANT)
        self.edit(1.0)

    def edit(self, margin: float) -> None:
        """Change the formula, in a file beside the plugin."""
        (self.folder / "formulas.py").write_text(f"MARGIN = {margin}\n")

    def options(self, **changes: Any) -> RunOptions:
        asked = RunOptions(str(self.folder / "mine.yaml"), self.folder / "out", wandb="disabled")
        return replace(asked, plugins=(str(self.plugin),), **changes)

    def matrix(self, **changes: Any) -> Matrix:
        load_anew(self.plugin)
        return expanded(self.options(**changes))

    def run(self, answer: Answer = "refuse", out: str = "out", **changes: Any) -> Settled:
        """Do what the command does, but for its processes."""
        matrix, store = self.matrix(**changes), Store(self.folder / out)
        selected = [spec for spec in matrix.specs if spec.id in matrix.selected]
        others = [spec for spec in matrix.specs if spec.id not in matrix.selected]
        records = recorded(store, selected)
        settled = settle_code(store.root, selected, records, matrix.plan.code, answer, others)
        for spec in settled.again:
            store.make_room(spec)
        store.write_plan(replace(matrix.plan, code=settled.code))
        for spec in settled.todo.pending:
            assert Job(store, CPU, JobOptions(code=settled.code)).train([spec]) == 0
        return settled

    def trained_by(self, out: str = "out") -> dict[tuple[str, int], list[str]]:
        """Return the names of the code that trained each run, by variant and seed."""
        records = (read_run(path) for path in (self.folder / out / "runs").iterdir())
        return {
            (record.spec.variant.id, record.spec.seed): [part.name for part in record.code]
            for record in records
        }

    def run_of(self, seed: int = 0) -> Path:
        (found,) = (self.folder / "out" / "runs").glob(f"ring8-mine-none-s{seed}-*")
        return found


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train the suite once."""
    with pytest.MonkeyPatch.context() as patch:
        registered_apart(patch)
        folder = tmp_path_factory.mktemp("bench")
        Bench(folder).run()
    return folder


@pytest.fixture
def bench(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    registered_apart(monkeypatch)
    bench = Bench(tmp_path)
    shutil.copytree(trained / "out", tmp_path / "out")
    return bench


def test_what_trained_a_run_is_in_its_attempt_and_in_the_plan(bench: Bench) -> None:
    (part,) = read_plan(bench.folder / "out").code
    assert (part.kind, part.id) == ("variant", "mine")
    assert part.sources.keys() == {"mine.py", "formulas.py"} and part.accepted == ()
    assert bench.trained_by() == {
        ("mine", 0): [part.name], ("mine", 1): [part.name], ("gan", 0): [], ("gan", 1): [],
    }  # fmt: skip
    for log in (bench.folder / "out" / "runs").glob("ring8-gan-*/events.jsonl"):
        assert b'"code"' not in log.read_bytes()


def test_runs_are_named_as_if_their_parts_had_no_code(bench: Bench) -> None:
    before = {spec.id for spec in bench.matrix().specs}
    bench.edit(2.0)
    assert {spec.id for spec in bench.matrix().specs} == before


def test_other_code_under_the_same_id_is_refused_with_what_to_do(bench: Bench) -> None:
    (before,) = read_plan(bench.folder / "out").code
    plan = (bench.folder / "out" / "suite.json").read_bytes()
    bench.edit(2.0)
    (now,) = bench.matrix().plan.code
    with pytest.raises(GanbenchError) as refused:
        bench.run()
    words = str(refused.value)
    for word in (
        f"variant 'mine': {before.name} then, {now.name} now; changed: formulas.py (2 runs)",
        "--retrain", "--accept-code", "another id", str(bench.folder / "out" / REPLACED),
    ):  # fmt: skip
        assert word in words
    assert (bench.folder / "out" / "suite.json").read_bytes() == plan
    assert bench.trained_by()["mine", 0] == [before.name]
    with pytest.raises(GanbenchError, match="code has changed"):
        bench.run(only=("variant=mine",))
    assert not bench.run(only=("variant=gan",)).told


def test_a_dry_run_says_the_same(bench: Bench) -> None:
    def pending(answer: Answer) -> list[str]:
        matrix, folder = bench.matrix(), bench.folder / "out"
        records = readable(folder, matrix.specs)
        todo = settle_code(folder, matrix.specs, records, matrix.plan.code, answer).todo
        return [spec.variant.id for spec in todo.pending]

    assert pending("refuse") == []
    bench.edit(2.0)
    with pytest.raises(GanbenchError, match=r"variant 'mine': .* then, .* now; changed: formulas"):
        pending("refuse")
    assert pending("retrain") == ["mine", "mine"]
    assert pending("accept") == []


def test_retrain_trains_again_what_has_changed_and_keeps_what_was(bench: Bench) -> None:
    before = bench.trained_by()
    log = (bench.run_of() / "events.jsonl").read_bytes()
    bench.edit(2.0)
    settled = bench.run("retrain")
    assert [spec.variant.id for spec in settled.again] == ["mine", "mine"]
    after = bench.trained_by()
    assert after.keys() == before.keys()
    assert {run for run in after if after[run] != before[run]} == {("mine", 0), ("mine", 1)}
    kept = bench.folder / "out" / REPLACED / f"{bench.run_of().name}-1"
    assert (kept / "events.jsonl").read_bytes() == log
    assert not bench.run().told
    bench.edit(3.0)
    bench.run("retrain")
    assert {f"{bench.run_of(seed).name}-{n}" for seed in (0, 1) for n in (1, 2)} == {
        path.name for path in (bench.folder / "out" / REPLACED).iterdir()
    }
    assert mixtures_of(bench.folder / "out") == ()
    shutil.rmtree(kept)
    bench.edit(4.0)
    bench.run("retrain")
    assert kept.is_dir() and bench.run_of().is_dir()


def mixtures_of(*folders: Path) -> tuple[str, ...]:
    return mixtures(group(read_suites(folders)))


def first_lines(folder: Path) -> list[str]:
    """Return what page and Markdown say before the suite's question."""
    write_report(folder)
    texts = [(folder / "report" / name).read_text() for name in ("index.html", "report.md")]
    return [(text.partition("</h1>")[2] or text).partition("Does my loss")[0] for text in texts]


@pytest.mark.usefixtures("unrendered")
def test_accepted_code_is_told_in_the_plan_in_attempts_and_in_provenance(bench: Bench) -> None:
    (before,) = read_plan(bench.folder / "out").code
    bench.edit(2.0)
    settled = bench.run("accept")
    assert settled.todo.pending == () and "2 runs" in settled.told[0]
    (now,) = read_plan(bench.folder / "out").code
    assert now.accepted == (before.name,) and now.name != before.name
    assert not bench.run().told
    page, _ = first_lines(bench.folder / "out")
    assert "mixes" not in page  # all that is shown is of one code, though not of the plan's
    bench.run(seeds=3)
    (newest,) = read_run(bench.run_of(2)).code
    assert newest == now
    for text in first_lines(bench.folder / "out"):
        assert "2 codes of variant" in text and "--accept-code" in text
    report = (bench.folder / "out" / "report" / "report.md").read_text()
    table = report.partition("### Code from elsewhere")[2].partition("###")[0]
    rows = [line for line in table.splitlines() if "`mine`" in line]
    assert len(rows) == 2
    assert before.name in rows[0] and "accepted as the plan's code, by --accept-code" in rows[0]
    assert now.name in rows[1] and "the plan's code" in rows[1]


def test_what_was_accepted_is_that_code_and_no_other(bench: Bench) -> None:
    bench.edit(2.0)
    bench.run("accept")
    bench.edit(1.0)
    assert not bench.run().told
    bench.edit(3.0)
    with pytest.raises(GanbenchError, match="code has changed"):
        bench.run()
    bench.run("accept")
    assert not bench.run().told


@pytest.mark.usefixtures("unrendered")
def test_what_only_leaves_out_may_not_stand_beside_other_code_unsaid(bench: Bench) -> None:
    bench.edit(2.0)
    with pytest.raises(GanbenchError, match=r"formulas\.py \(2 runs\)"):
        bench.run(seeds=3, only=("seed=2",))
    settled = bench.run("retrain", seeds=3, only=("seed=1", "seed=2"))
    assert "1 run of other code that --only leaves out" in settled.told[1]
    for text in first_lines(bench.folder / "out"):
        assert "2 codes of variant" in text and "--retrain" in text
    report = json.loads((bench.folder / "out" / "report" / "tables.json").read_text())
    assert "2 codes" in report["warnings"][0]


def test_a_run_that_was_cut_off_goes_on_with_its_own_code_only(bench: Bench) -> None:
    run = bench.run_of()
    log = run / "events.jsonl"
    events = [event for event in read_events(log) if not isinstance(event, Ending)]
    log.unlink()
    with EventLog(log) as rewritten:
        for event in events:
            rewritten.append(event)
    bench.edit(2.0)
    checkpoint = run / "checkpoints" / "step-000000001.json"
    checkpoint.touch()
    with pytest.raises(GanbenchError, match="code has changed"):
        bench.run(only=("seed=0",))
    checkpoint.unlink()  # it starts over, whatever began it
    matrix = bench.matrix()
    assert changes_of(read_run(run), matrix.plan.code) == []


def test_code_that_changes_while_a_command_runs_is_noticed(bench: Bench) -> None:
    matrix = bench.matrix(seeds=3)
    bench.edit(2.0)
    load_anew(bench.plugin)  # as a job does
    store = Store(bench.folder / "out")
    job = Job(store, CPU, JobOptions(code=matrix.plan.code))
    new = [spec for spec in matrix.specs if spec.seed == 2]
    assert [job.train([spec]) for spec in new] == [1, 0]
    outcome = read_run(store.folder(new[0])).outcome
    assert outcome is not None and "changed since the command began" in outcome.reason


def forget_code(folder: Path) -> None:
    """Make records as they were before code was recorded."""
    for log in folder.glob("runs/*/events.jsonl"):
        events = read_events(log)
        log.unlink()
        with EventLog(log) as rewritten:
            for event in events:
                begins = isinstance(event, Attempt)
                rewritten.append(replace(event, code=()) if begins else event)
    plan = json.loads((folder / "suite.json").read_bytes())
    del plan["code"]
    (folder / "suite.json").write_text(json.dumps(plan))


@pytest.mark.usefixtures("unrendered")
def test_results_of_before_are_taken_as_they_are_with_a_note(bench: Bench) -> None:
    out = bench.folder / "out"
    forget_code(out)
    assert "what it was is unknown" in report_of(out)
    bench.edit(2.0)
    assert not bench.run().told
    assert mixtures_of(out) == ()
    assert "of an older version, which did not record it" in report_of(out)
    bench.run(seeds=3)
    assert mixtures_of(out) == ()


def report_of(folder: Path) -> str:
    write_report(folder)
    return (folder / "report" / "report.md").read_text()


def test_code_without_source_is_unknown_and_never_refused(bench: Bench) -> None:
    matrix = bench.matrix()
    (part,) = matrix.plan.code
    unknown = replace(part, sources={})
    folder = bench.folder / "out"
    records = readable(folder, matrix.specs)
    assert len(records) == len(matrix.specs)
    assert settle_code(folder, matrix.specs, records, [unknown], "refuse").told == ()
    (line,) = unreadable([part, unknown])
    assert "variant 'mine' cannot be read" in line
    assert unknown.name == UNKNOWN


def test_a_moved_plugin_is_the_same(bench: Bench) -> None:
    elsewhere = bench.folder / "elsewhere"
    elsewhere.mkdir()
    for name in ("mine.py", "formulas.py"):
        (bench.folder / name).rename(elsewhere / name)
    bench.plugin = elsewhere / "mine.py"
    assert not bench.run().told


@pytest.mark.usefixtures("unrendered")
def test_folders_of_unlike_code_say_so_in_one_report(bench: Bench) -> None:
    out, other = bench.folder / "out", bench.folder / "other"
    bench.edit(2.0)
    bench.run(out="other", only=("seed=1",))
    shutil.rmtree(bench.run_of(1))
    (sentence,) = mixtures_of(out, other)
    assert "mixes 2 codes of variant 'mine'" in sentence
    assert compose([out, other]).warnings[0] == sentence
    bench.run(out="other")
    difference, *_ = sentences(compare(out, other))
    names = [*bench.trained_by()["mine", 0], *bench.trained_by("other")["mine", 0]]
    assert difference.startswith("variant 'mine' is not the same code in both folders")
    assert all(name in difference for name in names)
    page = write_comparison(compare(out, other), bench.folder / "compare")
    assert names[1] in page.read_text().partition("<dl")[0]
    assert names[1] in page.with_name("compare.md").read_text().partition("\n- ")[0]
    shutil.copytree(out, bench.folder / "again")
    assert sentences(compare(out, bench.folder / "again"))[0].startswith(str(bench.folder))


class InProcess:
    """An engine that trains in this process.

    Args:
        devices: Of which it takes no notice.
    """

    def __init__(self, devices: Sequence[str]) -> None:
        self.devices = devices

    def run(self, assignments: Sequence[Assignment], mirror: Mirror) -> int:
        for assignment in assignments:
            request = JobRequest.read(assignment.file)
            job = Job(Store(request.store), CPU, request.options)
            assert job.train(request.specs) == 0
        return 0


def test_trials_of_other_code_are_refused_and_tried_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.commands.tune.LocalEngine", InProcess)

    def tune(answer: Answer = "refuse") -> None:
        chosen = {"only": ("variant=mine",), "changed_code": answer, "device": "cpu"}
        matrix, options = bench.matrix(**chosen), bench.options(**chosen)
        assert tune_suite(matrix, options, TuneOptions(trials=2)) == 0

    def trials() -> dict[str, set[str]]:
        records = map(read_run, (bench.folder / "out" / "tuning" / "runs").iterdir())
        return {record.spec.id: {part.name for part in record.code} for record in records}

    tune()
    before = trials()
    (old,) = set.union(*before.values())
    bench.edit(2.0)
    with pytest.raises(GanbenchError, match="code has changed"):
        tune()
    assert trials() == before
    tune("retrain")
    after = trials()
    # The suite's own runs at the default rates are of the code before, so they do not count.
    assert after.keys() > before.keys()
    assert all(old not in names and len(names) == 1 for names in after.values())
    assert bench.trained_by()["mine", 0] == [old]
    bench.edit(3.0)
    tune("accept")
    assert trials() == after
    tune()


def test_show_tells_the_code(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    found = describe_run(str(bench.run_of()))
    (part,) = read_plan(bench.folder / "out").code
    assert [(c["kind"], c["id"], c["name"]) for c in found["code"]] == [
        ("variant", "mine", part.name)
    ]
    print_run(found)
    shown = " ".join(capsys.readouterr().out.split())
    assert f"code of variant 'mine': {part.name} (formulas.py, mine.py)" in shown


def test_a_generator_of_other_code_is_shown_with_a_warning(
    bench: Bench, recwarn: pytest.WarningsRecorder
) -> None:
    load_anew(bench.plugin)
    load_generator(bench.run_of())
    bench.edit(2.0)
    load_anew(bench.plugin)
    with pytest.warns(CodeWarning, match="variant 'mine' is not the code that has trained"):
        load_generator(bench.run_of())
    bench.run("accept")
    load_generator(bench.run_of())
    assert not recwarn.list


def test_the_short_way_knows_a_plugin_by_its_files(bench: Bench) -> None:
    matrix = bench.matrix()
    out = bench.folder / "out"
    command = RerunShortcut(bench.options())
    command.remember(out, matrix)
    assert RerunShortcut(bench.options()).result() == "all 4 runs of mine are done"
    bench.edit(2.0)
    assert RerunShortcut(bench.options()).result() is None
    bench.edit(1.0)
    assert RerunShortcut(bench.options()).result() is not None
    named = replace(bench.options(), plugins=("mine",))
    assert RerunShortcut(named).result() is None
    gone = replace(bench.options(), plugins=(str(bench.folder / "absent.py"),))
    assert RerunShortcut(gone).result() is None


def test_one_answer_at_a_time() -> None:
    assert answer_of(retrain=True, accept=False) == "retrain"
    assert answer_of(retrain=False, accept=True) == "accept"
    done = CliRunner().invoke(app, ["run", "smoke", "--retrain", "--accept-code"])
    assert isinstance(done.exception, GanbenchError)
    assert "exclude each other" in str(done.exception)


DATASET = """
from pathlib import Path
import torch
from harness.datasets.base import Dataset, Examples, datasets

@datasets.register("measured", source="nowhere")
class Measured(Dataset):
    '''Points of which a file says how far apart they are.'''

    kind = "points"
    shape = (2,)
    train_size = 500

    def read(self, split, root=None):
        scale = float(Path(__file__).with_name("scale.txt").read_text())
        draws = torch.Generator().manual_seed(len(split))
        return Examples(scale * torch.randn(500, 2, generator=draws), None)
"""


@pytest.mark.usefixtures("unrendered")
def test_data_that_change_under_their_name_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registered_apart(monkeypatch)
    bench = Bench(tmp_path)
    bench.plugin.write_text(DATASET)
    (tmp_path / "mine.yaml").write_text(
        SUITE.replace("ring8", "measured").replace("[mine, gan]", "[gan]")
    )
    (tmp_path / "scale.txt").write_text("1.0")
    bench.run(seeds=1)
    assert mixtures_of(tmp_path / "out") == ()
    (tmp_path / "scale.txt").write_text("3.0")
    bench.run(seeds=2)
    first, second = (read_run(run) for run in sorted((tmp_path / "out" / "runs").iterdir()))
    before, after = first.data.content, second.data.content
    assert before is not None and after is not None
    assert before.keys() == {"train", "test"}
    assert all(before[split] != after[split] for split in before)
    for text in first_lines(tmp_path / "out"):
        assert "mixes 2 contents of data set" in text
    log: Any = SimpleNamespace(events=[*first.events])
    run = Run(first.spec, first.path, log, ["a checkpoint"])  # type: ignore[list-item]
    check_content(run, before)
    with pytest.raises(DataError, match="other content of train and test"):
        check_content(run, after)


EVERYTHING = """
seeds: 1
suite: swirl
datasets: [swirl, digits]
variants: [geometric]
tricks: [drift]
settings: {network: tanh2d, width: 4, steps: 3, batch: 8, evaluate_every: 1}
overrides:
  - when: {dataset: digits}
    settings: {network: dcgan16, width: 4, evaluation_samples: 64, extractor: edges}
"""


def test_every_kind_of_part_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    registered_apart(monkeypatch)
    source = Path(__file__).parents[1] / "example_plugin" / "swirl.py"
    shutil.copy(source, tmp_path / "swirl_of_all_kinds.py")
    (tmp_path / "swirl.yaml").write_text(EVERYTHING)
    plugins = (str(tmp_path / "swirl_of_all_kinds.py"),)
    matrix = expanded(RunOptions(str(tmp_path / "swirl.yaml"), plugins=plugins))
    assert {(part.kind, part.id) for part in matrix.plan.code} == {
        ("variant", "geometric"), ("trick", "drift"), ("network", "tanh2d"), ("dataset", "swirl"),
        ("metric", "spread"), ("extractor", "edges"),
    }  # fmt: skip
    assert len({part.name for part in matrix.plan.code}) == 1
    plain = expanded(replace(RunOptions("smoke"), plugins=plugins))
    assert {(part.kind, part.id) for part in plain.plan.code} == {("metric", "spread")}
