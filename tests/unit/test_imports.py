"""Proves that imports point one way: every module has its layer and looks only down."""

import ast
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("harness", "reports", "suites")

LAYERS = [
    ["harness.cli"],
    ["harness.commands", "harness.finished"],
    ["harness.doctor"],
    ["harness.catalog", "harness.data"],
    ["harness.tuning"],
    ["harness.suite"],
    ["harness.bench", "harness.calibration"],
    ["harness.engines"],
    ["harness.tracking"],
    ["harness.job harness.course", "harness.sampling", "harness.testing"],
    ["harness.plan harness.curves", "harness.outcomes", "harness.samples", "harness.environment"],
    ["harness.training"],
    ["harness.tricks"],
    ["harness.variants"],
    ["harness.augmentations", "harness.penalties", "harness.parts harness.protocols"],
    ["harness.metrics", "harness.networks", "harness.conditions"],
    ["harness.datasets"],
    ["harness.store"],
    ["harness.registry", "harness.precision"],
    ["harness.spec", "harness.failpoints"],
    ["harness.errors", "harness.version"],
]
"""From top to bottom. The units of a layer do not know each other; the modules of a unit may."""

REPORTS_MAY_IMPORT = ("harness.store", "harness.spec", "harness.errors", "harness.version")
MAY_IMPORT_REPORTS = ("harness.cli",)
VAGUE = {"util", "utils", "helper", "helpers", "misc", "common", "stuff", "tools"}


def belongs(module: str, prefix: str) -> bool:
    return module == prefix or module.startswith(f"{prefix}.")


@cache
def modules() -> dict[str, Path]:
    """Find every module of the program, by name."""
    found = {}
    for package in PACKAGES:
        for file in (ROOT / package).rglob("*.py"):
            parts = file.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    return found


def unit_of(module: str) -> tuple[int, str] | None:
    """Return a module's layer, counted from the top, and its unit."""
    for depth, layer in enumerate(LAYERS):
        for unit in layer:
            if any(belongs(module, prefix) for prefix in unit.split()):
                return depth, unit
    return None


def executed(tree: ast.AST) -> Iterator[ast.AST]:
    """Walk what can run: everything, functions included, but what only type checkers read."""
    if isinstance(tree, ast.If) and "TYPE_CHECKING" in ast.unparse(tree.test):
        for node in tree.orelse:
            yield from executed(node)
        return
    yield tree
    for child in ast.iter_child_nodes(tree):
        yield from executed(child)


def imported(source: str, known: frozenset[str]) -> set[str]:
    """Name the project's modules that a source imports anywhere."""
    found = set()
    for node in executed(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: a relative import"
            # What is imported from a package may be a module of it, or something it defines.
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            names = [name if name in known else str(node.module) for name in names]
        else:
            continue
        found |= {name for name in names if name.partition(".")[0] in PACKAGES}
    return found


@cache
def imports(module: str) -> frozenset[str]:
    found = imported(modules()[module].read_text(), frozenset(modules()))
    return frozenset(found - {module})


@pytest.mark.parametrize("module", modules())
def test_every_module_has_a_layer(module: str) -> None:
    assert module in PACKAGES or belongs(module, "reports") or unit_of(module) is not None, (
        f"{module} belongs to no layer; give it one in {Path(__file__).name}"
    )


@pytest.mark.parametrize("unit", [unit for layer in LAYERS for unit in layer])
def test_every_layer_has_its_modules(unit: str) -> None:
    for prefix in unit.split():
        assert prefix in modules()


@pytest.mark.parametrize("module", modules())
def test_imports_point_down(module: str) -> None:
    place = unit_of(module)
    for target in imports(module):
        assert target in modules(), f"{module} imports {target}, which does not exist"
        below = unit_of(target)
        if place is None or below is None:
            continue
        assert below[0] > place[0] or below[1] == place[1], f"{module} imports {target}"


@pytest.mark.parametrize("module", [m for m in modules() if belongs(m, "reports")])
def test_reports_know_the_store_and_nothing_of_training(module: str) -> None:
    for target in imports(module):
        assert belongs(target, "reports") or any(belongs(target, p) for p in REPORTS_MAY_IMPORT), (
            f"{module} imports {target}"
        )


@pytest.mark.parametrize("module", [m for m in modules() if not belongs(m, "reports")])
def test_only_the_command_line_knows_the_reports(module: str) -> None:
    knows = any(belongs(target, "reports") for target in imports(module))
    assert not knows or module in MAY_IMPORT_REPORTS


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_knows_only_its_version(package: str) -> None:
    assert imports(package) <= {"harness.version"}


def test_no_module_imports_itself_by_way_of_others() -> None:
    done: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, " → ".join((*path[path.index(module) :], module))
        if module in done:
            return
        for target in sorted(imports(module)):
            visit(target, (*path, module))
        done.add(module)

    for module in modules():
        visit(module, ())


def test_no_name_is_vague() -> None:
    for folder in (*PACKAGES, "tests"):
        for file in (ROOT / folder).rglob("*.py"):
            assert not {*file.relative_to(ROOT).with_suffix("").parts} & VAGUE, file


class TestReader:
    """The reading of imports, without which nothing above would mean anything."""

    known = frozenset({"harness", "harness.spec", "harness.job", "reports.build"})

    @pytest.mark.parametrize(
        ("source", "found"),
        [
            ("import harness.spec", {"harness.spec"}),
            ("import harness.spec as s, json", {"harness.spec"}),
            ("from harness import spec", {"harness.spec"}),
            ("from harness.spec import RunSpec, Settings", {"harness.spec"}),
            ("from harness import VERSION", {"harness"}),
            ("def f():\n    from reports.build import build", {"reports.build"}),
            ("class A:\n    def f(self):\n        import harness.job", {"harness.job"}),
            ("try:\n    import harness.job\nexcept ImportError:\n    pass", {"harness.job"}),
            ("if TYPE_CHECKING:\n    import harness.job", set()),
            ("if t.TYPE_CHECKING:\n    import harness.job\nimport harness.spec", {"harness.spec"}),
            ("if TYPE_CHECKING:\n    pass\nelse:\n    import harness.job", {"harness.job"}),
            ("import torch, harnessed", set()),
        ],
    )  # fmt: skip
    def test_what_counts(self, source: str, found: set[str]) -> None:
        assert imported(source, self.known) == found

    def test_relative_imports_are_refused(self) -> None:
        with pytest.raises(AssertionError, match="relative"):
            imported("from . import spec", self.known)

    def test_layers(self) -> None:
        assert unit_of("harness.nowhere") is None
        assert unit_of("harness.suites") is None
        depths = [
            unit_of(name)
            for name in ("harness.cli", "harness.job", "harness.training.game", "harness.spec")
        ]
        assert all(depths)
        assert all(a < b for (a, _), (b, _) in pairwise(d for d in depths if d))
