"""``ganbench doctor``: what is here, what is missing, and what that prevents."""

import json
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from harness.cli import app
from harness.commands import doctor
from harness.commands.doctor import Finding, examine


@pytest.fixture(autouse=True)
def _away_from_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("GANBENCH_DATA", "WANDB_API_KEY", "WANDB_MODE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look at few suites: to plan all of them takes seconds."""
    names = ("smoke", "stability-images", "cifar10")
    monkeypatch.setattr(doctor, "built_in_suites", lambda: [{"id": name} for name in names])


def by_subject(findings: list[Finding]) -> dict[str, Finding]:
    return {finding.subject: finding for finding in findings}


def test_a_fresh_machine_can_do_what_is_embedded() -> None:
    found = by_subject(examine(None))
    for subject in ("Python", "packages", "processor", "results", "cache", "W&B"):
        assert found[subject].state == "ok", found[subject]
    assert "torch " in found["packages"].says and "wandb " in found["packages"].says
    assert found["suite smoke"] == Finding("suite smoke", "ok", "runs here")
    assert found["suite stability"].state == "ok"
    assert found["data sets"].state == "missing"
    assert "GANBENCH_DATA" in found["data sets"].says
    assert "weights-inception-2015-12-05" in found["Inception"].says
    assert "no key is configured" in found["W&B"].says
    lacks = found["suite stability-images"]
    assert lacks.state == "missing"
    assert "fashion-mnist" in lacks.says
    assert "the weights of inception-v3-compat" in lacks.says
    assert lacks.says.endswith("with --profile cpu it runs here")
    assert "--profile" not in found["suite cifar10"].says


def test_files_that_are_there_are_found_and_damaged_ones_told_of(tmp_path: Path) -> None:
    root = tmp_path / "data"
    (root / "MNIST" / "raw").mkdir(parents=True)
    (root / "MNIST" / "raw" / "train-images-idx3-ubyte").write_bytes(b"torn")
    hub = tmp_path / "hub" / "checkpoints"
    hub.mkdir(parents=True)
    (hub / "weights-inception-2015-12-05-6726825d.pth").write_bytes(b"")
    said = " ".join(finding.says for finding in doctor.data(root))
    assert f"in {root}: none" in said
    assert "ganbench data fetch" in said
    assert doctor.weights(root).state == "ok"


@pytest.mark.usefixtures("few")
def test_a_folder_that_cannot_be_written_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(**options: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(doctor.tempfile, "TemporaryFile", full)
    found = by_subject(doctor.places())
    assert found["results"].state == found["cache"].state == "wrong"
    assert "Permission denied" in found["results"].says
    assert "--out" in found["results"].says
    result = CliRunner().invoke(app, ["doctor"])
    assert result.exit_code == 1
    assert "something is wrong that every suite needs" in " ".join(result.output.split())


def test_a_missing_package_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    real = doctor.version

    def version(name: str) -> str:
        if name == "optuna":
            raise PackageNotFoundError(name)
        return real(name)

    monkeypatch.setattr(doctor, "version", version)
    packages = by_subject(doctor.software())["packages"]
    assert packages.state == "wrong"
    assert packages.says == "not installed: optuna; `make setup` installs the locked versions"


def test_little_room_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    usage = type("Usage", (), {"free": 1e9})
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda folder: usage)
    results = by_subject(doctor.places())["results"]
    assert results.state == "missing"
    assert results.says.startswith("only 1.0 GB free: ")


@pytest.mark.parametrize(
    ("built", "driver", "said"),
    [
        (None, None, "built without CUDA"),
        ("13.0", None, "no driver is installed"),
        ("13.0", "/usr/bin/nvidia-smi", "cannot use its driver"),
    ],
)
def test_why_there_is_no_gpu(
    built: str | None, driver: str | None, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.version, "cuda", built)
    monkeypatch.setattr(torch.version, "hip", None)
    monkeypatch.setattr(doctor.shutil, "which", lambda name: driver)
    (gpu,) = doctor.gpus()
    assert gpu.state == "missing"
    assert said in gpu.says


def test_a_gpu_is_described(monkeypatch: pytest.MonkeyPatch) -> None:
    about = type("About", (), {"name": "Accelerator 9000", "major": 9})
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: about)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda index: (30 * 2**30, 40 * 2**30))
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: True)
    (gpu,) = doctor.gpus()
    assert (gpu.subject, gpu.state) == ("cuda:0", "ok")
    assert "Accelerator 9000, 30 of 40 GiB free" in gpu.says
    assert gpu.says.endswith("precisions float32, float64, tf32, bfloat16")


@pytest.mark.usefixtures("few")
def test_the_command_prints_a_table_or_json() -> None:
    plain = CliRunner().invoke(app, ["doctor"])
    assert plain.exit_code == 0
    assert "suite smoke" in plain.output
    machine = CliRunner().invoke(app, ["doctor", "--json"])
    assert machine.exit_code == 0
    read = json.loads(machine.output)
    assert {"subject", "state", "says"} == set(read[0])
    assert {entry["state"] for entry in read} <= {"ok", "missing", "wrong"}
