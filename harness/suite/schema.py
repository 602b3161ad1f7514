"""Describes suite files as JSON Schema, by which editors complete and check them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationInfo
from pydantic_core import CoreSchema, core_schema

from harness.registry import KINDS
from harness.spec import Settings
from harness.store.records import NONE
from harness.suite.defaults import DEFAULTS
from harness.suite.entries import SETTINGS


@dataclass(frozen=True)
class Notation:
    """Marks a type that two functions read and describe.

    Attributes:
        read: Reads what a file holds, told of the context.
        schema: Gives the JSON Schema, once all parts can be asked for theirs.
    """

    read: Callable[[Any, ValidationInfo[Any]], Any]
    schema: Callable[[], dict[str, Any]]

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.with_info_plain_validator_function(self.read)

    def __get_pydantic_json_schema__(
        self, core: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return self.schema()


def part_schema(kind: str) -> dict[str, Any]:
    """Describe the ids of a kind, and the mapping of each with its options."""
    ids: dict[str, str] = {}
    others: list[dict[str, Any]] = []
    for cls in KINDS[kind].registry:
        schema = cls.model_json_schema()
        properties = schema.get("properties", {})
        required = schema.get("required", [])
        if not required:
            ids[cls.id] = cls.summary
        called = {"id": {"const": cls.id}}
        others.append(mapping(called | properties, ["id", *required], cls.summary))
        if kind == "dataset" and cls.places():
            # The path stands after the id, or by itself, and not at both places.
            with_path = {"type": "string", "pattern": f"^{cls.id}:."}
            left = {key: each for key, each in properties.items() if key not in cls.places()}
            needed = [key for key in required if key in left]
            others += [with_path, mapping({"id": with_path, **left}, ["id", *needed], cls.summary)]
    return {"anyOf": [{"enum": list(ids), "enumDescriptions": list(ids.values())}, *others]}


def name_schema(kind: str) -> dict[str, Any]:
    """Describe how filters call things of a kind: by their ids, or by labels of the suite."""
    return {"anyOf": [{"enum": KINDS[kind].registry.names()}, {"type": "string"}]}


def mapping(properties: dict[str, Any], required: list[str], description: str) -> dict[str, Any]:
    """Describe a mapping that has no other keys."""
    for each in properties.values():
        each.pop("title", None)
    return {
        "type": "object",
        "description": description,
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }


def settings_schema() -> dict[str, Any]:
    """Describe settings, with what each is where a suite leaves it open."""
    settings = Settings.model_json_schema()["properties"]
    for name, setting in settings.items():
        setting.pop("default", None)
        what = f"{setting['description']}; " if "description" in setting else ""
        setting["description"] = f"{what}default: {DEFAULTS[name].text}"
    known = {kind: KINDS[kind].registry.names() for kind in ("network", "extractor", "probe")}
    stems = {name.rstrip("0123456789") for name in known["network"]}
    on_request = [metric.id for metric in KINDS["metric"].registry if metric.on_request]
    settings["network"]["enum"] = sorted({*known["network"], *stems})
    settings["extractor"]["anyOf"] = [{"enum": ["data", *known["extractor"]]}, {"type": "string"}]
    settings["probes"]["items"]["enum"] = known["probe"]
    settings["metrics"]["items"]["enum"] = on_request
    return mapping(settings, [], "settings by name; what is left open has a default")


def tricks_schema() -> dict[str, Any]:
    """Describe ``none``, single tricks, settings in the place of one, and lists of them."""
    changed = settings_schema()
    changed["properties"] = {"id": {"const": SETTINGS}, **changed["properties"]}
    changed |= {"required": ["id"], "minProperties": 2}
    changed["description"] = "settings in the place of a trick; they win over every override"
    one = {"anyOf": [*part_schema("trick")["anyOf"], changed]}
    several = {"type": "array", "items": one, "minItems": 1}
    several["description"] = "a combination, laid over the variant in this order"
    return {"anyOf": [{"const": NONE, "description": "no tricks"}, *one["anyOf"], several]}
