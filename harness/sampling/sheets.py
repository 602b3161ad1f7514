"""What ``ganbench sample`` shows: a grid, an interpolation, latent arithmetic, a code's sweep."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from harness.datasets.base import dataset_of
from harness.errors import GanbenchError
from harness.sampling.codes import categories_of, parse_classes, parse_code, sweep
from harness.sampling.generator import TrainedGenerator, load_generator
from harness.sampling.latents import parse_arithmetic, slerp, total
from harness.sampling.pictures import Tile, draw_points, draw_sheet
from harness.store.outputs import check_file, write_named

IMAGES, POINTS, LINES, STEPS = 64, 2000, 8, 8
"""How much is drawn where the user does not say."""

Kind = Literal["grid", "plot", "interpolation", "arithmetic", "sweep"]
"""A grid of images; of points a plot takes its place."""

TAKES: dict[Kind, tuple[str, ...]] = {
    "grid": ("--count", "--numbered", "--class"),
    "plot": ("--count", "--class"),
    "interpolation": ("--rows", "--steps", "--class"),
    "arithmetic": ("--class",),
    "sweep": ("--rows", "--steps", "--class"),
}
"""Options of each kind of sheet; another one is refused, never ignored."""


@dataclass(frozen=True)
class Request:
    """What a user asks to see; None and False where nothing is said.

    Attributes:
        seed: Of latents, codes and noise; the run's own if None, which shows the examples of the
            run's own sample grids.
        count: Samples of a grid.
        numbered: Whether the cells of a grid are numbered.
        interpolate: Whether to interpolate.
        arithmetic: An expression on the numbered cells.
        code: The code to sweep.
        classes: Classes, as the user wrote them.
        rows: Rows of an interpolation or a sweep.
        steps: Images in such a row.
    """

    seed: int | None = None
    count: int | None = None
    numbered: bool = False
    interpolate: bool = False
    arithmetic: str | None = None
    code: str | None = None
    classes: str | None = None
    rows: int | None = None
    steps: int | None = None

    def kind(self, shape: tuple[int, ...]) -> Kind:
        """Say what kind of sheet is asked for, for examples of a shape.

        Raises:
            GanbenchError: if several are asked for, or one that the examples do not allow, or an
                option that is not one of the kind's.
        """
        asked: dict[Kind, object] = {
            "interpolation": self.interpolate,
            "arithmetic": self.arithmetic is not None,
            "sweep": self.code is not None,
        }
        kinds = [kind for kind, wanted in asked.items() if wanted]
        if len(kinds) > 1:
            raise GanbenchError("choose one of --interpolate, --arithmetic and --code")
        points = len(shape) == 1
        if points and kinds:
            raise GanbenchError(
                f"no {kinds[0]} here: this run's data are points, which are drawn as one plot"
            )
        kind: Kind = kinds[0] if kinds else "plot" if points else "grid"
        given = {
            "--count": self.count is not None,
            "--numbered": self.numbered,
            "--class": self.classes is not None,
            "--rows": self.rows is not None,
            "--steps": self.steps is not None,
        }
        for option, said in given.items():
            if said and option not in TAKES[kind]:
                raise GanbenchError(
                    f"{option} says nothing about {'an' if kind[0] in 'ai' else 'a'} {kind}, "
                    f"which takes {', '.join(TAKES[kind])}"
                )
        return kind


def sample(path: Path, request: Request, output: Path | None, *, force: bool) -> dict[str, Any]:
    """Draw what is asked for from a run's newest generator and write it as a PNG.

    Args:
        path: The run's folder.
        request: What to show.
        output: Where to write; None for ``KIND.png`` in the working directory.
        force: Whether a file that is there may be replaced.

    Returns:
        What was written: ``run``, ``folder``, ``kind``, ``file``, ``step`` of the checkpoint,
        ``seed``, ``samples``, ``classes`` with their ``class_names`` and the kind's own settings.

    Raises:
        GanbenchError: if the request makes no sense for the run, or the file is there already.
    """
    named = None if output is None else check_file("--output", output, (".png",), force=force)
    G = load_generator(path)
    kind = request.kind(G.shape)
    file = named or check_file("--output", Path(f"{kind}.png"), (".png",), force=force)
    seed = G.spec.random_seed if request.seed is None else request.seed
    classes = None
    if request.classes is not None:
        variant = G.spec.variant.id
        classes = parse_classes(request.classes, G.condition, variant, G.class_names)
    sheet = Sheet(G, seed, classes)
    if request.arithmetic is not None:
        data, details = sheet.arithmetic(request.arithmetic)
    elif request.code is not None:
        code = parse_code(request.code, G.condition, G.spec.variant.id)
        data, details = sheet.sweep(code, request.rows, request.steps)
    elif request.interpolate:
        data, details = sheet.interpolation(request.rows, request.steps or STEPS)
    elif kind == "plot":
        data, details = sheet.plot(request.count or POINTS)
    else:
        data, details = sheet.grid(request.count, numbered=request.numbered)
    write_named(file, data)
    return {
        "run": G.spec.id,
        "folder": str(path),
        "kind": kind,
        "file": str(file),
        "step": G.step,
        "seed": seed,
        "classes": classes,
        **({} if classes is None else {"class_names": [G.class_name(k) for k in classes]}),
        **details,
    }


Drawn = tuple[bytes, dict[str, Any]]
"""A PNG, and what a program may want to know of it."""


@dataclass(frozen=True)
class Sheet:
    """One generator's pictures.

    Attributes:
        G: The generator.
        seed: Of latents, codes and noise.
        classes: Classes to show; None draws them, where the generator is conditional on one.
    """

    G: TrainedGenerator
    seed: int
    classes: list[int] | None

    def inputs(self, count: int) -> tuple[Tensor, Tensor | None]:
        """Draw z and y of a grid's first cells, of the one class if one is chosen."""
        z, y = self.G.inputs(self.seed, count)
        if y is not None and self.classes is not None and len(self.classes) == 1:
            y = self.G.condition.chosen(y, label=self.classes[0])
        return z, y

    def of_classes(self, count: int) -> list[Tensor]:
        """Generate from the same latents and codes for every chosen class, ``count`` each."""
        z, y = self.inputs(count)
        if y is None or self.classes is None:
            return [self.G(z, y, seed=self.seed)]
        return [
            self.G(z, self.G.condition.chosen(y, label=k), seed=self.seed) for k in self.classes
        ]

    def plot(self, count: int) -> Drawn:
        """Plot points, each class in a colour of its own."""
        made = self.of_classes(-(-count // len(self.classes or [0])))
        labels = [f"class {self.G.class_name(k)}" for k in self.classes or []] or [""]
        groups = {
            label: points.double().numpy() for label, points in zip(labels, made, strict=True)
        }
        if self.G.shape not in ((1,), (2,)):
            raise GanbenchError(f"points of {self.G.shape[0]} dimensions cannot be drawn")
        dataset = dataset_of(self.G.spec)
        modes = getattr(dataset, "modes", None) if self.G.shape == (2,) else None
        drawn = sum(map(len, made))
        variant = self.G.spec.variant.id
        title = f"{drawn:,} samples of {variant} on {dataset.id}, step {self.G.step:,}"
        return draw_points(groups, title, modes), {"samples": drawn}

    def grid(self, count: int | None, *, numbered: bool) -> Drawn:
        """Tile samples as squarely as their number allows; several classes get a row each."""
        if self.classes is not None and len(self.classes) > 1:
            if numbered:
                raise GanbenchError(
                    "--numbered cells are of one class, for arithmetic within it; give one --class"
                )
            columns = -(-(count or LINES * len(self.classes)) // len(self.classes))
            rows = [[Tile(image) for image in made] for made in self.of_classes(columns)]
            sheet = draw_sheet(rows, [self.G.class_name(k) for k in self.classes])
            return sheet, {"samples": columns * len(rows)}
        count = count or IMAGES
        (images,) = self.of_classes(count)
        cells = [
            Tile(image, str(number) if numbered else "")
            for number, image in enumerate(images, start=1)
        ]
        columns = math.ceil(math.sqrt(count))
        rows = [cells[start : start + columns] for start in range(0, count, columns)]
        return draw_sheet(rows), {"samples": count}

    def interpolation(self, rows: int | None, steps: int) -> Drawn:
        """Go from one latent to another along each row; several classes get a row each."""
        several = self.classes if self.classes is not None and len(self.classes) > 1 else None
        if several and rows is not None and rows != len(several):
            raise GanbenchError(
                f"--rows {rows} does not go with {len(several)} classes, which get a row each"
            )
        count = len(several) if several else rows or LINES
        z, y = self.inputs(2 * count)
        if y is not None:
            y = y[:count]
            if several:
                y = torch.cat(
                    [self.G.condition.chosen(y[[i]], label=k) for i, k in enumerate(several)]
                )
            y = y.repeat_interleave(steps, dim=0)
        path = slerp(z[::2], z[1::2], steps).flatten(0, 1)
        places = (2 * torch.arange(count)).repeat_interleave(steps)
        made = self.G(path, y, seed=self.seed, places=places)
        images = made.reshape(count, steps, *self.G.shape)
        labels = [self.G.class_name(k) for k in several or ()]
        sheet = draw_sheet([[Tile(image) for image in row] for row in images], labels)
        return sheet, {"samples": count * steps, "rows": count, "steps": steps}

    def sweep(self, code: str, rows: int | None, steps: int | None) -> Drawn:
        """Vary one code along each row, the rest of the generator's input held."""
        categories = categories_of(code, self.G.condition)
        if categories is not None and steps is not None:
            raise GanbenchError(
                f"--steps: {code} has {categories} categories, and each gets a column"
            )
        count, steps = rows or LINES, categories or steps or STEPS
        z, y = self.inputs(count)
        if y is None:
            raise AssertionError("a code is a part of y")
        swept, values = sweep(y, code, steps, self.G.condition)
        rows_of = torch.arange(count).repeat_interleave(steps)
        made = self.G(z[rows_of], swept.flatten(0, 1), seed=self.seed, places=rows_of)
        images = made.reshape(count, steps, *self.G.shape)
        cells = [
            [Tile(image, "" if i else value) for image, value in zip(row, values, strict=True)]
            for i, row in enumerate(images)
        ]
        details = {"samples": count * steps, "code": code, "values": values}
        return draw_sheet(cells), details

    def arithmetic(self, expression: str) -> Drawn:
        """Show each operand, under it what it averages, and what the sum of latents looks like.

        A class stays what it is; codes are a part of the latent input and are summed with z. Of
        several generators, an operand's first cell says which makes the mean, and the first
        operand's which makes the result.
        """
        terms = parse_arithmetic(expression)
        if self.G.condition.classes and (self.classes is None or len(self.classes) != 1):
            raise GanbenchError("--arithmetic within a class: say which one with --class")
        z, y = self.inputs(max(number for term in terms for number in term.cells))
        cells = self.G(z, y, seed=self.seed)
        sums = torch.stack([*(term.value(z) for term in terms), total(terms, z)])
        sums_y = None
        if y is not None:
            sums_y = torch.stack([*(term.value(y) for term in terms), total(terms, y)])
            if self.classes is not None:
                sums_y = self.G.condition.chosen(sums_y, label=self.classes[0])
        places = torch.tensor([*(t.cells[0] - 1 for t in terms), terms[0].cells[0] - 1])
        made = self.G(sums, sums_y, seed=self.seed, places=places, stream="arithmetic")
        top: list[Tile] = []
        for term, image in zip(terms, made, strict=False):
            if top or term.sign < 0:
                top.append(Tile(sign="+" if term.sign > 0 else "−"))
            alone = len(term.cells) == 1
            number = term.cells[0] - 1
            top.append(Tile(cells[number], str(term.cells[0])) if alone else Tile(image, "mean"))
        result = [Tile(sign="="), Tile(made[-1], "result")]
        rows = [[*top, *result]]
        operands = [i for i, cell in enumerate(top) if cell.image is not None]
        for depth in range(max((len(t.cells) for t in terms if len(t.cells) > 1), default=0)):
            row = [Tile()] * len(top)
            for place, term in zip(operands, terms, strict=True):
                if len(term.cells) > max(1, depth):
                    number = term.cells[depth]
                    row[place] = Tile(cells[number - 1], str(number))
            rows.append(row)
        return draw_sheet(rows), {"samples": 1, "expression": expression}
