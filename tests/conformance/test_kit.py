"""Every built-in part passes the kit that plugins are held to."""

from typing import Any

import pytest

from harness.testing import Check, checks
from harness.testing.kit import KINDS, REGISTRIES

OPTIONS: dict[str, dict[str, Any]] = {
    "activation": {"kind": "elu"},
    "gradient-clipping": {"max_norm": 0.05},
    "label-smoothing": {"form": "two-sided"},
    "lr-decay": {"start": 0.01},
    "sampling": {"up": "pixel-shuffle", "down": "average"},
    "update-ratio": {"d": 2, "g": 1},
}
"""Options under which a part has the most to do; every other has its defaults."""


def every_check() -> list[Check]:
    return [
        check
        for kind in KINDS
        for name in REGISTRIES[kind].names()
        if kind != "dataset" or not REGISTRIES[kind].get(name).needs_root
        for check in checks(kind, name, options=OPTIONS.get(name))
    ]


@pytest.mark.parametrize("check", every_check(), ids=str)
def test_conforms(check: Check) -> None:
    check()
