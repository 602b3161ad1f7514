"""Numbers of a run that can be searched: their names, their ranges, and runs that have others.

A name is that of a setting (``lr_g``), of an option of the variant (``variant.penalty_weight``) or
of a trick (``label-smoothing.real_low``), or ``lr_d/lr_g``, the ratio of the two learning rates.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from optuna.distributions import FloatDistribution, IntDistribution
from pydantic import ValidationError

from harness.datasets.base import dataset_of
from harness.errors import GanbenchError
from harness.networks.base import unsupported
from harness.parts import Context, parts_of, refused, schedule_of, tricks, variants
from harness.parts.blueprint import blueprint_of
from harness.registry import nearest
from harness.spec import PartSpec, RunSpec, Settings
from harness.suite.cell_settings import too_large
from harness.suite.defaults import UNUSED
from harness.suite.matrix import ONLY_KEYS, parse_only
from harness.suite.wording import listing, sentence

RATIO = "lr_d/lr_g"
VARIANT = "variant"
NOT_SEARCHED = {
    "steps": "every trial trains as long as the suite does",
    "replicate": "it only changes the random numbers",
    **dict.fromkeys(
        (
            "log_every",
            "evaluate_every",
            "evaluation_samples",
            "collapse_diversity",
            "collapse_coverage",
        ),
        "it decides how runs are measured",
    ),
}
"""Settings that are numbers and no part of a search, and why."""
MOST = 8
"""Numbers of one cell that can be searched; a few dozen trials tell nothing of more."""
EDGE = 0.05
"""Share of a range, on its own scale, that counts as its edge, at each end."""
FORM = "write NAME=LOW..HIGH, such as lr_g=1e-5..1e-2:log, and @variant=wgan for such cells only"
PATTERN = re.compile(rf"@(?=(?:{'|'.join(key for key in ONLY_KEYS if key != 'seed')})=)")

Numbers = Mapping[str, float]
"""A point of the search: value by name."""


@dataclass(frozen=True)
class Range:
    """A number to search, and between which values.

    Attributes:
        name: Such as ``lr_g`` or ``variant.penalty_weight``.
        low: The lowest value.
        high: The highest.
        log: Whether values are spread evenly over its logarithm.
        only: In which cells, as ``--only`` takes it; empty for all that have such a number.
    """

    name: str
    low: float
    high: float
    log: bool = False
    only: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Range:
        """Read ``NAME=LOW..HIGH[:log][@KEY=VALUE…]``.

        Raises:
            GanbenchError: if it is written otherwise, or there is nothing between the ends.
        """
        written, *only = PATTERN.split(text)
        name, _, ends = written.partition("=")
        ends, colon, scale = ends.partition(":")
        try:
            low, high = (float(end) for end in ends.split(".."))
        except ValueError:
            raise GanbenchError(f"--param {text}: {FORM}") from None
        if not name or (colon and scale != "log"):
            raise GanbenchError(f"--param {text}: {FORM}")
        if not (math.isfinite(low) and math.isfinite(high) and low < high):
            raise GanbenchError(f"--param {text}: the low end must be below the high end")
        if scale and low <= 0:
            raise GanbenchError(f"--param {text}: a logarithmic range begins above 0")
        parse_only(only)
        return cls(name, low, high, bool(scale), tuple(only))

    def __str__(self) -> str:
        scale = ":log" if self.log else ""
        return f"{self.name}={self.low:g}..{self.high:g}{scale}"

    @property
    def ends(self) -> tuple[float, float]:
        """The lowest value and the highest."""
        return self.low, self.high

    def distribution(self, like: float) -> FloatDistribution | IntDistribution:
        """Return it as Optuna's, of whole numbers where the cell's own value is one.

        Raises:
            GanbenchError: if whole numbers are asked for and an end is none.
        """
        if not isinstance(like, int):
            return FloatDistribution(self.low, self.high, log=self.log)
        if any(end != int(end) for end in self.ends):
            raise GanbenchError(f"--param {self}: {self.name} is a whole number, its ends too")
        return IntDistribution(int(self.low), int(self.high), log=self.log)

    def place(self, value: float) -> float:
        """Return where a value lies on the range's scale: 0 at the low end, 1 at the high one."""
        low, high = (math.log(v) if self.log else v for v in (self.low, self.high))
        if self.log and value <= 0:
            return -math.inf
        return ((math.log(value) if self.log else value) - low) / (high - low)

    def at_edge(self, value: float) -> bool:
        """Say whether a value lies at an end, or beyond it: better ones may be outside."""
        return not EDGE <= self.place(value) <= 1 - EDGE


DEFAULT = (Range("lr_g", 1e-5, 1e-2, log=True), Range(RATIO, 0.1, 10.0, log=True))
"""What is searched unless something is asked for: both learning rates."""


def numbers_of(spec: RunSpec) -> dict[str, float]:
    """Return every number of a run that can be searched, by name."""
    settings = spec.settings.model_dump(mode="json")
    idle = (*NOT_SEARCHED, *UNUSED[spec.settings.optimizer])
    found = {name: value for name, value in settings.items() if name not in idle}
    found[RATIO] = spec.settings.lr_d / spec.settings.lr_g
    for owner, part in ((VARIANT, spec.variant), *((trick.id, trick) for trick in spec.tricks)):
        found |= {f"{owner}.{option}": value for option, value in part.options.items()}
    return {
        name: value
        for name, value in found.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }


def with_numbers(spec: RunSpec, numbers: Numbers) -> RunSpec:
    """Return a run like another but for some numbers; with the same ones, the run itself.

    Raises:
        GanbenchError: if a setting or a part refuses its number.
    """
    own = numbers_of(spec)
    new = {name: value for name, value in numbers.items() if value != own[name]}
    settings: dict[str, Any] = {n: v for n, v in new.items() if "." not in n and n != RATIO}
    if RATIO in numbers and (RATIO in new or "lr_g" in new):
        lr_g = settings.get("lr_g", spec.settings.lr_g)
        settings["lr_d"] = rounded(lr_g * numbers[RATIO])
    try:
        return spec.model_copy(
            update={
                "settings": Settings(**{**spec.settings.model_dump(), **settings}),
                "variant": _changed(VARIANT, variants, spec.variant, new),
                "tricks": tuple(_changed(t.id, tricks, t, new) for t in spec.tricks),
            }
        )
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        why = sentence(first["type"], first["input"], first.get("ctx", {}), first["msg"])
        what = f"{first['loc'][-1]} " if first["loc"] else ""
        raise GanbenchError(f"{written(numbers)} is refused: {what}{why}") from error


def _changed(owner: str, registry: Any, part: PartSpec, numbers: Numbers) -> PartSpec:
    parted = {name.rpartition("."): value for name, value in numbers.items()}
    options = {option: value for (of, _, option), value in parted.items() if of == owner}
    if not options:
        return part
    made = registry.get(part.id).model_validate({**part.options, **options})
    return PartSpec(id=part.id, options=made.model_dump(mode="json"))


def rounded(value: float) -> float:
    """Keep four digits, which is more than anybody tells apart."""
    return float(f"{value:.4g}")


def written(numbers: Numbers) -> str:
    """Write a setting, such as ``lr_g 0.0002, lr_d/lr_g 1``."""
    return ", ".join(f"{name} {value:.3g}" for name, value in numbers.items())


Ranges = Sequence[tuple[Range, frozenset[str]]]
"""Each with the ids of all runs that it is about."""


def space_of(spec: RunSpec, ranges: Ranges) -> dict[str, Range | None]:
    """Say what is searched in a cell, by name; None for what only other cells have.

    Args:
        spec: One of its runs.
        ranges: What is asked for; of one name the last that is about the cell counts.

    Raises:
        GanbenchError: if a range and the cell do not go together.
    """
    own = numbers_of(spec)
    space: dict[str, Range | None] = {each.name: None for each, _ in ranges}
    for each, about in ranges:
        if each.name in own and spec.id in about:
            space[each.name] = each
    searched = [each for each in space.values() if each is not None]
    for each in searched:
        each.distribution(own[each.name])
    if space.get(RATIO) and space.get("lr_d"):
        raise GanbenchError(f"--param lr_d and --param {RATIO} exclude each other: give one")
    if len(searched) > MOST:
        raise GanbenchError(f"{len(searched)} numbers of one cell are too many; at most {MOST}")
    return space


def check_names(ranges: Ranges, specs: Sequence[RunSpec]) -> None:
    """Refuse what no cell has.

    Args:
        ranges: What is asked for.
        specs: One run of each cell.

    Raises:
        GanbenchError: naming what there is.
    """
    numbers = {spec.id: numbers_of(spec) for spec in specs}
    for each, about in ranges:
        if each.name in NOT_SEARCHED:
            raise GanbenchError(
                f"--param {each}: {each.name} is not searched, because {NOT_SEARCHED[each.name]}"
            )
        known = list(dict.fromkeys(n for run, own in numbers.items() if run in about for n in own))
        if not known:
            raise GanbenchError(f"--param {each}: its pattern fits no cell that is tuned")
        if each.name not in known:
            hint = nearest(each.name[:64], known)
            raise GanbenchError(
                f"--param {each}: no such cell has such a number{hint}; there is {listing(known)}"
            )


def corners(space: Mapping[str, Range | None], own: Numbers) -> list[Numbers]:
    """List the settings in which every number is at an end of its range, all low to all high."""
    ends = {
        each.name: [int(end) if isinstance(own[each.name], int) else end for end in each.ends]
        for each in space.values()
        if each is not None
    }
    return [dict(zip(ends, values, strict=True)) for values in product(*ends.values())]


def extremes(spec: RunSpec, space: Mapping[str, Range | None]) -> list[RunSpec]:
    """Return a cell's runs with all numbers at the low and at the high ends.

    Raises:
        GanbenchError: if the cell refuses an end, or ends together.
    """
    reached = [
        (numbers, with_numbers(spec, numbers)) for numbers in corners(space, numbers_of(spec))
    ]
    for numbers, each in (reached[0], reached[-1]):
        reason = misfit(each)
        if reason is not None:
            raise GanbenchError(f"{written(numbers)} is refused: {reason}")
    return [reached[0][1], reached[-1][1]]


def misfit(spec: RunSpec) -> str | None:
    """Say why a run makes no sense, as the suite's reader would, or None."""
    dataset = dataset_of(spec)
    variant, laid_over = parts_of(spec)
    parts = (variant, *laid_over)
    context = Context(dataset, variant, tuple(laid_over), spec.settings)
    schedule_of(parts)
    reasons = [refused(part, context) for part in parts]
    reasons += [unsupported(blueprint_of(spec)), too_large(spec.settings.batch, dataset)]
    return next((reason for reason in reasons if reason is not None), None)
