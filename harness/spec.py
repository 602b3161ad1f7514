"""What defines a run: frozen, canonical, and named by its own content."""

from __future__ import annotations

import hashlib
import json
import math
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer

from harness.version import RESULTS_VERSION

Precision = Literal["float32", "float64", "tf32", "bfloat16"]
"""Of arithmetic in training; :mod:`harness.parts.precision` says what each means."""

PATIENCE = 3
"""Evaluations in a row, at the end, that must be below a threshold to call a run collapsed."""

IMAGES = 64
"""Images of a run's sample grid, 8×8, drawn from those of an evaluation."""

ID_LENGTH = 12
NAME_PATTERN = r"^[a-z0-9][a-z0-9_.-]{0,63}$"
"""What every id of a part looks like."""
Split = Literal["train", "validation", "test"]
ReportSplit = Literal["train", "test"]
"""Splits that reported numbers may be measured against."""
TuningSplit = Literal["validation"]
"""The split that trials of a search are measured against, and nothing else is."""


def canonical_json(value: object) -> str:
    """Write a value as JSON that is the same for equal values.

    Keys are sorted, there is no white space, floats that are whole keep their point, and
    non-finite numbers are refused.

    Raises:
        ValueError: if the value holds NaN or an infinity.
    """
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=True
    )


def content_id(value: object, length: int = ID_LENGTH) -> str:
    """Name a value by the SHA-256 of its canonical JSON, in lower-case hexadecimal."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()[:length]


class Frozen(BaseModel):
    """Base of the records that define a run: immutable, and strict about unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class PerRun:
    """Marks an option or a setting that may differ between the runs of a cohort."""


def per_run_fields(model: type[BaseModel]) -> list[str]:
    """Name the fields of a model that are marked as :class:`PerRun`."""
    return [
        name
        for name, field in model.model_fields.items()
        if any(isinstance(mark, PerRun) for mark in field.metadata)
    ]


class PartSpec(Frozen):
    """A variant, a trick or a data set by its id, with every option written out."""

    id: str = Field(pattern=NAME_PATTERN)
    options: dict[str, Any] = {}


class DatasetSpec(PartSpec):
    """A data set, with what its content must hash to.

    Attributes:
        fingerprint: Of its content.
        shape: Shape of one example; with the classes, all that networks need to know of it.
        classes: Labelled classes; None without labels.
        where: Options that say where its files lie; no part of the run's id, since the same
            content may lie anywhere.
    """

    fingerprint: str
    shape: tuple[int, ...] = Field(min_length=1)
    classes: int | None = None
    where: dict[str, str] = {}

    @model_serializer(mode="wrap")
    def _without_empty_place(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        described: dict[str, Any] = serialize(self)
        if not described.get("where"):
            described.pop("where", None)
        return described


LATER_SETTINGS = (
    "probes",
    "metrics",
    "replicate",
    "injected_ratio",
    "injected_failures",
    "injected_real",
)
"""Settings that came later than others; a run's identity has them where they are not defaults."""


class Settings(Frozen):
    """How a run trains and is measured; every value resolved, nothing left to a default.

    One *step* is a round of the update schedule: d discriminator updates, then g generator
    updates (1 and 1 unless the variant or a trick says otherwise).
    """

    steps: int = Field(gt=0, le=10**9, description="rounds of the update schedule")
    batch: int = Field(gt=1, le=10**6, description="images or points per update")
    latent: int = Field(gt=0, le=10**5, description="dimensions of the latent z")
    network: str = Field(pattern=NAME_PATTERN, description="network family of G and D")
    width: int = Field(
        gt=0, le=10**4, description="channels or hidden units of the narrowest layer"
    )
    optimizer: Literal["adam", "rmsprop", "sgd"]
    lr_g: Annotated[float, PerRun()] = Field(gt=0, description="generator's learning rate")
    lr_d: Annotated[float, PerRun()] = Field(gt=0, description="discriminator's learning rate")
    beta1: Annotated[float, PerRun()] = Field(
        ge=0, lt=1, description="first-moment decay; SGD's momentum"
    )
    beta2: Annotated[float, PerRun()] = Field(
        ge=0, lt=1, description="second-moment decay; RMSprop's alpha"
    )
    precision: Precision = Field(description="of arithmetic in training; tf32 needs CUDA")
    log_every: int = Field(gt=0, description="steps between two rows of training diagnostics")
    evaluate_every: int = Field(gt=0, description="steps between two evaluations")
    evaluation_samples: int = Field(gt=1, le=10**7, description="generated samples per evaluation")
    extractor: str = Field(description="features that metrics look through; `data` for points")
    reference: Split = Field(description="the split that generated samples are compared with")
    collapse_diversity: float = Field(
        ge=0, le=1, description="collapsed below this share of the real data's diversity"
    )
    collapse_coverage: float = Field(
        ge=0, le=1, description="collapsed below this share of modes or classes"
    )
    probes: tuple[str, ...] = Field(
        default=(), description="measurements of D before and after training"
    )
    metrics: tuple[str, ...] = Field(
        default=(), description="metrics that are measured on request only"
    )
    replicate: Annotated[int, PerRun()] = Field(
        default=0, ge=0, lt=1000, description="other than 0: the same with other random numbers"
    )
    injected_ratio: Annotated[float, PerRun()] = Field(
        default=1.0, gt=0, le=1e6, description="what the measured primary metric is multiplied by"
    )
    injected_failures: Annotated[float, PerRun()] = Field(
        default=0.0, ge=0, le=1, description="share of runs that are measured as failed"
    )
    injected_real: Annotated[float, PerRun()] = Field(
        default=0.0, ge=0, lt=1, description="share of measured samples that are real ones instead"
    )

    @model_serializer(mode="wrap")
    def _leave_out_what_came_later(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Write later settings at their defaults as nothing: such runs keep their ids."""
        written: dict[str, Any] = write(self)
        for name in LATER_SETTINGS:
            if getattr(self, name) == type(self).model_fields[name].default:
                written.pop(name, None)
        return written

    @property
    def is_altered(self) -> bool:
        """Whether what is measured is altered on purpose, to try reports by a known answer."""
        return any(
            getattr(self, name) != type(self).model_fields[name].default
            for name in ("injected_ratio", "injected_failures", "injected_real")
        )


class RunSpec(Frozen):
    """A cell and a seed: the unit of result. Its id is a hash of its canonical JSON."""

    schema_version: Literal[1] = 1
    results_version: int = RESULTS_VERSION
    dataset: DatasetSpec
    variant: PartSpec
    tricks: tuple[PartSpec, ...] = ()
    settings: Settings
    metrics: str = Field(description="fingerprint of the metric protocols in force")
    seed: int = Field(ge=0, lt=2**31)

    @property
    def id(self) -> str:
        """The first 12 hexadecimal digits of the content's SHA-256."""
        return content_id(self.identity)

    @property
    def identity(self) -> dict[str, Any]:
        """Everything that defines the run, as JSON."""
        return self.model_dump(mode="json", exclude={"dataset": {"where"}})

    @property
    def random_seed(self) -> int:
        """What all random numbers of the run derive from: the seed, but in a replicate."""
        if not self.settings.replicate:
            return self.seed
        return int(content_id([self.seed, self.settings.replicate], 15), 16)

    @property
    def slug(self) -> str:
        """A readable folder name that starts with a letter or digit and ends with the id."""
        tricks = "+".join(trick.id for trick in self.tricks) or "none"
        words = f"{self.dataset.id}-{self.variant.id}-{tricks}"
        safe = "".join(c if c.isalnum() or c in "._-" else "-" for c in words)[:72]
        return f"{safe}-s{self.seed}-{self.id}"


def encode_number(value: float) -> float | dict[str, str]:
    """Store a number so that JSON keeps it: non-finite ones are typed, never bare ``NaN``."""
    if math.isfinite(value):
        return value
    return {"nonfinite": "nan" if math.isnan(value) else "inf" if value > 0 else "-inf"}


def decode_numbers(value: Any) -> Any:
    """Undo :func:`encode_number` everywhere inside a JSON value."""
    if isinstance(value, dict):
        if value.keys() == {"nonfinite"}:
            return float(value["nonfinite"])
        return {key: decode_numbers(item) for key, item in value.items()}
    if isinstance(value, list):
        return [decode_numbers(item) for item in value]
    return value
