"""The chapter on tuning: what is compared, what is claimed, what is said of choices."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

from harness.errors import StoreError
from harness.store.reading import read_suite
from reports.build import lay_out
from reports.cells import SuiteCells, group
from reports.document import Figure, Section
from reports.sections import tuning
from reports.sections.verdicts import TUNED
from reports.statistics.claims import RANK_LEVEL, adjusted
from reports.statistics.paired import rank_test
from reports.tables import Table
from reports.tuned import Comparison, compare, read_search, read_searches
from tests.simulated import paired
from tests.stores import Fate, build_store, write_tuning

Values = Sequence[float | None]
SEEDS = 8
DATASETS = ("ring8", "grid25", "digits")
VARIANTS = ("gan", "wgan-gp")
TRICK = "label-smoothing"


def suite(root: Path, **kinds: Sequence[str]) -> SuiteCells:
    names = {"datasets": DATASETS, "variants": VARIANTS} | kinds
    never = Fate("missing")  # the chapter asks the plan what is compared with what, and no run
    store = build_store(root, seeds=SEEDS, fate_of=lambda where: never, **names)  # type: ignore[arg-type]
    return group(read_suite(store))


def near(middle: float, step: float = 0.01) -> list[float]:
    return [middle * (1 + step * seed) for seed in range(SEEDS)]


def write_both(
    root: Path,
    treated: tuple[Values, Values],
    control: tuple[Values, Values],
    cells: Mapping[tuple[str, str], tuple[Values, Values]] | None = None,
    datasets: Sequence[str] = DATASETS,
) -> None:
    """Write the searches of all cells: (default, chosen) with the trick and without."""
    for dataset in datasets:
        for variant in VARIANTS:
            mine = (cells or {}).get((dataset, variant), treated)
            for tricks, (default, chosen) in ((TRICK, mine), ("none", control)):
                write_tuning(root, dataset, variant, tricks, default=default, chosen=chosen)


def chapter(cells: SuiteCells) -> Section:
    built = tuning.build(cells, [cells.suite.path])
    assert built is not None
    return built


def told(table: Table) -> dict[str, object]:
    """Return the only row of a table by the columns' titles."""
    (row,) = table.rows
    return {column.title: cell.value for column, cell in zip(table.columns, row, strict=True)}


def compared(cells: SuiteCells) -> Comparison:
    return compare(cells, read_searches([cells.suite.path]))


def verdicts(cells: SuiteCells) -> dict[str, object]:
    return told(tuning.effects_table(compared(cells)))


def test_a_trick_that_only_repairs_the_rates_helps_no_more_after_tuning(tmp_path: Path) -> None:
    cells = suite(tmp_path / "s")
    # Seeds and cells lean now one way and now the other.
    mixed = [1.0 * (1.1 if seed % 2 else 0.9) for seed in range(SEEDS)]
    write_both(tmp_path / "s", (near(0.5), mixed), (near(1.0, 0.02), [1.0] * SEEDS))
    row = verdicts(cells)
    assert (row["Before"], row["After"]) == ("helps", "no difference")
    assert row["Ratio before"] == pytest.approx(0.5, rel=0.1)
    assert row["Ratio after"] == pytest.approx(1.0, rel=0.02)
    assert (row["Cells"], row["Seeds"]) == (6, SEEDS)
    assert tuning.headline(compared(cells)) == f"{TRICK}: helps; after tuning no difference."


def test_a_trick_that_helps_after_tuning_too_is_said_to(tmp_path: Path) -> None:
    cells = suite(tmp_path / "s")
    write_both(tmp_path / "s", (near(0.5), near(0.4)), (near(1.0), near(0.9, 0.02)))
    assert verdicts(cells)["After"] == "helps"
    assert tuning.headline(compared(cells)) == f"{TRICK}: helps, after tuning too."


def test_verdicts_after_tuning_come_right_after_those_before(tmp_path: Path) -> None:
    cells = suite(tmp_path / "s")
    before = lay_out(cells, [cells.suite.path]).sections
    assert "tuning" not in [section.id for section in before]
    assert TUNED not in before[0].lead
    write_both(tmp_path / "s", (near(0.5), near(0.4)), (near(1.0), near(0.9, 0.02)))
    after = lay_out(cells, [cells.suite.path]).sections
    assert [section.id for section in after[:2]] == ["verdicts", "tuning"]
    assert after[0].lead[0] == TUNED


def test_the_luck_of_one_cells_tuning_is_no_claim(tmp_path: Path) -> None:
    """All seeds of one cell agree, since they share what was chosen: cells are a sample too."""
    cells = suite(tmp_path / "s")
    odd = {("ring8", "gan"): (near(1.3), near(1.3)), ("digits", "gan"): (near(1.2), near(1.2))}
    write_both(tmp_path / "s", (near(0.5), near(0.5)), (near(1.0), near(1.0, 0.02)), odd)
    row = verdicts(cells)
    assert (row["Before"], row["After"]) == ("helps", "no evidence")


def test_four_cells_claim_nothing_after_tuning(tmp_path: Path) -> None:
    cells = suite(tmp_path / "s", datasets=DATASETS[:2])
    write_both(
        tmp_path / "s", (near(0.5), near(0.5)), (near(1.0), near(1.0, 0.02)), None, DATASETS[:2]
    )
    row = verdicts(cells)
    assert (row["Before"], row["After"], row["Cells"]) == ("helps", "no evidence", 4)
    assert row["p after (Holm)"] == 1.0


def test_a_failure_ranks_worst_and_is_counted(tmp_path: Path) -> None:
    cells = suite(tmp_path / "s")
    write_both(tmp_path / "s", (near(1.0), near(1.0)), ([None] * SEEDS, [None] * 7 + near(1.0)[7:]))
    row = verdicts(cells)
    assert row["Failed before"] == "48 → 0 of 48"
    assert row["Failed after"] == "42 → 0 of 48"
    assert row["Ratio before"] is None and row["Ratio after"] is None  # failures decide alone
    assert row["Before"] == row["After"] == "helps"


def test_only_what_was_searched_alike_is_compared(tmp_path: Path) -> None:
    cells = suite(tmp_path / "s")
    write_both(tmp_path / "s", (near(0.5), near(0.5)), (near(1.0), near(1.0)))
    other = {"lr_g": {"low": 1e-4, "high": 1e-2, "log": True}}
    write_tuning(tmp_path / "s", "ring8", "gan", TRICK, space=other)
    file = write_tuning(tmp_path / "s", "grid25", "gan", TRICK)
    data = json.loads(file.read_text())
    data["trials"][3]["params"]["lr_g"] *= 2  # as TPE would, or another list
    file.write_text(json.dumps(data))
    (tmp_path / "s" / "tuning" / "digits-gan-none" / "summary.json").unlink()
    found = compared(cells)
    assert found.apart == (f"ring8 · gan · {TRICK}", f"grid25 · gan · {TRICK}")
    assert found.missing == 1
    assert [after.cells for _, after in found.effects] == [3]


def test_a_number_that_only_the_trick_has_does_not_part_them(tmp_path: Path) -> None:
    root = tmp_path / "s"
    cells = suite(root, datasets=("ring8",), variants=("gan",))
    lr = {"lr_g": {"low": 1e-5, "high": 1e-2, "log": True}}
    own = {f"{TRICK}.real_low": {"low": 0.5, "high": 1.0, "log": False}}
    write_tuning(root, tricks=TRICK, space=lr | own)
    write_tuning(root, space=lr)
    assert compared(cells).apart == ()
    # A control in which nothing could be searched stays at its own numbers.
    write_tuning(root, tricks=TRICK, space=own)
    write_tuning(root, space={}, trials=[], metric=None)
    assert compared(cells).apart == ()


def test_choices_are_listed_with_their_edges(tmp_path: Path) -> None:
    cells = suite(tmp_path / "s", datasets=("ring8",), variants=("gan",))
    write_tuning(tmp_path / "s", default=near(1.0), chosen=near(0.5))
    row = told(tuning.settings_table(read_searches([cells.suite.path])))
    assert row["Default"] == "lr_g 0.0002, variant.momentum 0.3"
    assert row["Choice"] == "lr_g 0.000464 (at the edge), variant.momentum 0.5"
    assert row["Choice / default"] == pytest.approx(0.5)
    file = tmp_path / "s" / "tuning" / "ring8-gan-none" / "summary.json"
    data = json.loads(file.read_text())
    file.write_text(json.dumps(data | {"chosen": {**data["default"], "edges": []}}))
    row = told(tuning.settings_table(read_searches([cells.suite.path])))
    assert row["Choice"] == "the default" and row["Choice / default"] is None


def test_every_number_that_was_searched_has_its_cliff(tmp_path: Path) -> None:
    cells = suite(tmp_path / "s", datasets=("ring8",), variants=("gan",))
    write_tuning(tmp_path / "s")
    (figure,) = [block for block in chapter(cells).blocks if isinstance(block, Figure)]
    assert figure.alt.endswith("over lr_g, variant.momentum.")
    assert "lr_g" in figure.svg and "variant.momentum" in figure.svg


def test_of_many_cells_those_without_a_trick_are_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tuning, "MOST_CLIFFS", 2)
    cells = suite(tmp_path / "s", datasets=("ring8",))
    for variant, tricks in (("gan", TRICK), ("gan", "none"), ("wgan-gp", "none")):
        write_tuning(tmp_path / "s", "ring8", variant, tricks)
    section = chapter(cells)
    drawn = [block for block in section.blocks if isinstance(block, Figure)]
    assert len(drawn) == 2
    assert section.lead[-1].startswith("Of 3 cells, the first 2 are drawn.")
    assert drawn[0].title.startswith("ring8 · gan · none: ")


def test_a_damaged_summary_is_named(tmp_path: Path) -> None:
    root = tmp_path
    for content in ("", "{}", "[]", '{"schema": 2}', '{"schema": 2, "cell": 3}'):
        file = write_tuning(root)
        file.write_text(content)
        with pytest.raises(StoreError, match=r"summary\.json is no summary of a search"):
            read_search(file)


def test_a_summary_of_another_version_says_what_to_do(tmp_path: Path) -> None:
    file = write_tuning(tmp_path, schema=1)
    with pytest.raises(StoreError, match=r"another version of ganbench.*delete .*tuning and tune"):
        read_search(file)


def test_a_search_that_reports_what_it_tuned_on_is_refused(tmp_path: Path) -> None:
    file = write_tuning(tmp_path, reported_metric="fd[data]@500/validation")
    with pytest.raises(StoreError, match="what trials are measured by is reported"):
        read_search(file)


def test_a_value_that_is_not_finite_is_none(tmp_path: Path) -> None:
    file = write_tuning(tmp_path, default=[1.0, None])
    data = json.loads(file.read_text())
    data["default"]["fresh"][0]["value"] = {"nonfinite": "nan"}
    file.write_text(json.dumps(data))
    found = read_search(file).default
    assert (found.failures, found.good) == (1, [])


@pytest.mark.parametrize("seeds", [10, 20])
def test_the_luck_of_tuning_is_seldom_a_claim(seeds: int) -> None:
    """What each search chose moves all seeds of its cell alike; no trick of five does anything.

    Over 1,000 suites: a share of .05 has an error of .007.
    """
    suites, tricks, cells = 1000, 5, 8
    draw = np.random.default_rng(seeds)
    shared, own = (suites, 1, seeds, cells), (suites, tricks, seeds, cells)
    luck = [draw.normal(0, 0.15, (*shape[:2], 1, cells)) for shape in (own, shared)]
    treated, control = (
        chance + draw.normal(0, 0.3, shape)
        for chance, shape in zip(luck, (own, shared), strict=True)
    )
    pairs = paired(treated, np.broadcast_to(control, own))
    claimed = {}
    for over_cells in (False, True):
        p = adjusted(rank_test(pairs, over_cells=over_cells).p, [seeds] * tricks, RANK_LEVEL)
        claimed[over_cells] = (p < RANK_LEVEL).any(-1).mean()
    assert claimed[True] <= 0.05 + 2.5 * 0.007
    assert claimed[False] > 0.12  # by seeds alone it would be one suite in six
