"""Every built-in part passes the kit that plugins are held to."""

import pytest

from harness.testing import Check, checks
from harness.testing.kit import KINDS, REGISTRIES
from tests.conformance.cells import TRICK_OPTIONS


def every_check() -> list[Check]:
    return [
        check
        for kind in KINDS
        for name in REGISTRIES[kind].names()
        if kind != "dataset" or not REGISTRIES[kind].get(name).needs_root
        for check in checks(kind, name, options=TRICK_OPTIONS.get(name))
    ]


@pytest.mark.parametrize("check", every_check(), ids=str)
def test_conforms(check: Check) -> None:
    check()
