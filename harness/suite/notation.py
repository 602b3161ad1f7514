"""How values of a suite file are written: parts, combinations, settings, seeds and the like."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    BeforeValidator,
    Field,
    TypeAdapter,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    WithJsonSchema,
    WrapValidator,
    create_model,
)
from typing_extensions import TypeAliasType

from harness.datasets.base import Dataset
from harness.errors import DataError
from harness.parts import Variant
from harness.registry import KINDS, nearest, others
from harness.spec import NAME_PATTERN, Frozen, Settings
from harness.store.records import NONE
from harness.suite.entries import SETTINGS, Combination, Contrast, Entry, planned_part
from harness.suite.reading import Reader, Refused, read_items, says, strictly
from harness.suite.schema import Notation, name_schema, part_schema, settings_schema, tricks_schema
from harness.suite.strict_yaml import Place
from harness.suite.wording import is_name, refuse_name, show

SEED_LIMIT = 2**31
GivenSettings: type[Frozen] = create_model(  # type: ignore[call-overload]
    "GivenSettings",
    __base__=Frozen,
    **{name: (info.rebuild_annotation(), None) for name, info in Settings.model_fields.items()},
)
"""The fields of :class:`Settings`, none of them required."""


def read_part(kind: str, value: Any, info: ValidationInfo[Reader]) -> Entry[Any]:
    """Read an id, or a mapping of an id and options, and note what filters may call it."""
    options = dict(value) if isinstance(value, dict) else {"id": value}
    if not isinstance(value, str | dict) or "id" not in options:
        what = "a mapping without id" if isinstance(value, dict) else show(value)
        raise Refused.because(f"must be an id, or {{id: …, option: value}}, not {what}")
    name, where = options.pop("id"), ("id",) if isinstance(value, dict) else ()
    registry, names = KINDS[kind].registry, info.context.names[kind]
    known = [*registry.names(), NONE] if kind == "trick" else registry.names()
    if kind == "dataset" and isinstance(name, str) and ":" in name:
        name, options = split_place(name, options, where)
    if not is_name(name):
        raise Refused((where, refuse_name(name, known)))
    names.add(name)
    if name == NONE:
        raise Refused((where, "none stands alone, without options or other tricks"))
    if name not in known:
        raise Refused((where, f"unknown {kind} {name!r}{nearest(name, known)}; {others(kind)}"))
    cls, bare, called = registry.get(name), not options, name
    if issubclass(cls, Dataset):
        for key in cls.places():
            if isinstance(path := options.get(key), str) and path:
                called += f":{path}"
                options[key] = str((info.context.folder / Path(path).expanduser()).resolve())
    part = strictly(cls, options, f"option of {name}")
    if isinstance(part, Dataset) and part.places():
        try:
            part.fingerprint()  # the content of files names the runs
        except DataError as error:
            raise Refused.because(str(error)) from None
    entry = Entry(name, part, planned_part(called, part), bare, info.context.place)
    names.add(entry.label)
    return entry


def split_place(text: str, options: dict[str, Any], where: Place) -> tuple[str, dict[str, Any]]:
    """Read ``id:PATH``, short for the id with the one option that says where files lie."""
    name, _, path = text.partition(":")
    registry = KINDS["dataset"].registry
    if name not in registry.names():
        return name, options
    places = registry.get(name).places()
    if len(places) != 1:
        raise Refused((where, f"{name} has no files of its own: nothing follows its id"))
    if not path:
        raise Refused((where, f"a path must follow, as in {name}:photos"))
    if places[0] in options:
        raise Refused((where, f"{name} has two paths: after its id and as {places[0]}"))
    return name, {**options, places[0]: path}


def read_settings(value: Any, info: ValidationInfo[Reader]) -> dict[str, Any]:
    """Read a mapping of those settings that are given."""
    if not isinstance(value, dict):
        raise Refused.because(f"must be a mapping, not {show(value)}")
    return strictly(GivenSettings, value, "setting").model_dump(exclude_unset=True)


def read_trick(value: Any, info: ValidationInfo[Reader]) -> Entry[Any] | dict[str, Any]:
    """Read a trick, or other settings in the place of one."""
    if not isinstance(value, dict) or value.get("id") != SETTINGS:
        return read_part("trick", value, info)
    if value.keys() == {"id"}:
        raise Refused.because("must change a setting: {id: settings, lr_g: 1e-3}")
    return read_settings({key: each for key, each in value.items() if key != "id"}, info)


def read_tricks(value: Any, info: ValidationInfo[Reader]) -> Combination:
    """Read ``none``, a trick, or a list of tricks."""
    reader = info.context
    if value == NONE:
        return Combination(reader.place)
    items = value if isinstance(value, list) else [value]
    if not items:
        raise Refused.because("must not be empty")
    laid_over: dict[str, Any] = {}
    for i, item in enumerate(items):
        for found in reader.read(partial(read_trick, info=info), item, i):
            name = found.id if isinstance(found, Entry) else SETTINGS
            if laid_over.setdefault(name, found) is not found:
                where = reader.within(reader.place, i)
                reader.problem(where, f"the combination has {name} twice")
    if len(laid_over) < len(items):
        raise Refused  # for what has been said
    settings = laid_over.pop(SETTINGS, {})
    combination = Combination(reader.place, tuple(laid_over.values()), settings)
    reader.names["trick"] |= combination.names
    return combination


def read_contrast(value: Any, info: ValidationInfo[Reader]) -> Contrast:
    """Read a pair of labels of tricks."""
    if isinstance(value, list) and [type(name) for name in value] == [str, str]:
        return Contrast((value[0], value[1]), info.context.place)
    raise Refused.because(
        "must be two tricks as reports call them, such as [update-ratio(d=2), none]; "
        "put a label with a comma in quotes"
    )


def read_contrasts(
    value: Any, read: ValidatorFunctionWrapHandler, info: ValidationInfo[Reader]
) -> Any:
    """Read contrasts; an empty list takes away what lies below."""
    return () if value == [] else read_items(value, read, info)


def read_name(value: Any) -> Any:
    """Refuse what cannot be a folder's name."""
    if not is_name(value):
        raise Refused.because(refuse_name(value))
    return value


Count = Annotated[
    int,
    Field(strict=True, ge=1, le=SEED_LIMIT),
    says("must be a whole number from 1, or a list of seeds, not {}"),
]
Seed = Annotated[
    int,
    Field(strict=True, ge=0, lt=SEED_LIMIT),
    says(f"a seed is a whole number from 0 to {SEED_LIMIT - 1}, not {{}}"),
]
COUNT, SEED = TypeAdapter(Count), TypeAdapter(Seed)


def read_seeds(value: Any, info: ValidationInfo[Reader]) -> Sequence[int]:
    """Read a number of seeds, from 0 on, or a list of seeds."""
    if not isinstance(value, list):
        return range(COUNT.validate_python(value))
    if not value:
        raise Refused.because("must not be empty")
    reader, seeds = info.context, dict[int, None]()
    for i, each in enumerate(value):
        for seed in reader.read(SEED.validate_python, each, i):
            if seed in seeds:
                reader.problem((*reader.place, i), f"seed {seed} is there twice")
            seeds[seed] = None
    return tuple(seeds)


def seeds_schema() -> dict[str, Any]:
    """Describe both ways to give seeds."""
    several = {"type": "array", "items": SEED.json_schema(), "minItems": 1, "uniqueItems": True}
    return {"anyOf": [COUNT.json_schema(), several]}


def read_text(value: Any, info: ValidationInfo[Reader]) -> str:
    """Read an id or a label."""
    if not isinstance(value, str):
        raise Refused.because(f"must be text, not {show(value)}")
    return value


def read_line(value: Any, info: ValidationInfo[Reader]) -> str:
    """Read a text as one line."""
    return " ".join(read_text(value, info).split())


def of_kind(kind: str) -> Notation:
    """Read and describe the parts of a kind."""
    return Notation(partial(read_part, kind), partial(part_schema, kind))


DatasetEntry = TypeAliasType("DatasetEntry", Annotated[Entry[Dataset], of_kind("dataset")])
VariantEntry = TypeAliasType("VariantEntry", Annotated[Entry[Variant], of_kind("variant")])
Tricks = TypeAliasType("Tricks", Annotated[Combination, Notation(read_tricks, tricks_schema)])
ChangedSettings = TypeAliasType(
    "ChangedSettings", Annotated[dict[str, Any], Notation(read_settings, settings_schema)]
)
DatasetName = Annotated[str, Notation(read_text, partial(name_schema, "dataset"))]
VariantName = Annotated[str, Notation(read_text, partial(name_schema, "variant"))]
TrickName = Annotated[str, Notation(read_text, partial(name_schema, "trick"))]
Seeds = Annotated[Sequence[int], Notation(read_seeds, seeds_schema)]
PAIR = {"type": "array", "items": {"type": "string"}, "minItems": 2, "maxItems": 2}
Pair = Annotated[Contrast, Notation(read_contrast, lambda: dict(PAIR))]
Contrasts = Annotated[tuple[Pair, ...], WrapValidator(read_contrasts)]
Margin = Annotated[
    float,
    Field(strict=True, gt=1, le=100),
    says("must be a ratio above 1 and up to 100, such as 1.25, not {}"),
]
Name = Annotated[
    str,
    BeforeValidator(read_name),
    WithJsonSchema({"type": "string", "pattern": NAME_PATTERN}),
]
OneLine = Annotated[str, Notation(read_line, lambda: {"type": "string"})]
