"""Words, symbols and colours for outcomes, in terminals and in plain logs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from rich.console import Console, OverflowMethod
from rich.table import Table
from rich.text import Text

from harness.store.events import Ending
from harness.store.records import short_name
from harness.tracking.progress import Progress, RunProgress, duration, number

STYLES = {
    "ok": ("✔", "+", "green"),
    "collapsed": ("◐", "o", "yellow"),
    "unlearned": ("○", "u", "yellow"),
    "diverged": ("✖", "x", "red"),
    "oom": ("▲", "m", "magenta"),
    "crashed": ("!", "!", "bold red"),
    "preempted": ("◌", ".", "cyan"),
}
"""Symbol, the same in ASCII, and style; the order is that of all lists."""

ASCII = str.maketrans({"·": "-", "→": ">", "…": "~", "—": "-", "×": "x", "±": "~"})


class Wording:
    """Writes for one console.

    Args:
        console: Decides whether there are symbols beyond ASCII.
    """

    def __init__(self, console: Console) -> None:
        self._encoding = console.encoding
        self.is_ascii = console.options.ascii_only
        # Where text is cut, rich writes an ellipsis whatever the encoding.
        self.overflow: OverflowMethod = "crop" if self.is_ascii else "ellipsis"

    def clean(self, text: str) -> str:
        """Replace what the console's encoding lacks, and control characters."""
        text = "".join(c if c.isprintable() else " " for c in text)
        if self.is_ascii:
            text = text.translate(ASCII)
        return text.encode(self._encoding, "replace").decode(self._encoding)

    def symbol(self, outcome: str) -> str:
        """Return an outcome's sign."""
        return STYLES[outcome][1 if self.is_ascii else 0]

    def label(self, run: RunProgress) -> str:
        """Name a run."""
        planned = run.run.planned
        own = run.run.note or f"s{planned.seed}"
        return self.clean(" · ".join((*planned.labels, own)))

    def change(self, run: RunProgress) -> str:
        """Say what became of the primary metric: ``fd 4.20 → 0.031``."""
        if run.primary is None or run.value is None:
            return ""
        before = f"{number(run.untrained)} → " if run.untrained is not None else ""
        return self.clean(f"{short_name(run.primary)} {before}{number(run.value)}")

    def outcome(self, run: RunProgress) -> Table:
        """Say in one line what became of a run: outcome, label, metric, and why."""
        name = run.outcome.outcome if run.outcome else "preempted"
        style = STYLES[name][2]
        line = Table.grid(padding=(0, 1), expand=True)
        line.add_column(width=11, no_wrap=True)
        line.add_column(ratio=1, no_wrap=True, overflow=self.overflow)
        line.add_column(justify="right", no_wrap=True)
        label = Text(self.label(run))
        why = self.clean(explain(run.outcome)) if run.outcome else ""
        if why:
            label.append(f"  {why}", style)
        line.add_row(
            Text(f"{self.symbol(name)} {name}", style), label, Text(self.change(run), "dim")
        )
        return line

    def counts(self, outcomes: Counter[str]) -> Text:
        """List how many runs had each outcome, in words; zeros left out."""
        names = [name for name in STYLES if outcomes[name] > 0]
        return Text(", ").join(Text(f"{outcomes[n]} {n}", STYLES[n][2]) for n in names)

    def signs(self, outcomes: Counter[str]) -> Text:
        """List the same by signs, for a cell."""
        names = [name for name in STYLES if outcomes[name] > 0]
        return Text(" ").join(Text(f"{outcomes[n]}{self.symbol(n)}", STYLES[n][2]) for n in names)

    def legend(self, outcomes: Counter[str]) -> Text:
        """List the same with both, which explains the signs."""
        names = [name for name in STYLES if outcomes[name] > 0]
        return Text("  ").join(
            Text(f"{self.symbol(n)} {outcomes[n]} {n}", STYLES[n][2]) for n in names
        )

    def remaining(self, progress: Progress) -> str:
        """Say how long it takes, once that can be told."""
        seconds = progress.remaining()
        return "estimating" if seconds is None else f"about {duration(seconds)} left"

    def summary(self, runs: Iterable[RunProgress]) -> Table:
        """Tabulate outcomes: variants × tricks, or data sets where there is one trick.

        What there is more of goes down the page.
        """
        ended = [(run.run.planned, run.outcome) for run in runs if run.outcome is not None]
        by_trick = len({planned.tricks for planned, _ in ended}) > 1
        cells: dict[tuple[str, str], Counter[str]] = {}
        for planned, end in ended:
            other = planned.tricks if by_trick else planned.dataset
            cell = cells.setdefault((other, planned.variant), Counter())
            cell[end.outcome] += 1
        rows = list(dict.fromkeys(row for row, _ in cells))
        columns = list(dict.fromkeys(column for _, column in cells))
        corner = "tricks" if by_trick else "data set"
        if len(columns) > len(rows):
            rows, columns, corner = columns, rows, "variant"
            cells = {(variant, other): cell for (other, variant), cell in cells.items()}
        table = Table(box=None, pad_edge=False, header_style="bold")
        table.add_column(corner, no_wrap=True, overflow="crop")
        for column in columns:
            table.add_column(Text(self.clean(column)), justify="right", overflow="fold")
        for row in rows:
            counters = [cells.get((row, column), Counter()) for column in columns]
            table.add_row(Text(self.clean(row)), *(self.signs(cell) for cell in counters))
        return table


def explain(end: Ending) -> str:
    """Say when and why a run did not end well."""
    if end.outcome == "ok":
        return ""
    if end.outcome == "collapsed":
        return f"at step {end.onset}" if end.onset is not None else end.reason
    if end.outcome == "unlearned":
        return end.reason
    if end.outcome == "preempted" or not end.reason:
        return f"at step {end.step}"
    return f"at step {end.step}: {end.reason}"


def counted(count: int, noun: str) -> str:
    """Write a count with its noun."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
