"""What this machine is: its processor, the memory that is free, the places where jobs can run."""

from __future__ import annotations

import os
import platform
from contextlib import suppress
from pathlib import Path

import torch


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


def slots(device: str, jobs: int | None) -> list[str]:
    """Return one device per process: every core, or every GPU, unless ``jobs`` says otherwise."""
    if device == "cuda":
        gpus = torch.cuda.device_count()
        return [f"cuda:{i % gpus}" for i in range(jobs or gpus)]
    return ["cpu"] * (jobs or len(os.sched_getaffinity(0)))
