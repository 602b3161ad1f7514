"""How long the report of a large suite takes, how much memory, and how both grow."""

from __future__ import annotations

import math
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.benchmarks.large_store import SIZES, build_large_store
from tests.benchmarks.table import Row

MOST_SECONDS = 30.0
MOST_BYTES = 1.5 * 2**30
MOST_PAGE_BYTES = 10e6
CORES = 2
PROGRAM = """
import sys
from pathlib import Path
from reports.build import write_report
write_report(Path(sys.argv[1]), Path(sys.argv[2]))
"""
PAUSE = 0.25
"""Seconds between two looks at the memory."""


def measure() -> Row:
    """Report synthetic stores of 1,000, 3,000 and 10,000 runs of 50 evaluations, on two cores."""
    sizes = []
    # All are kept to the end: a file system may take its time to use again what was just deleted.
    with tempfile.TemporaryDirectory() as folder:
        for size in SIZES:
            place = Path(folder) / str(size.runs)
            root = build_large_store(place / "results", size)
            sizes.append({"runs": size.runs, **report(root, place / "report")})
    first, last = sizes[0], sizes[-1]
    growth = math.log(last["seconds"] / first["seconds"]) / math.log(last["runs"] / first["runs"])
    beyond = {
        f"peak memory {last['peak_bytes'] / 2**30:.2f} GiB": last["peak_bytes"] > MOST_BYTES,
        f"page of {last['page_bytes'] / 1e6:.0f} MB": last["page_bytes"] > MOST_PAGE_BYTES,
    }
    return Row(
        f"report of {last['runs']:,} runs, {last['peak_bytes'] / 2**30:.2f} GiB",
        MOST_SECONDS,
        "s",
        [last["seconds"]],
        figures={
            "sizes": sizes,
            "growth_exponent": round(growth, 2),
            "beyond_limits": [what for what, is_beyond in beyond.items() if is_beyond],
        },
    )


def report(root: Path, out: Path) -> dict[str, Any]:
    """Write a report twice, each time in processes of its own, and say what it took.

    The second time its memory is watched, which takes a tenth of the time itself: the kernel walks
    through a process's pages to count them.
    """
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    written(root, out / "timed", lambda child: child.wait())
    seconds = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {
        "seconds": round(seconds, 2),
        "cpu_seconds": round(
            after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, 2
        ),
        "peak_bytes": written(root, out / "watched", peak_of),
        "page_bytes": (out / "timed" / "index.html").stat().st_size,
    }


def written(root: Path, out: Path, wait: Callable[[subprocess.Popen[bytes]], int]) -> int:
    """Write one report while another function waits for that; return what it returns."""
    program = [sys.executable, "-c", PROGRAM, str(root), str(out)]
    with subprocess.Popen(program, preexec_fn=two_cores) as child:
        found = wait(child)
    if child.returncode:
        raise RuntimeError(f"the report of {root} failed")
    return found


def peak_of(child: subprocess.Popen[bytes]) -> int:
    """Return the most bytes of memory that a process and all that it starts hold at once."""
    peak = 0
    while child.poll() is None:
        peak = max(peak, sum(map(held, family(child.pid))))
        time.sleep(PAUSE)
    return peak


def family(process: int) -> list[int]:
    """Return a process and all that it has started."""
    found = [process]
    with suppress(OSError):
        for task in Path(f"/proc/{process}/task").iterdir():
            for child in (task / "children").read_text().split():
                found += family(int(child))
    return found


def held(process: int) -> int:
    """Return the bytes of memory that a process holds; of what it shares, its part."""
    with suppress(OSError):
        for line in Path(f"/proc/{process}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return 1024 * int(line.split()[1])
    return 0


def two_cores() -> None:
    """Let this process use two cores, where it may use more."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])
