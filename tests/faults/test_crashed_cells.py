"""A crashed run is no result: nothing that it had measured is anywhere in a report."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from harness.commands.show import describe_run
from reports.build import write_comparison, write_report
from reports.compare import compare
from reports.run_links import FOLDER
from tests.stores import Fate, Where, build_store, plausible

Crashed = Callable[[Where], bool]
CASES: dict[str, Crashed] = {
    "a whole cell": lambda where: (where.variant, where.tricks) == ("gan", "ema"),
    "every baseline": lambda where: where.tricks == "none",
    "one seed of each cell": lambda where: where.seed == 1,
    "a whole variant": lambda where: where.variant == "gan",
    "everything": lambda where: True,
}


def store(root: Path, outcome: str, crashed: Crashed, factor: float) -> Path:
    """Write a suite whose crashed runs had measured so many times what they otherwise would."""

    def fate(where: Where) -> Fate:
        if not crashed(where):
            return plausible(where)
        losses = {"d_loss": 7 * factor, "logit_gap": factor, "d_fake": 0.1 * factor}
        return Fate(outcome, 3.0 * factor, "out of luck", seconds=factor, losses=losses)

    return build_store(root, tricks=("none", "ema"), seeds=5, fate_of=fate)


def files(folder: Path) -> dict[str, bytes]:
    """Read a report, but for the pages that show one run each, and what says how old it is."""
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in sorted(folder.rglob("*"))
        if file.is_file() and file.parent.name != FOLDER and not file.name.startswith(".")
    }


@pytest.mark.parametrize(
    ("case", "outcome"),
    [
        pytest.param(case, outcome, marks=[pytest.mark.slow] * (outcome != "oom"))
        for case, outcome in [*((case, "crashed") for case in CASES), ("a whole cell", "oom")]
    ],
)
def test_a_report_does_not_depend_on_what_crashed_runs_had_measured(
    case: str, outcome: str, tmp_path: Path
) -> None:
    reports = [
        files(write_report(store(tmp_path / name, outcome, CASES[case], factor)).parent)
        for name, factor in (("a", 1.0), ("b", 4.0))
    ]
    assert len(reports[0]) > 20
    assert reports[0] == reports[1]


def test_neither_does_a_comparison(tmp_path: Path) -> None:
    crashed = CASES["one seed of each cell"]
    (tmp_path / "x").mkdir()
    written = []
    for name, factor in (("a", 1.0), ("b", 4.0)):
        (tmp_path / name).mkdir()
        pair = [store(tmp_path / name / n, "crashed", crashed, factor) for n in ("one", "two")]
        page = write_comparison(compare(*pair), tmp_path / name / "out")
        written.append({k: v.replace(f"/{name}/".encode(), b"/x/") for k, v in
                        files(page.parent).items()})  # fmt: skip
    assert written[0] == written[1]


@pytest.mark.parametrize("outcome", ["crashed", "oom"])
def test_nor_are_they_shown_of_the_run_itself(outcome: str, tmp_path: Path) -> None:
    root = store(tmp_path / "a", outcome, CASES["everything"], 1.0)
    told = describe_run(str(next((root / "runs").iterdir())))
    assert [told[name] for name in ("metrics", "untrained", "best", "raw", "probes")] == [{}] * 5
