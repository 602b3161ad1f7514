"""The chapter on cost: what each trick adds, and which cells are worth their seconds."""

from __future__ import annotations

from collections.abc import Sequence

from harness.store.records import NONE, MetricInfo, short_name
from reports.cells import SuiteCells
from reports.cost import Cost, costs_by_cell, front, surcharges
from reports.document import Block, Figure, Section
from reports.figures.cost import Priced, draw_cost
from reports.tables import ARROWS, Column, Table, TableCell, entries, unique_names

LEAD = (
    "Seconds are wall-clock seconds of training, without evaluations. Runs of a cohort train "
    "together, and their time is divided equally among them: a run alone would take longer than "
    "its share. Images per second are those of the whole cohort, and peak memory is that of its "
    "process: on a CPU, with everything that the process holds. What else the machine did at the "
    "time is in the seconds too.",
    "Only cells on the same kind of device with as many threads are compared. There is no interval "
    "here: the runs of a cohort share one measured time, so seeds say nothing of its spread.",
)


def tricks_table(cells: SuiteCells) -> Table:
    """Say what every trick adds to the time of training."""
    charges = surcharges(cells)
    return Table(
        "cost-of-tricks",
        "What each trick costs",
        (
            Column("Trick"),
            Column("Seconds", "ratio", "with the trick over without, geometric mean over cells"),
            Column("Least", "ratio", "of a cell"),
            Column("Most", "ratio", "of a cell"),
            Column("Cells", "count", "that can be compared"),
            Column("Peak memory", "ratio", "with the trick over without, geometric mean"),
        ),
        tuple(
            entries(
                name,
                TableCell(charge.ratio, None, None, charge.runs, "lower"),
                charge.least,
                charge.most,
                charge.cells,
                TableCell(charge.memory, None, None, charge.runs, "lower"),
            )
            for name in cells.treatments
            if (charge := charges.get(name)) is not None
        ),
        "Over cells that trained on the same kind of machine as the same cell without the trick, "
        "with as many runs at once. A trick that is given other settings, such as fewer steps, "
        "has their cost in it.",
        empty="No cell can be compared with the same cell without a trick.",
    )


def cost_row(cost: Cost, metric: MetricInfo | None, *, worth: bool, machine: bool) -> tuple[
    TableCell, ...
]:  # fmt: skip
    """Write one cell's cost as a row."""
    direction, name = (metric.better, metric.name) if metric else ("none", "")
    return entries(
        cost.cell.variant,
        cost.cell.tricks,
        *([cost.machine] if machine else []),
        TableCell(cost.seconds, None, cost.whole, cost.runs, "lower"),
        TableCell(cost.rate, None, len(cost.runs), cost.runs, "higher"),
        cost.together,
        cost.evaluation,
        TableCell(
            None if cost.memory is None else cost.memory / 2**20, None, None, cost.runs, "lower"
        ),
        TableCell(cost.quality, None, len(cost.runs), cost.runs, direction, name),
        f"{cost.failures} of {len(cost.runs)}",
        "yes" if worth else "",
    )


def label_of(cost: Cost) -> str:
    """Name a cell."""
    tricks = cost.cell.tricks
    return cost.cell.variant if tricks == NONE else f"{cost.cell.variant} · {tricks}"


def blocks_of(dataset: str, costs: Sequence[Cost], name: str) -> list[Block]:
    """Draw and tabulate one data set."""
    metric = next((cost.cell.primary for cost in costs if cost.cell.primary), None)
    alike = [c for c in costs if metric is None or (c.cell.primary or metric).name == metric.name]
    lower = metric is None or metric.better == "lower"
    machines = list(dict.fromkeys(cost.machine for cost in alike))
    fronts = {
        m: {id(cost) for cost in front([c for c in alike if c.machine == m], lower=lower)}
        for m in machines
    }
    several = len(machines) > 1
    arrow = ARROWS[metric.better] if metric else ""
    table = Table(
        f"cost-{name}",
        f"{dataset}: cost of every cell",
        (
            Column("Variant"),
            Column("Tricks"),
            *((Column("Machine"),) if several else ()),
            Column("Seconds ↓", "number", "per run, median over runs that trained to the end"),
            Column("Images/s ↑", "number", "or points, that D saw; of the whole cohort"),
            Column("At once", "count", "runs that trained together"),
            Column("Evaluation", "number", "seconds of evaluations per run, median"),
            Column("Peak MiB ↓", "number", "of the whole cohort, the most"),
            Column(f"Median {arrow}".strip(), "number", "primary metric; failed runs rank worst"),
            Column("Failed"),
            Column("Pareto", "text", "no cell is both cheaper and better"),
        ),
        tuple(
            cost_row(c, metric, worth=id(c) in fronts[c.machine], machine=several) for c in alike
        ),
        (f"The metric is {metric.name}. " if metric else "")
        + (f"All on {machines[0]}." if not several else "Cells are compared within a machine."),
        folded=True,
    )
    panels = {
        machine: [
            Priced(label_of(c), c.seconds, c.quality, id(c) in fronts[machine])
            for c in alike
            if c.machine == machine and c.seconds is not None and c.quality is not None
        ]
        for machine in machines
    }
    panels = {machine: cells for machine, cells in panels.items() if cells}
    if metric is None:
        return [table]
    best = [
        label_of(c)
        for machine in machines
        for c in alike
        if c.machine == machine and id(c) in fronts[machine]
    ]
    figure = Figure(
        f"cost-{name}",
        f"{dataset}: {metric.name} {arrow} against seconds".replace("  ", " "),
        f"{sum(map(len, panels.values()))} cells by cost and quality; worth their cost: "
        f"{'; '.join(best) or 'none'}.",
        draw_cost(panels, short_name(metric.name), lower=lower),
        "Every dot is a cell: its median run. Filled dots on the line are cells than which none is "
        "both cheaper and better. Which cells they are has chance in it.",
        empty="No cell has a run that trained to the end.",
    )
    return [figure, table]


def build(cells: SuiteCells) -> Section | None:
    """Make the chapter; None where no run says what it cost."""
    blocks: list[Block] = []
    for dataset, name in zip(cells.datasets, unique_names(cells.datasets), strict=True):
        costs = [cost for cell in cells.of_dataset(dataset) for cost in costs_by_cell(cells)[cell]]
        if costs:
            blocks += blocks_of(dataset, costs, name)
    if not blocks:
        return None
    tricks = tricks_table(cells)
    first = [tricks] if tricks.rows else []
    return Section("cost", "Cost", LEAD, (), (*first, *blocks))
