"""How often garbage is looked for: set inside, and as it was outside."""

from __future__ import annotations

import gc

import pytest

from harness.store.garbage import SELDOM, seldom_collected, uncollected


def test_collecting_goes_on_after_an_error_too() -> None:
    assert gc.isenabled()
    with pytest.raises(KeyError), uncollected():
        assert not gc.isenabled()
        with uncollected():
            pass
        assert not gc.isenabled()
        raise KeyError
    assert gc.isenabled()


def test_what_stays_is_not_looked_through_until_the_end() -> None:
    before, frozen = gc.get_threshold(), gc.get_freeze_count()
    with pytest.raises(KeyError), seldom_collected() as stay:
        assert gc.get_threshold() == SELDOM != before
        kept = [[] for _ in range(100)]
        stay()
        assert gc.get_freeze_count() >= frozen + len(kept)
        raise KeyError
    assert gc.get_threshold() == before
    assert gc.get_freeze_count() == 0
