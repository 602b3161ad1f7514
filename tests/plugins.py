"""Writes plugins, loads them in this process, and loads them anew after a change."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from harness.registry import KINDS, load_plugin


def registered_apart(patch: pytest.MonkeyPatch) -> None:
    """Let what is registered from here on be gone when a patch is undone.

    Also what plugins find beside them.
    """
    for kind in KINDS.values():
        kind.registry.names()
        for name in ("_classes", "_foreign"):
            patch.setattr(kind.registry, name, dict(getattr(kind.registry, name)))
    patch.setattr(sys, "path", [*sys.path])
    patch.setattr(sys, "dont_write_bytecode", True)  # which knows a source by its size and second


def load_anew(file: Path) -> Any:
    """Load a plugin, and the modules beside it, as a new process would."""
    for beside in file.parent.glob("*.py"):
        sys.modules.pop(beside.stem, None)
    return load_plugin(str(file))
