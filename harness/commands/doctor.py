"""Answers ``ganbench doctor``: what this machine can do, and what is missing for what."""

from __future__ import annotations

import os
import platform
import re
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Literal

import torch
from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness.commands.data import statuses
from harness.datasets.base import datasets
from harness.datasets.published import ROOT
from harness.errors import GanbenchError
from harness.metrics.applicable import DATA_SPACE
from harness.metrics.extractors.base import extractors
from harness.metrics.extractors.inception import InceptionV3
from harness.store.folders import cache_folder
from harness.suite.load import built_in_suites, load_suite
from harness.suite.matrix import Matrix, expand
from harness.tracking.choice import choose_mode
from harness.version import VERSION

State = Literal["ok", "missing", "wrong"]
SIGNS: dict[State, tuple[str, str]] = {
    "ok": ("✔", "green"),
    "missing": ("–", "yellow"),
    "wrong": ("✘", "red"),
}
LITTLE_DISK = 5e9
"""Bytes below which a results folder of a large suite may not find room."""


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        subject: What.
        state: ``missing`` stops what it is said to be needed for, ``wrong`` stops everything.
        says: What was found, and where something lacks, what to do.
    """

    subject: str
    state: State
    says: str


def examine(root: Path | None) -> list[Finding]:
    """Look at everything that ganbench needs or could use.

    Args:
        root: The data root, None for none.
    """
    available.cache_clear()
    return [
        *software(),
        processor(),
        *gpus(),
        *places(),
        *data(root),
        weights(root),
        dashboards(),
        *(suite(str(entry["id"]), root) for entry in built_in_suites()),
    ]


def software() -> list[Finding]:
    """Look for the packages that ganbench declares."""
    python = Finding(
        "Python", "ok", f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    )
    try:
        declared = requires("ganbench") or []
    except PackageNotFoundError:
        return [python, Finding("packages", "wrong", "ganbench is not installed: `make setup`")]
    present, absent = [], []
    for line in declared:
        name = re.split(r"[^A-Za-z0-9._-]", line, maxsplit=1)[0]
        if "extra ==" in line:
            continue
        try:
            present.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            absent.append(name)
    if absent:
        missing = f"not installed: {', '.join(absent)}; `make setup` installs the locked versions"
        return [python, Finding("packages", "wrong", missing)]
    return [python, Finding("packages", "ok", f"ganbench {VERSION}, {', '.join(present)}")]


def processor() -> Finding:
    """Describe the cores and the memory."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    memory = ""
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        size = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        memory = f", {size / 2**30:.0f} GiB of memory"
    return Finding("processor", "ok", f"{cores} cores{memory}")


def gpus() -> list[Finding]:
    """Describe each GPU, or say why there is none to use."""
    if not torch.cuda.is_available():
        if torch.version.cuda is None and torch.version.hip is None:
            return [
                Finding("GPU", "missing", "this PyTorch was built without CUDA: all on the CPU")
            ]
        driver = shutil.which("nvidia-smi")
        why = "PyTorch cannot use its driver" if driver else "no driver is installed"
        return [Finding("GPU", "missing", f"no CUDA device ({why}): all on the CPU")]
    findings = []
    for index in range(torch.cuda.device_count()):
        about = torch.cuda.get_device_properties(index)
        free, whole = torch.cuda.mem_get_info(index)
        rounding = ["tf32"] * (about.major >= 8) + ["bfloat16"] * torch.cuda.is_bf16_supported()
        findings.append(
            Finding(
                f"cuda:{index}",
                "ok",
                f"{about.name}, {free / 2**30:.0f} of {whole / 2**30:.0f} GiB free, CUDA "
                f"{torch.version.cuda}; precisions float32, float64"
                + "".join(f", {name}" for name in rounding),
            )
        )
    return findings


def places() -> list[Finding]:
    """Look whether results and the cache can be written, and at the room for them."""
    findings = []
    for subject, folder in (("results", Path("results")), ("cache", cache_folder())):
        there = next(p for p in (folder, *folder.absolute().parents) if p.is_dir())
        try:
            with tempfile.TemporaryFile(dir=there):
                pass
        except OSError as error:
            says = f"{there} cannot be written ({error.strerror})"
            how = "--out names another" if subject == "results" else "XDG_CACHE_HOME names another"
            findings.append(Finding(subject, "wrong", f"{says}; {how}"))
            continue
        free = shutil.disk_usage(there).free
        little = f"only {free / 1e9:.1f} GB free: " if free < LITTLE_DISK else ""
        state: State = "missing" if little else "ok"
        says = f"{little}{folder.absolute()}" + ("" if little else f", {free / 1e9:.0f} GB free")
        findings.append(Finding(subject, state, says))
    return findings


def data(root: Path | None) -> list[Finding]:
    """Look at the data sets that are files."""
    if root is None:
        return [Finding("data sets", "missing", f"embedded ones only; {ROOT}")]
    states: dict[str, list[str]] = {}
    for status in statuses(root):
        states.setdefault(status.state, []).append(status.id)
    findings = [
        Finding("data sets", "ok", f"in {root}: {', '.join(states.get('present', ['none']))}")
    ]
    if "absent" in states:
        fetched = f"not there: {', '.join(states['absent'])}; `ganbench data fetch NAME`"
        findings.append(Finding("data sets", "missing", fetched))
    if "damaged" in states:
        damaged = f"damaged: {', '.join(states['damaged'])}; `ganbench data verify NAME` says how"
        findings.append(Finding("data sets", "missing", damaged))
    return findings


def weights(root: Path | None) -> Finding:
    """Look for Inception's weights."""
    try:
        return Finding("Inception", "ok", f"weights at {InceptionV3.weights_file(root)}")
    except GanbenchError:
        places = " or ".join(map(str, InceptionV3.places(root)))
        says = f"no weights for FID on natural images: they belong at {places}"
        return Finding("Inception", "missing", says)


def dashboards() -> Finding:
    """Say whether runs are mirrored to W&B."""
    mode, message = choose_mode(None, os.environ)
    return Finding("W&B", "ok", message or f"runs are mirrored: {mode}")


def suite(name: str, root: Path | None) -> Finding:
    """Look whether all that a built-in suite needs is here, or what one of its profiles needs."""
    subject = f"suite {name}"
    described = load_suite(name)
    lacks = lacking(expand(described), root)
    if not lacks:
        return Finding(subject, "ok", "runs here")
    says = f"lacks {', '.join(lacks)}"
    for profile in described.profiles:
        if not lacking(expand(described, profile=profile), root):
            return Finding(subject, "missing", f"{says}; with --profile {profile} it runs here")
    return Finding(subject, "missing", says)


def lacking(matrix: Matrix, root: Path | None) -> list[str]:
    """Name the data sets and extractors that a suite's runs need and that are not here."""
    lacks: dict[str, None] = {}
    for spec in matrix.specs:
        if not available(spec.dataset.id, None, root):
            lacks[spec.dataset.id] = None
        if not available(None, spec.settings.extractor, root):
            lacks[f"the weights of {spec.settings.extractor}"] = None
    return list(lacks)


@cache
def available(dataset: str | None, extractor: str | None, root: Path | None) -> bool:
    """Say whether a data set's files, or an extractor's weights, are here and whole."""
    try:
        if dataset is not None:
            datasets.get(dataset)().check(root)
        if extractor is not None and extractor != DATA_SPACE:
            extractors.get(extractor).require(root)
    except GanbenchError:
        return False
    return True


def print_findings(findings: Sequence[Finding]) -> None:
    """Print them as a table."""
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(style="bold", no_wrap=True)
    table.add_column()
    for finding in findings:
        sign, style = SIGNS[finding.state]
        says = Text(finding.says, overflow="fold")
        table.add_row(Text(sign, style), Text(finding.subject), says)
    console = Console()
    console.print(table)
    console.print(Text(conclusion(findings)))


def conclusion(findings: Sequence[Finding]) -> str:
    """Sum up in one line."""
    states = [finding.state for finding in findings]
    if "wrong" in states:
        return "something is wrong that every suite needs"
    if "missing" in states:
        return "what is marked – is missing for some things; all else works"
    return "all is there"
