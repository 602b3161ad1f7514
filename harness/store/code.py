"""Names code from elsewhere by its content, so that other code under the same id is noticed.

A plugin's id stands for its file, and for what that imports from beside it. Files are hashed as
bytes, comments and all: that is the same for every Python, and nobody has to trust that a change
was of no matter. Nothing is executed: imports are read from the source, also those in functions.
What a plugin takes from installed packages, from files that it opens or from modules that it names
only when it runs is no part of it.
"""

from __future__ import annotations

import ast
import hashlib
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib.machinery import all_suffixes
from pathlib import Path
from typing import Literal

from harness.store.fields import Text

OWN = tuple(Path(__file__).parents[2] / name for name in ("harness", "reports", "suites"))
"""Packages of ganbench itself, whose version names them."""
INSTALLED = frozenset({"site-packages", "dist-packages"})
"""Folders of installed packages."""
UNKNOWN = "unknown"
"""What code is called whose source cannot be read."""
DIGITS = 12
Answer = Literal["refuse", "retrain", "accept"]
"""What is to become of runs that other code of the same name has trained."""


@dataclass(frozen=True)
class PartCode:
    """The code of a part that is not ganbench's own.

    Attributes:
        kind: Such as ``variant``.
        id: Of the part.
        sources: SHA-256 of every file that makes it what it is, by its path from the plugin's own
            folder; empty where the source cannot be read.
        accepted: Names of other code whose results were taken as this one's.
    """

    kind: str
    id: str
    sources: Mapping[Text, str]
    accepted: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """A hash of all files, or :data:`UNKNOWN`."""
        if not self.sources:
            return UNKNOWN
        lines = "".join(f"{path}\0{digest}\n" for path, digest in sorted(self.sources.items()))
        return hashlib.sha256(lines.encode(errors="surrogateescape")).hexdigest()[:DIGITS]

    @property
    def part(self) -> str:
        """Kind and id, as sentences have them."""
        return f"{self.kind} {self.id!r}"

    def stands_for(self, other: PartCode) -> bool:
        """Whether results of other code are taken for this one's: it is the same, or accepted.

        What cannot be read cannot be told apart.
        """
        return other.name in (self.name, *self.accepted) or UNKNOWN in (self.name, other.name)


def still_accepted(code: Iterable[PartCode], before: Iterable[PartCode]) -> tuple[PartCode, ...]:
    """Give parts what was accepted before as their code; after a change that is nothing."""
    known = {(part.kind, part.id): part for part in before}
    kept = []
    for part in code:
        old = known.get((part.kind, part.id))
        if old is not None and part.name in (old.name, *old.accepted):
            names = {old.name, *old.accepted} - {part.name}
            part = replace(part, accepted=tuple(sorted(names)))
        kept.append(part)
    return tuple(kept)


def is_foreign(cls: type) -> bool:
    """Say whether a class is defined outside ganbench."""
    return cls.__module__.partition(".")[0] != "harness"


def code_of(cls: type) -> dict[str, str]:
    """Hash the files that make a class what it is; nothing where its source cannot be read."""
    file = getattr(sys.modules.get(cls.__module__), "__file__", None)
    return sources_of(Path(file), cls.__module__) if file else {}


def sources_of(file: Path, module: str | None = None) -> dict[str, str]:
    """Hash a plugin's file and what it imports from its own folder, from there in turn, and so on.

    Args:
        file: Of the plugin.
        module: Its name where it is part of a package, such as ``mygans.losses``.

    Returns:
        SHA-256 by path from the folder of the plugin, or of its outermost package; empty if the
        file cannot be read.
    """
    file = file.resolve()
    parts = (module or file.stem).split(".")
    stem = file.parent if file.stem == "__init__" else file.with_suffix("")
    packaged = stem.parts[-len(parts) :] == tuple(parts)
    root = stem.parents[len(parts) - 1] if packaged else file.parent
    # Of installed packages, others are no part of this one.
    scope = root / parts[0] if root.name in INSTALLED else root
    found: dict[str, str] = {}
    names = {".".join(parts)}
    waiting = [file, *beside(".".join(parts), root, scope)]
    while waiting:
        path = waiting.pop()
        place = path.relative_to(root).as_posix()
        if place in found:
            continue
        try:
            content = path.read_bytes()
        except OSError:
            if path == file:
                return {}
            continue
        found[place] = hashlib.sha256(content).hexdigest()
        package = ".".join(path.relative_to(root).parent.parts)
        for name in imported(content, package) if path.suffix == ".py" else ():
            if name not in names:
                names.add(name)
                waiting += beside(name, root, scope)
    return dict(sorted(found.items()))


@lru_cache(maxsize=256)
def imported(source: bytes, package: str) -> tuple[str, ...]:
    """List what a source imports, by dotted names; some may be attributes rather than modules.

    Args:
        source: Of a module; one that does not parse imports nothing.
        package: That it belongs to, to which relative imports are relative.
    """
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return ()
    names: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".") if package else []
            if node.level > len(parents):
                continue  # it leads out of the package, and fails
            base = parents[: len(parents) + 1 - node.level] if node.level else []
            base += node.module.split(".") if node.module else []
            names += [".".join((*base, alias.name)) for alias in node.names]
    return tuple(dict.fromkeys(names))


def beside(name: str, root: Path, scope: Path) -> Iterator[Path]:
    """Find the files below a folder that run when a name is imported: packages, then the module.

    Args:
        name: Dotted; what it ends with may be no module.
        root: Where plugins of this folder begin to look; a name may also start further up.
        scope: Files elsewhere than here are no part of the plugin.
    """
    parts = name.split(".")
    for up, place in enumerate((root, *root.parents)):
        if tuple(parts[:up]) != root.parts[len(root.parts) - up :]:
            continue  # nothing that is called so lies below the root
        for length in range(max(1, up), len(parts) + 1):
            stem = place.joinpath(*parts[:length])
            for suffix in all_suffixes():
                for file in (stem / f"__init__{suffix}", Path(f"{stem}{suffix}")):
                    if file.is_file() and is_part(file, scope):
                        yield file
            if not stem.is_dir():
                break


def is_part(file: Path, scope: Path) -> bool:
    """Say whether a file is a plugin's own: neither installed beside it nor ganbench's."""
    return (
        file.is_relative_to(scope)
        and INSTALLED.isdisjoint(file.relative_to(scope).parts)
        and not any(file.is_relative_to(own) for own in OWN)
    )
