"""Describes where a run was computed: versions, device, threads."""

from __future__ import annotations

import os
import platform
import socket
from importlib.metadata import PackageNotFoundError, version
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
