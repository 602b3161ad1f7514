"""Finds variants, tricks, networks, data sets and metrics by being there: one file adds one."""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import pkgutil
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from harness.errors import GanbenchError, UnknownNameError
from harness.store.code import PartCode, code_of, is_foreign, sources_of


@dataclass(frozen=True)
class Kind:
    """A kind of thing that is found by being there.

    Attributes:
        name: Singular noun, such as ``variant``.
        home: Module that holds the kind's registry, under the plural.
        package: Package whose modules register themselves when imported.
    """

    name: str
    home: str
    package: str

    @property
    def plural(self) -> str:
        """What the registry, and the group of entry points, is called."""
        return f"{self.name}s"

    @property
    def registry(self) -> Registry[Any]:
        """The registry itself; importing it loads what it needs."""
        registry: Registry[Any] = getattr(importlib.import_module(self.home), self.plural)
        return registry


KINDS = {
    kind.name: kind
    for kind in (
        Kind("variant", "harness.parts", "harness.variants"),
        Kind("trick", "harness.parts", "harness.tricks"),
        Kind("dataset", "harness.datasets.base", "harness.datasets"),
        Kind("network", "harness.networks.base", "harness.networks"),
        Kind("metric", "harness.metrics.base", "harness.metrics"),
        Kind("probe", "harness.metrics.probes.base", "harness.metrics.probes"),
        Kind("extractor", "harness.metrics.extractors.base", "harness.metrics.extractors"),
    )
}
"""All kinds by name; whoever needs a list of them takes this one."""


class Registered(Protocol):
    """What registration writes onto a class."""

    id: ClassVar[str]
    summary: ClassVar[str]
    source: ClassVar[str]


T = TypeVar("T", bound=Registered)


def nearest(name: str, names: list[str]) -> str:
    """Phrase a suggestion, such as `` (did you mean 'wgan-gp'?)``, or nothing."""
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    return f" (did you mean {close[0]!r}?)" if close else ""


def others(kind: str) -> str:
    """Say how to see what there is of a kind, and how to add to it."""
    return (
        f"`ganbench list {kind}s` shows what there is; for one of your own, give the file that "
        "registers it with --plugin"
    )


class Registry(Generic[T]):
    """The classes of one kind, found in one package, in entry points and in plugins.

    Args:
        kind: Name of the kind, one of :data:`KINDS`.
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._classes: dict[str, type[T]] = {}
        self._foreign: dict[str, PartCode] = {}
        self._discovered = False

    def register(self, name: str, *, source: str) -> Callable[[type[T]], type[T]]:
        """Register a class under an id; its docstring's first line becomes its summary.

        Args:
            name: Id by which suites call it.
            source: Paper and equation, or where else the definition comes from.

        Raises:
            GanbenchError: if the id is malformed or taken, or the class has no docstring.
        """
        from harness.spec import NAME_PATTERN  # whose pydantic a list of kinds need not load

        def add(cls: type[T]) -> type[T]:
            if not re.fullmatch(NAME_PATTERN, name):
                raise GanbenchError(f"{self.kind} id {name!r} does not match {NAME_PATTERN}")
            known = self._classes.get(name)
            if known is not None and known.__module__ != cls.__module__:
                raise GanbenchError(
                    f"{self.kind} {name!r} is defined in {known.__module__} and {cls.__module__}"
                )
            if not cls.__doc__:
                raise GanbenchError(f"{self.kind} {name!r} needs a docstring")
            cls.id = name
            cls.source = source
            cls.summary = cls.__doc__.strip().splitlines()[0].rstrip(".")
            self._classes[name] = cls
            if is_foreign(cls):
                # Now, while the files are what is being imported.
                self._foreign[name] = PartCode(self.kind, name, code_of(cls))
            return cls

        return add

    def names(self) -> list[str]:
        """List all ids, sorted."""
        self._discover()
        return sorted(self._classes)

    def get(self, name: str) -> type[T]:
        """Return the class registered under an id.

        Raises:
            UnknownNameError: if there is none; the message suggests the nearest.
        """
        self._discover()
        if name not in self._classes:
            raise UnknownNameError(
                f"unknown {self.kind} {name!r}{nearest(name, self.names())}; {others(self.kind)}"
            )
        return self._classes[name]

    def of_module(self, module: str) -> list[str]:
        """List the ids of what a module, or one within it, has registered, sorted."""
        return [
            name
            for name, cls in sorted(self._classes.items())
            if cls.__module__ == module or cls.__module__.startswith(f"{module}.")
        ]

    def foreign(self) -> dict[str, PartCode]:
        """Return the code of all that plugins and other packages have registered, by id."""
        self._discover()
        return self._foreign

    def __iter__(self) -> Iterator[type[T]]:
        """Iterate over all classes in the order of their ids."""
        return iter([self.get(name) for name in self.names()])

    def _discover(self) -> None:
        if self._discovered:
            return
        self._discovered = True
        kind = KINDS[self.kind]
        package = importlib.import_module(kind.package)
        for module in sorted(m.name for m in pkgutil.iter_modules(package.__path__)):
            importlib.import_module(f"{kind.package}.{module}")
        for module in installed_plugins(kind):
            load_plugin(module)


def installed_plugins(kind: Kind) -> list[str]:
    """Name the modules by which installed packages register parts of a kind."""
    from importlib.metadata import entry_points  # which --help need not wait for

    return [point.module for point in entry_points(group=f"ganbench.{kind.plural}")]


def any_installed() -> bool:
    """Say whether any installed package registers parts."""
    from importlib.metadata import entry_points

    return not {f"ganbench.{kind.plural}" for kind in KINDS.values()}.isdisjoint(
        entry_points().groups
    )


_sources: dict[str, dict[str, str]] = {}
"""What the files of each plugin held when it was loaded, by its module's name."""


def load_plugin(module: str) -> Any:
    """Import a plugin, which registers what it defines.

    Args:
        module: Name of a module, looked for in the working directory too, or path of a file,
            which finds what lies beside it.

    Raises:
        GanbenchError: naming the plugin, if its import fails for any reason.
    """
    importlib.import_module("harness.parts")  # which knows the names that modules had in 0.1.0
    if module.endswith(".py") and not Path(module).is_file():
        raise GanbenchError(f"plugin {module!r}: no such file")
    try:
        if module.endswith(".py"):
            return _load_file(Path(module))
        find_in(Path.cwd())
        return importlib.import_module(module)
    except (Exception, SystemExit) as error:
        raise GanbenchError(f"plugin {module!r} failed on import: {error!r}") from error


def find_in(folder: Path) -> None:
    """Let modules of a folder be found, before any of the same name elsewhere."""
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))


def _load_file(path: Path) -> Any:
    """Import a file once, under its own name."""
    name, path = path.stem, path.resolve()
    if name in sys.modules:
        loaded = sys.modules[name]
        there = getattr(loaded, "__file__", None)
        if there is None or Path(there).resolve() != path:
            raise ImportError(
                f"another module of the name {name!r} is loaded, {there or 'without a file'}; "
                "give the plugin's file another name"
            )
        if _sources.get(name, now := sources_of(path)) != now:
            # In a notebook, whose jobs would import the new one.
            raise ImportError(
                f"{path} has changed since it was imported; restart Python, or the notebook's "
                "kernel, to use it as it is now"
            )
        return loaded
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None or not path.is_file():
        raise FileNotFoundError(str(path))
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    _sources[name] = sources_of(path)
    find_in(path.parent)
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
