"""What variants and tricks are made of; all that a part of your own imports is here by name."""

import sys
from importlib import import_module

from harness.parts.conditions import Condition as Condition
from harness.parts.part import Context as Context
from harness.parts.part import Part as Part
from harness.parts.part import Rates as Rates
from harness.parts.part import Recipe as Recipe
from harness.parts.part import Scalar as Scalar
from harness.parts.part import Schedule as Schedule
from harness.parts.part import Trick as Trick
from harness.parts.part import Variant as Variant
from harness.parts.part import all_parts as all_parts
from harness.parts.part import column as column
from harness.parts.part import like as like
from harness.parts.part import parts_of as parts_of
from harness.parts.part import refused as refused
from harness.parts.part import remarks as remarks
from harness.parts.part import run_mean as run_mean
from harness.parts.part import schedule_of as schedule_of
from harness.parts.part import tricks as tricks
from harness.parts.part import variants as variants
from harness.parts.protocols import Batch as Batch
from harness.parts.protocols import Draws as Draws
from harness.parts.protocols import Game as Game
from harness.parts.protocols import Targets as Targets
from harness.spec import PerRun as PerRun

# Plugins written for 0.1.0 import these by the names that they had then; 0.2 does without.
for _name in ("augmentations", "conditions", "penalties", "precision", "protocols"):
    sys.modules.setdefault(f"harness.{_name}", import_module(f"harness.parts.{_name}"))
