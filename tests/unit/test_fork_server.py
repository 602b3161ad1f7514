"""Proves that the server that forks jobs has imported what they need."""

import subprocess
import sys
from pathlib import Path
from textwrap import dedent

from harness.jobs.cohort import JobOptions, JobRequest
from harness.testing.specs import make_spec

JOB = """
    import importlib
    import sys
    from pathlib import Path
    from harness.engines.server import preloaded
    for module in preloaded():
        importlib.import_module(module)
    before = set(sys.modules)
    from harness.jobs import job
    assert job.main(Path(sys.argv[1]), "cpu") == 0
    late = {module for module in set(sys.modules) - before if module.startswith("harness.")}
    late |= {"sympy"} & (set(sys.modules) - before) | {"torch._dynamo"} & set(sys.modules)
    sys.exit(", ".join(sorted(late)) or 0)
"""


def test_a_job_imports_nothing_of_the_program_and_no_compiler(tmp_path: Path) -> None:
    specs = (make_spec("ring8", "gan", steps=2),)
    JobRequest(tmp_path / "store", JobOptions(), specs).write(tmp_path / "cohort.json")
    command = [sys.executable, "-c", dedent(JOB), f"{tmp_path}/cohort.json"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
