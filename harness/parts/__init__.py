"""What variants and tricks are made of; all that a part of your own imports is here by name."""

import sys
from importlib import import_module

from harness.parts.conditions import Condition
from harness.parts.part import (
    Context,
    Part,
    PerRun,
    Rates,
    Recipe,
    Scalar,
    Schedule,
    Trick,
    Variant,
    all_parts,
    column,
    like,
    parts_of,
    refused,
    run_mean,
    schedule_of,
    tricks,
    variants,
)
from harness.parts.protocols import Batch, Draws, Game, Targets

__all__ = [
    "Batch",
    "Condition",
    "Context",
    "Draws",
    "Game",
    "Part",
    "PerRun",
    "Rates",
    "Recipe",
    "Scalar",
    "Schedule",
    "Targets",
    "Trick",
    "Variant",
    "all_parts",
    "column",
    "like",
    "parts_of",
    "refused",
    "run_mean",
    "schedule_of",
    "tricks",
    "variants",
]

# Plugins written for 0.1.0 import these by the names that they had then; 0.2 does without.
for _name in ("augmentations", "conditions", "penalties", "precision", "protocols"):
    sys.modules.setdefault(f"harness.{_name}", import_module(f"harness.parts.{_name}"))
