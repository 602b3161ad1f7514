"""A variant without any setting learns the ring of eight modes, or says what it needs."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from harness.commands.listing import catalog, print_catalog
from harness.jobs.job import Job
from harness.parts import variants
from harness.store.folders import Store
from harness.store.reading import read_run
from harness.suite.load import read_suite
from harness.suite.matrix import expand

SUITE = "suite: defaults\ndatasets: [ring8]\nvariants: [{variant}]\nseeds: 3\n"


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["gan", "lsgan", "rsgan"])
def test_defaults_learn_the_ring(variant: str, tmp_path: Path) -> None:
    assert variants.get(variant).needs == ""
    specs = expand(read_suite(SUITE.format(variant=variant).encode(), "mine.yaml")).specs
    store = Store(tmp_path)
    assert Job(store, torch.device("cpu")).train(list(specs)) == 0
    outcomes = [read_run(store.folder(spec)).outcome for spec in specs]
    assert [outcome and outcome.outcome for outcome in outcomes] == ["ok"] * 3


def test_what_a_variant_needs_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    entries = catalog("variants")
    needing = {entry["id"]: entry["needs"] for entry in entries if "needs" in entry}
    assert "gan" not in needing and "0.03" in needing["gan-original"]
    print_catalog("variants", entries)
    shown = " ".join(capsys.readouterr().out.split())
    assert shown.count("needs ") >= len(needing) > 0
