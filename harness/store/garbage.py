"""How often to look for garbage, where many objects are made that stay."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager

SELDOM = (200_000, 20, 100)
"""Thresholds at which what is new is looked through, and what is old never in a minute."""


@contextmanager
def uncollected() -> Iterator[None]:
    """Make many objects inside this: looking for garbage among them takes longer than they do."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


@contextmanager
def seldom_collected() -> Iterator[Callable[[], None]]:
    """Work on many objects inside this.

    Yields:
        What says that all objects there are will stay to the end: they are not looked through.
    """
    before = gc.get_threshold()
    # Errors that imports have caught refer to all that is above them, and would keep it.
    gc.collect()
    gc.set_threshold(*SELDOM)
    try:
        yield gc.freeze
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()
