"""How tests share workers and cores, and what they need not compute."""

import os
from typing import IO, Any

import pytest
from hypothesis import settings
from xdist.scheduler import LoadScopeScheduling

# Read by PyTorch and NumPy when they are imported: threads of several workers wait for each other.
os.environ["OMP_NUM_THREADS"] = "1"
# How long an example takes on a busy machine says nothing of the program.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


class BySubject(LoadScopeScheduling):
    """Gives a worker all tests of a file, or of what the conformance kit checks, at once.

    Files with a browser, a report or trained runs for all of their tests make these once. (Marks of
    pytest-xdist 3.8 that group tests do nothing with pytest 9.2.)
    """

    def _split_scope(self, nodeid: str) -> str:
        """Return ``…test_kit.py::test_conforms[ring8-gan-none``, or the file."""
        subject, colon, _ = nodeid.partition(": ")
        return subject if colon else nodeid.partition("::")[0]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> BySubject:
    """Distribute tests by what they share."""
    return BySubject(config, log)


@pytest.fixture
def unrendered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let figures be drawn but not rendered, for a report of which only words and files matter."""

    def write(canvas: object, file: IO[bytes], **options: Any) -> None:
        file.write(b'<svg viewBox="0 0 9 9"></svg>')

    monkeypatch.setattr("matplotlib.backends.backend_svg.FigureCanvasSVG.print_svg", write)
