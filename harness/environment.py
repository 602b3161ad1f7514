"""Describes where a run was computed: versions, device, threads."""

from __future__ import annotations

import os
import platform
import socket
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from harness.errors import GanbenchError
from harness.version import RESULTS_VERSION, VERSION

DEVICES = ("auto", "cpu", "cuda")
PACKAGES = ("torch", "torchvision", "torch-fidelity", "numpy", "scipy", "scikit-learn", "optuna")


def environment(device: torch.device) -> dict[str, Any]:
    """Return what another person would need to know to get the same numbers."""
    return {
        "ganbench": VERSION,
        "results_version": RESULTS_VERSION,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "host": socket.gethostname(),
        "device": device_name(device),
        "threads": torch.get_num_threads(),
        "cores": os.cpu_count(),
        # In measurements; what training computes in is one of a run's settings.
        "tf32": torch.backends.cudnn.allow_tf32 or torch.backends.cuda.matmul.allow_tf32,
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "versions": {name: _version(name) for name in PACKAGES},
    }


def device_name(device: torch.device) -> str:
    """Name a device as its maker does."""
    if device.type == "cuda":
        return f"{device} {torch.cuda.get_device_name(device)}"
    return f"cpu {platform.processor() or platform.machine()}"


def choose_device(wanted: str) -> str:
    """Resolve ``auto`` to ``cuda`` where there is one, else ``cpu``.

    Raises:
        GanbenchError: if CUDA is asked for and absent, or something else is asked for.
    """
    if wanted not in DEVICES:
        raise GanbenchError(f"unknown device {wanted!r}; choose {', '.join(DEVICES)}")
    available = torch.cuda.is_available()
    if wanted == "cuda" and not available:
        raise GanbenchError("no CUDA device is available; use --device cpu or --device auto")
    return ("cuda" if available else "cpu") if wanted == "auto" else wanted


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def processor() -> str:
    """Name the CPU as its maker does, where Linux says it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.machine()


def free_memory(device: str) -> int:
    """Return the bytes that are free on a device, or of the machine and its container."""
    if device != "cpu":
        return torch.cuda.mem_get_info(torch.device(device))[0]
    free = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    with suppress(OSError, ValueError, StopIteration):
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        available = next(line for line in lines if line.startswith("MemAvailable"))
        free.append(int(available.split()[1]) * 1024)
    with suppress(OSError, ValueError):  # "max" where the container has no limit
        group = Path("/sys/fs/cgroup")
        limit = int((group / "memory.max").read_text(encoding="ascii"))
        free.append(limit - int((group / "memory.current").read_text(encoding="ascii")))
    return max(0, min(free))
