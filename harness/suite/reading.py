"""Reads a suite file by models: what is wrong is noted with its line, and the rest is read."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self, TypeVar, cast

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    PrivateAttr,
    ValidationError,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    field_validator,
    model_validator,
)
from pydantic.functional_validators import ModelWrapValidatorHandler
from pydantic_core import CoreSchema

from harness.errors import Problem, SuiteError
from harness.suite.strict_yaml import Document, Place, place_text
from harness.suite.wording import listing, sentence, show, unknown_key

MAX_LISTED = 100
"""Problems of one file that are listed; more would bury the first."""

T = TypeVar("T")
M = TypeVar("M", bound=BaseModel)


class Refused(Exception):
    """What is wrong with a value: each reason with its place, from the value on.

    It passes through pydantic to where reading goes on.
    """

    def __init__(self, *reasons: tuple[Place, str]) -> None:
        super().__init__(*reasons)
        self.reasons = reasons

    @classmethod
    def because(cls, message: str) -> Refused:
        """Give one reason, which is about the value itself."""
        return cls(((), message))


def strictly(cls: type[M], value: dict[str, Any], noun: str) -> M:
    """Validate options or settings: no number is made of a text, no flag of a word.

    Args:
        cls: What it should become.
        value: The mapping.
        noun: What messages call its keys.

    Raises:
        Refused: with every reason.
    """
    try:
        return cls.model_validate_json(json.dumps(value), strict=True)
    except ValidationError as error:
        reasons = []
        for details in error.errors(include_url=False):
            kind, where = details["type"], details["loc"]
            if kind == "extra_forbidden":
                message = unknown_key(noun, str(where[-1]), cls.model_fields)
            else:
                message = sentence(kind, details["input"], details.get("ctx", {}), details["msg"])
            reasons.append((where, message))
        raise Refused(*reasons) from None


class Reader:
    """One document being checked; collects problems instead of raising.

    Attributes:
        source: What messages call the file.
        document: The file's content.
        place: Where in the document reading is.
        names: What filters may call each kind of thing: all that the file has named so far.
    """

    def __init__(self, source: str, document: Document) -> None:
        self.source = source
        self.document = document
        self.place: Place = ()
        self.names: dict[str, set[str]] = {"dataset": set(), "variant": set(), "trick": {"none"}}
        self._problems = dict.fromkeys(document.problems)

    @property
    def folder(self) -> Path:
        """Where relative paths begin."""
        return Path(self.source).parent

    @property
    def problems(self) -> list[Problem]:
        """What was found so far, the YAML's own problems first."""
        return list(self._problems)

    def problem(self, place: Place, message: str) -> None:
        """Note a problem once, unless the value was refused for its YAML already."""
        if not self.document.is_rejected(place):
            line = self.document.line(place)
            self._problems.setdefault(Problem(message, place_text(place), line))

    def touches(self, *keys: str) -> bool:
        """Whether there is a problem in the entries of some of the file's keys."""
        return any(problem.path.startswith(keys) for problem in self._problems)

    def raise_problems(self) -> None:
        """Raise everything that was found, if anything was.

        Raises:
            SuiteError: with the first 100 problems in the order of their lines.
        """
        if not self._problems:
            return
        ordered = sorted(self._problems, key=lambda p: (p.line or 0, p.path))
        if len(ordered) > MAX_LISTED:
            more = Problem(f"has {len(ordered):,} problems; these are the first {MAX_LISTED}")
            ordered = [more, *ordered[:MAX_LISTED]]
        raise SuiteError(self.source, ordered)

    def within(self, place: Place, *steps: str | int) -> Place:
        """Go on from a place; steps that the file does not have, as union members, are skipped."""
        for step in steps:
            place = (*place, step) if (*place, step) in self.document.lines else place
        return place

    def read(self, read: Callable[[Any], T], value: Any, *step: str | int) -> list[T]:
        """Read a part of what is being read.

        Returns:
            What it says, alone in a list; nothing, and problems, if it cannot be read.
        """
        before, self.place = self.place, self.within(self.place, *step)
        try:
            return [read(value)]
        except Refused as refused:
            for where, message in refused.reasons:
                place = self.within(self.place, *where)
                # What is missing has no place of its own in the file.
                self.problem((*place, where[-1]) if message == "is missing" else place, message)
            return []
        finally:
            self.place = before


def read_items(value: Any, read: ValidatorFunctionWrapHandler, info: ValidationInfo[Reader]) -> Any:
    """Read a list that is not empty, item by item; what is there twice is kept once."""
    reader = info.context
    if not isinstance(value, list):
        raise Refused.because(f"must be a list, not {show(value)}")
    if not value:
        raise Refused.because("must not be empty")
    kept: list[Any] = []
    seen: dict[str, Any] = {}
    for i, each in enumerate(value):
        for (item,) in reader.read(read, [each], i):
            key = getattr(item, "key", None)
            first = item if key is None else seen.setdefault(key, item)
            if first is item:
                kept.append(item)
            else:
                reader.problem(
                    item.place,
                    f"{item.label} is there twice: it equals {place_text(first.place)} "
                    f"in line {reader.document.line(first.place)}",
                )
    return tuple(kept)


def read_alternatives(
    value: Any, read: ValidatorFunctionWrapHandler, info: ValidationInfo[Reader]
) -> Any:
    """Read a list, or a single value as if it were a list of one."""
    return read_items(value if isinstance(value, list) else [value], read, info)


class OrOne:
    """Marks a list that may also be one item alone."""

    def __get_pydantic_json_schema__(
        self, core: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        several = handler(core)
        return {"anyOf": [several["items"], several]}


Several = Annotated[tuple[T, ...], Field(min_length=1)]
Items = Annotated[Several[T], WrapValidator(read_items)]
OneOrMore = Annotated[Several[T], WrapValidator(read_alternatives), OrOne()]


def says(message: str) -> WrapValidator:
    """Give whatever is wrong with a value one message, with what was found for the braces."""

    def read(value: Any, read: ValidatorFunctionWrapHandler) -> Any:
        try:
            return read(value)
        except ValidationError:
            raise Refused.because(message.format(show(value))) from None

    return WrapValidator(read)


class Section(BaseModel):
    """A mapping of a suite file with keys that are known; what cannot be read has its default."""

    model_config = ConfigDict(frozen=True)

    required: ClassVar[tuple[str, ...]] = ()
    """Keys that must be there."""
    empty: ClassVar[str] = ""
    """What is said of one without any key; nothing where that is fine."""
    _place: Place = PrivateAttr(default=())

    @classmethod
    def at(cls, place: Place, **fields: Any) -> Self:
        """Make one of what has been read, and where in the file it stands."""
        section = cls.model_construct(**fields)
        section._place = place
        return section

    @property
    def place(self) -> Place:
        """Where in the file it stands."""
        return self._place

    @model_validator(mode="wrap")
    @classmethod
    def _read(cls, value: Any, read: ModelWrapValidatorHandler[Self], info: ValidationInfo) -> Self:
        reader, known = cast("Reader", info.context), cls.model_fields
        if not isinstance(value, dict):
            raise Refused.because(f"must be a mapping with {listing(known)}, not {show(value)}")
        if not value and cls.empty:
            raise Refused.because(cls.empty)
        for key in value:
            if key not in known:
                reader.problem((*reader.place, key), unknown_key("key", key, known))
        for key in cls.required:
            if key not in value:
                reader.problem((*reader.place, key), "is missing")
        section = read(value)
        section._place = reader.place
        return section

    @field_validator("*", mode="wrap")
    @classmethod
    def _read_field(
        cls, value: Any, read: ValidatorFunctionWrapHandler, info: ValidationInfo[Reader]
    ) -> Any:
        name = str(info.field_name)
        found = info.context.read(read, value, name)
        return found[0] if found else cls.model_fields[name].default

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        written = handler(core)
        mapping = handler.resolve_ref_schema(written)
        mapping |= {"additionalProperties": False, "required": list(cls.required)}
        mapping |= {"minProperties": 1} if cls.empty else {}
        for described in mapping["properties"].values():
            described.pop("title", None)
            described.pop("default", None)  # which stands for what the file leaves out
        return written
