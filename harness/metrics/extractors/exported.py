"""A network of one's own as an extractor: ``--extractor NAME=FILE`` on the command line.

The file is what ``torch.export.save`` wrote (``.pt2``), or TorchScript (``.pt``). Loading either is
running code, which no suite can ask for: a suite only names what the command line allows.
"""

from __future__ import annotations

import hashlib
import io
import re
import warnings
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from harness.errors import DataError, GanbenchError
from harness.metrics.extractors.base import Extractor, extractors, read_verified
from harness.spec import NAME_PATTERN

SUFFIXES = (".pt2", ".pt")
PINNED = r"[0-9a-f]{8,64}"
TRIED = 6
"""Images that a network is tried on, at once and in two parts."""
ROUNDING = 1e-4
"""Largest difference that parts may make, relative to the largest feature."""
CHANGED = "name the file that the runs were planned with, or run the suite again with this one"
REMEDY = (
    "it must take uint8 images (n, channels, height, width), 0…255, for any n, and give features "
    "(n, dimensions), or features and logits (n, classes), in float32"
)


@dataclass(frozen=True)
class NamedFile:
    """What ``--extractor`` says: ``NAME=FILE``, or ``NAME@SHA256=FILE``.

    Attributes:
        name: By which suites call it.
        path: Of the file.
        sha256: What it must hash to, at least the first 8 digits; empty for anything.
    """

    name: str
    path: Path
    sha256: str = ""

    @classmethod
    def read(cls, argument: str) -> Self:
        """Read an argument.

        Raises:
            GanbenchError: if it is none, or the file is of another kind.
        """
        called, equals, path = argument.partition("=")
        name, at, digest = called.partition("@")
        if not equals or not path or not re.fullmatch(NAME_PATTERN, name):
            raise GanbenchError(
                f"--extractor {argument}: write NAME=FILE, such as mine=net.pt2; a name has lower-"
                "case letters, digits, dots, dashes and underscores"
            )
        if at and not re.fullmatch(PINNED, digest):
            raise GanbenchError(
                f"--extractor {argument}: after @ come 8 to 64 digits of the file's SHA-256"
            )
        if Path(path).suffix not in SUFFIXES:
            raise GanbenchError(
                f"--extractor {argument}: the file must end with {' or '.join(SUFFIXES)} "
                "(torch.export.save or TorchScript); what needs Python comes by --plugin"
            )
        return cls(name, Path(path).expanduser(), digest)


class Exported(nn.Module):
    """A loaded network, held so that nothing can put it into training mode.

    Args:
        network: Returns features, or features and logits.
    """

    def __init__(self, network: Any) -> None:
        super().__init__()
        self._held = (network,)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Map uint8 images ``(n, channels, height, width)`` to features and logits, if any."""
        output = self._held[0](images)
        if isinstance(output, Tensor):
            return output, output.new_empty(len(output), 0)
        features, logits = output
        return features, logits

    def tensors(self) -> list[Tensor]:
        """Copy all its weights and buffers."""
        return [value.detach().clone() for value in self._held[0].state_dict().values()]


class FileExtractor(Extractor):
    """A network in a file that the command line names."""

    path: ClassVar[Path]
    digest: ClassVar[str]
    _tried: ClassVar[dict[tuple[int, ...], bool]]

    @classmethod
    def weights_sha256(cls) -> str:
        """Return the hash of the file when it was named."""
        return cls.digest

    @classmethod
    def require(cls, root: Path | None = None) -> None:
        """Check that the file is there, and still the same."""
        read_verified(cls.path, cls.digest, CHANGED)

    @classmethod
    def load(cls, device: torch.device, root: Path | None = None) -> Self:
        """Load the network, if the file is still the one that was named."""
        data = read_verified(cls.path, cls.digest, CHANGED)
        return cls(Exported(load_network(cls.path, data, device)).eval(), device, cls.digest)

    @classmethod
    def try_on(cls, shape: tuple[int, ...]) -> None:
        """Look at a few images of a shape, and check all that an extractor must be."""
        if shape not in cls._tried:
            cls._tried[shape] = try_network(cls.path, cls.load(torch.device("cpu")), shape)
        cls.has_classes = cls._tried[shape]


def register_file(argument: str) -> str:
    """Make an extractor of a file that ``--extractor`` names; the file is hashed, not loaded.

    Returns:
        The argument with the whole hash and the whole path, for jobs and for repeating it.

    Raises:
        GanbenchError: if the argument is malformed, the name is taken, or the file is absent or
            has another hash.
    """
    named = NamedFile.read(argument)
    known = extractors.names()
    if named.name in known and not issubclass(extractors.get(named.name), FileExtractor):
        raise GanbenchError(f"--extractor {argument}: {named.name!r} is taken; choose another name")
    path = named.path.resolve()
    try:
        actual = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise DataError(
            f"--extractor {argument}: cannot read {path} ({error.strerror}); a path begins at the "
            "working directory"
        ) from error
    if not actual.startswith(named.sha256):
        raise DataError(f"--extractor {argument}: {path} has sha256 {actual}; {CHANGED}")
    made = type(
        "NamedExtractor",
        (FileExtractor,),
        {
            "__doc__": f"The network in {path.name}.",
            "__module__": __name__,
            "path": path,
            "digest": actual,
            "_tried": {},
        },
    )
    extractors.register(named.name, source=f"--extractor {named.name}={named.path}")(made)
    return f"{named.name}@{actual}={path}"


def load_network(path: Path, data: bytes, device: torch.device) -> Any:
    """Load what ``torch.export.save`` or ``torch.jit.save`` wrote.

    Raises:
        DataError: if it is neither.
    """
    try:
        if not zipfile.is_zipfile(io.BytesIO(data)):
            raise ValueError("not an archive of PyTorch's")
        if path.suffix == ".pt2":
            program = torch.export.load(io.BytesIO(data))
            if device.type != "cpu":
                from torch.export.passes import move_to_device_pass

                program = move_to_device_pass(program, device)
            return program.module()
        with warnings.catch_warnings():
            jit: Any = torch.jit
            warnings.filterwarnings("ignore", message=".*torch.jit.*is deprecated")
            script = jit.load(io.BytesIO(data), map_location=device)
    except Exception as error:  # of many kinds, by what the file is
        raise DataError(
            f"{path} is no network that PyTorch {torch.__version__} can load "
            f"({first_line(error)}); write it by torch.export.save as .pt2, or by torch.jit.save "
            "as .pt"
        ) from error
    if any(module.training for module in script.modules()):
        raise DataError(f"{path} is in training mode; call .eval() before it is exported")
    return script


def try_network(path: Path, extractor: Extractor, shape: tuple[int, ...]) -> bool:
    """Check a network on random images; return whether it gives logits.

    Raises:
        DataError: saying what is wrong with it.
    """
    draws = torch.Generator().manual_seed(0)
    images = torch.randint(256, (TRIED, *shape), generator=draws, dtype=torch.uint8)
    size = "×".join(map(str, shape))

    def refuse(what: str, remedy: str = REMEDY) -> DataError:
        return DataError(f"{path}, tried on {size} images, {what}; {remedy}")

    def look(some: Tensor) -> tuple[Tensor, ...]:
        with torch.no_grad():
            outputs: tuple[Tensor, Tensor] = extractor.network(some)
        return outputs

    network = extractor.network
    assert isinstance(network, Exported)  # noqa: S101 - made by load
    before = network.tensors()
    try:
        whole, again = look(images), look(images)
        parts = [look(images[:1]), look(images[1:])]
    except Exception as error:  # of many kinds, by what the network does
        raise refuse(f"fails ({first_line(error)})") from error
    for name, output in zip(("features", "logits"), whole, strict=True):
        if output.ndim != 2 or len(output) != TRIED:
            raise refuse(f"gives {name} of the shape {tuple(output.shape)} for {TRIED} images")
        if output.dtype not in (torch.float32, torch.float64):
            raise refuse(f"gives {name} in {str(output.dtype).removeprefix('torch.')}")
        if not bool(output.isfinite().all()):
            raise refuse(f"gives {name} that are not finite")
    features, logits = whole
    if not features.shape[1]:
        raise refuse("gives no features")
    evaluating = "call .eval() before it is exported"
    for first, second, *cut in zip(whole, again, *parts, strict=True):
        joined = torch.cat(cut)
        apart = (joined - first).abs().amax() if first.numel() else torch.zeros(())
        if not torch.equal(first, second):
            raise refuse("gives other features the second time, as dropout does", evaluating)
        if first.numel() and bool(apart > ROUNDING * first.abs().amax()):
            raise refuse(
                "gives an image other features beside others, as batch normalisation does in "
                "training mode",
                evaluating,
            )
    if not all(map(torch.equal, before, network.tensors())):
        raise refuse("changes its own buffers when it looks at images", evaluating)
    return logits.shape[1] > 0


def first_line(error: BaseException) -> str:
    """Say in one line what an exception says."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 200 else f"{text[:199]}…"


def refuse_path(extractor: str) -> None:
    """Refuse a file where an extractor's name belongs.

    Raises:
        GanbenchError: saying how the command line names it.
    """
    if "/" in extractor or Path(extractor).suffix in (*SUFFIXES, ".pth", ".py"):
        name = re.sub(r"[^a-z0-9_.-]", "-", Path(extractor).stem.lower()).lstrip("._-") or "mine"
        raise GanbenchError(
            f"a suite loads no code, so {extractor!r} is no extractor: write `extractor: {name}`, "
            f"and name the file on the command line, --extractor {name}={extractor}"
        )
