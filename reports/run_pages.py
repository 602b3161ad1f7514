"""Writes a small page for every run that has begun: what it was, what it did, how to repeat it."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from html import escape
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from harness.errors import CorruptRecordError
from harness.spec import RunSpec, Settings
from harness.store.events import Event, read_events
from harness.store.records import MetricInfo, ReportedRun, SuitePlan
from harness.store.wording import provenance_lines
from reports.cells import CellRuns, Result, SuiteCells
from reports.figures.lines import LARGE, SMALL, Line, Numbers, kimg_axis, plot
from reports.figures.samples import GRID
from reports.html import ROOT, policy
from reports.moments import Moments, evenly, moments_of
from reports.run_links import LIST, RunLinks, address
from reports.sections.outcomes import SIGNS
from reports.sections.provenance import command, flatten
from reports.tables import ABSENT, ARROWS, printable, significant

SIGN_OF = {
    "ok": ("✔", "helps", "ended well"),
    "collapsed": ("◐", "hurts", "collapsed"),
    "diverged": ("✖", "hurts", "diverged"),
    "oom": ("▲", "hurts", "out of memory"),
    "crashed": ("!", "hurts", "crashed"),
    "preempted": ("◌", "none", "interrupted"),
    "running": ("…", "none", "in progress"),
    "missing": ("·", "none", "not begun"),
    "corrupt": ("!", "hurts", "unreadable"),
}
"""What to write of a status: a sign, a badge of the page's style, and words."""
TOGETHER = (
    ("d_loss", "g_loss"),
    ("d_real", "d_fake"),
    ("d_accuracy_real", "d_accuracy_fake"),
    ("d_grad_norm", "g_grad_norm"),
    ("d_loss_std", "g_loss_std"),
)
"""Diagnostics that share a plot: what is D's or of real data first."""
MOST_POINTS, MOST_DOTS = 100, 60
"""Points of a line in a plot, and how many of those get a dot each."""
AVERAGED = (("first", "averaged weights"), ("raw", "raw weights"))
KINDS = ("first", "second")
SETTINGS = tuple((name, field.description or "") for name, field in Settings.model_fields.items())
AGAIN = "again"
"""Folder that the command on a page writes to: in its own a finished run would not be repeated."""


@dataclass(frozen=True)
class Happening:
    """One line of a run's history."""

    step: int | None
    what: str
    more: str = ""


def finalize(value: Any) -> Any:
    """Keep foreign text on one line and free of control characters."""
    return printable(value) if type(value) is str and not value.isprintable() else value


def number(value: float | None) -> str:
    """Write a number, also one that is not finite."""
    if value is None:
        return ABSENT
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else "∞" if value > 0 else "−∞"
    return significant(value, 4).replace("-", "−")


def value_text(value: Any) -> str:
    """Write a setting as a suite file would."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def short(metric: str) -> str:
    """Leave out a metric's protocol."""
    return metric.partition("[")[0].partition("@")[0]


class Curve(NamedTuple):
    """A number over training: the finite values, no more than can be seen."""

    kimg: Numbers
    values: Numbers

    @property
    def course(self) -> str:
        """Where it began and where it ended."""
        return f"from {number(float(self.values[0]))} to {number(float(self.values[-1]))}"


class Columns:
    """The numbers of many records of one type, by their names.

    Args:
        events: The records.
        part: Key of the dictionary that holds the numbers.
    """

    def __init__(self, events: Sequence[Event], part: str = "values") -> None:
        rows = [event[part] for event in events if part in event]
        self._kimg = np.array([e["kimg"] for e in events if part in e], dtype=np.float64)
        self.names = list(dict.fromkeys(chain.from_iterable(rows)))
        if all(list(row) == self.names for row in rows):
            table = [list(row.values()) for row in rows]
        else:
            table = [[row.get(name, math.nan) for name in self.names] for row in rows]
        self._columns = dict(zip(self.names, np.array(table, dtype=np.float64).T, strict=False))

    def curve(self, name: str) -> Curve | None:
        """Return one number over training; None if it is never finite."""
        values = self._columns.get(name)
        if values is None:
            return None
        finite, kimg = np.isfinite(values), self._kimg
        if not finite.all():
            kimg, values = kimg[finite], values[finite]
        if len(values) > MOST_POINTS:
            places = evenly(len(values), MOST_POINTS)
            kimg, values = kimg[places], values[places]
        return Curve(kimg, values) if len(values) else None


class History:
    """The records of one run, sorted once.

    Args:
        result: What became of it.
        record: Its records.

    Attributes:
        died: Whether it ended before its last step, and not well.
        end: Thousand images that D will have seen if the run reaches its last step.
        onset: Thousand images that D had seen when a collapse began; None without one.
        best: By metric, the best evaluation; None where there is none.
    """

    def __init__(self, result: Result, record: ReportedRun) -> None:
        self.result, self.record = result, record
        by_type: dict[str, list[Event]] = {}
        for event in record.events:
            by_type.setdefault(event["type"], []).append(event)
        self.attempts = by_type.get("attempt", [])
        self.protocols = by_type.get("protocol", [])
        self.evaluations = by_type.get("evaluation", [])
        self.losses = by_type.get("losses", [])
        self.samples = by_type.get("samples", [])
        self.probes = by_type.get("probe", [])
        self.outcome: Event = by_type.get("outcome", [{}])[-1]
        self.died = result.status in ("diverged", "oom", "crashed")
        self.end = self._end()
        step = self.outcome.get("onset") if result.status == "collapsed" else None
        self.onset = None if step is None else step * self.end / record.spec.settings.steps
        self.metrics = sorted(record.metrics, key=lambda metric: not metric.primary)
        self.best = {metric.name: record.best(metric) for metric in self.metrics}

    def _end(self) -> float:
        settings = self.record.spec.settings
        for event in (*self.losses[-1:], *self.evaluations[-1:]):
            if event["step"] and event["kimg"]:
                return float(event["kimg"] / event["step"] * settings.steps)
        return settings.steps * settings.batch / 1000

    @property
    def primary(self) -> MetricInfo | None:
        """The metric that verdicts go by."""
        return next((metric for metric in self.metrics if metric.primary), None)


def figure(
    title: str,
    drawing: str,
    *,
    rest: str = "",
    keys: Iterable[tuple[str, str]] = (),
    note: str = "",
) -> Markup:
    """Write a plot with its caption; written here, since a page has dozens and a run has a page.

    Args:
        title: What it is of; any text.
        drawing: From :func:`plot`; empty where there is nothing to draw.
        rest: Of the title, in a softer colour; any text.
        keys: Class and name of each line, where there are several; any text.
        note: Below it; any text.
    """
    head = [f"<b>{text(title)}</b>"] if title else []
    head += [f' <span class="protocol">{text(rest)}</span>'] if rest else []
    head += [f'<span class="key {kind}">{text(name)}</span>' for kind, name in keys]
    below = f'<p class="note">{text(note)}</p>' if note else ""
    return Markup(  # noqa: S704 - every foreign string is escaped above
        f"<figure><figcaption>{''.join(head)}</figcaption>{drawing}{below}</figure>"
    )


def text(foreign: str) -> str:
    """Show any string as text: on one line, without control characters, escaped."""
    return escape(foreign if foreign.isprintable() else printable(foreign))


def metric_plots(history: History) -> list[Markup]:
    """Plot every metric over training, the primary one first and large."""
    plots: list[Markup] = []
    averaged, raw = Columns(history.evaluations), Columns(history.evaluations, "raw")
    for metric in history.metrics:
        measured, unaveraged = averaged.curve(metric.name), raw.curve(metric.name)
        size = SMALL if plots else LARGE
        name = short(metric.name)
        title, protocol = f"{name} {ARROWS[metric.better]}".rstrip(), metric.name[len(name) :]
        shown = measured or unaveraged
        if shown is None:
            none = "no finite value" if history.evaluations else "not measured yet"
            plots.append(figure(title, "", rest=protocol, note=none))
            continue
        lines = [Line(*measured, "first", len(measured.kimg) <= MOST_DOTS)] if measured else []
        lines += [Line(*unaveraged, "raw")] if unaveraged else []
        floor = metric.floor
        svg = plot(
            lines,
            kimg_axis(history.end, size),
            f"{name} over training: {shown.course}",
            size=size,
            died=history.died,
            onset=history.onset,
            level=floor if floor is not None and math.isfinite(floor) else None,
        )
        keys = AVERAGED if measured and unaveraged else ()
        plots.append(figure(title, svg, rest=protocol, keys=keys, note=metric.summary))
    return plots


def diagnostic_plots(history: History) -> list[Markup]:
    """Plot what training tells of itself; what belongs together in one plot."""
    x, columns = kimg_axis(history.end), Columns(history.losses)
    names = columns.names
    groups = [[name for name in pair if name in names] for pair in TOGETHER]
    grouped = {name for group in groups for name in group}
    groups += [[name] for name in names if name not in grouped]
    plots = []
    for group in groups:
        curves = {name: curve for name in group if (curve := columns.curve(name)) is not None}
        if not curves:
            continue
        lines = [Line(*curve, kind) for kind, curve in zip(KINDS, curves.values(), strict=False)]
        told = "; ".join(f"{name}: {curve.course}" for name, curve in curves.items())
        svg = plot(lines, x, f"over training, {told}", died=history.died, onset=history.onset)
        keys = tuple(zip(KINDS, curves, strict=False)) if len(curves) > 1 else ()
        title = "" if keys else next(iter(curves))
        plots.append(figure(title, svg, keys=keys))
    return plots


def metric_rows(history: History) -> list[tuple[str, ...]]:
    """Tabulate every metric: last, raw, best, at which step of how many, untrained, real data."""
    if not history.evaluations:
        return []
    first, last = history.evaluations[0], history.evaluations[-1]
    rows: list[tuple[str, ...]] = []
    for metric in history.metrics:
        best = history.best[metric.name]
        rows.append(
            (
                f"{metric.name} {ARROWS[metric.better]}".rstrip(),
                number(last["values"].get(metric.name)),
                number(last["raw"].get(metric.name)) if "raw" in last else "",
                number(best.value) if best else ABSENT,
                f"{best.step}, of {best.searched}" if best else "",
                number(first["values"].get(metric.name)) if first["step"] == 0 else ABSENT,
                number(metric.floor),
            )
        )
    return rows


def spec_rows(spec: RunSpec) -> list[tuple[str, str, str, str]]:
    """List everything that defines a run but its seed: group, name, value, meaning."""
    rows = [
        ("Data set", "id", spec.dataset.id, ""),
        ("", "fingerprint", spec.dataset.fingerprint, "of its content"),
        ("", "shape", " × ".join(map(str, spec.dataset.shape)), "of one example"),
        ("", "classes", value_text(spec.dataset.classes), ""),
        *(("", name, value_text(value), "") for name, value in spec.dataset.options.items()),
        *(("", name, value, "no part of the id") for name, value in spec.dataset.where.items()),
    ]
    for group, part in (("Variant", spec.variant), *(("Trick", trick) for trick in spec.tricks)):
        rows.append((group, "id", part.id, ""))
        rows += [("", name, value_text(value), "") for name, value in part.options.items()]
    if not spec.tricks:
        rows.append(("Tricks", "none", "", ""))
    rows += [
        ("" if i else "Settings", name, value_text(getattr(spec.settings, name)), meaning)
        for i, (name, meaning) in enumerate(SETTINGS)
    ]
    rows += [
        ("Versions", "metrics", spec.metrics, "fingerprint of the metric protocols in force"),
        ("", "results_version", str(spec.results_version), "of what the numbers depend on"),
        ("", "schema_version", str(spec.schema_version), "of this record"),
    ]
    return rows


def cut_off(record: ReportedRun) -> dict[int, tuple[int, str]]:
    """Find out how far each attempt but the last got: its last step and what it said at the end.

    The records of a report leave out what a later attempt did again, so the log is read anew.
    """
    found: dict[int, tuple[int, str]] = {}
    number = 0
    for event in read_events(record.path / "events.jsonl", skip_corrupt=True):
        if event["type"] == "attempt":
            number = event["attempt"]
            found[number] = (event["resumed_from"] or 0, "killed")
        elif "step" in event and number in found:
            ended = found[number][1]
            if event["type"] == "outcome":
                ended = f"{event['outcome']} {event.get('reason') or ''}".strip()
            found[number] = (int(event["step"]), ended)
    found.pop(number, None)
    return found


def attempts_told(history: History) -> list[Happening]:
    """Tell when and where each attempt began, and how those before the last ended."""
    attempts = history.attempts
    ends = cut_off(history.record) if len(attempts) > 1 else {}
    told = []
    for event in attempts:
        others = len(event.get("cohort") or ()) - 1
        company = f"together with {others} more" if others > 0 else "alone"
        resumed = event["resumed_from"] or 0
        how = f"resumes from step {resumed}" if resumed else "begins"
        where = [str(event[key]) for key in ("device", "time") if event.get(key)]
        told.append(
            Happening(resumed, f"attempt {event['attempt']} {how}", ", ".join([company, *where]))
        )
        if event["attempt"] in ends:
            step, ended = ends[event["attempt"]]
            told.append(Happening(step, f"attempt {event['attempt']} ended here", ended))
    return told


def history_rows(history: History, primary: MetricInfo | None) -> list[Happening]:
    """Tell what happened in order of steps: attempts, first and best evaluation, signs, the end."""
    outcome = history.outcome
    told: list[Happening] = []
    if primary is not None and history.evaluations:
        first = history.evaluations[0]
        if first["step"] == 0:
            value = number(first["values"].get(primary.name))
            told.append(
                Happening(0, "untrained generator is measured", f"{short(primary.name)} {value}")
            )
        best = history.best[primary.name]
        if best is not None:
            more = f"{short(primary.name)} {number(best.value)}, the best of {best.searched}"
            told.append(Happening(best.step, "best evaluation", more))
        bad = [
            e for e in history.evaluations if not math.isfinite(e["values"].get(primary.name, 0.0))
        ]
        if bad:
            more = f"{short(primary.name)} {number(bad[0]['values'][primary.name])}"
            told.append(Happening(bad[0]["step"], "first evaluation that is not finite", more))
    for name, sign in (outcome.get("signs") or {}).items():
        title, meaning = SIGNS.get(name, (name, ""))
        step = int(sign["step"]) if isinstance(sign, Mapping) else None
        told.append(Happening(step, f"sign of instability: {title}", meaning))
    for event in history.probes:
        values = ", ".join(f"{name} {number(value)}" for name, value in event["values"].items())
        told.append(Happening(event["step"], f"probe {event['probe']}", values))
    if outcome.get("onset") not in (None, outcome.get("step")):
        began = "collapse begins" if outcome["outcome"] == "collapsed" else "failure begins"
        told.append(Happening(outcome["onset"], began, ""))
    told = sorted(
        [*attempts_told(history), *told],
        key=lambda moment: math.inf if moment.step is None else moment.step,
    )
    if outcome:
        words = SIGN_OF.get(outcome["outcome"], ("", "", outcome["outcome"]))[2]
        told.append(Happening(outcome.get("step"), words, str(outcome.get("reason") or "")))
    elif history.attempts:
        latest = [e["step"] for e in (*history.losses[-1:], *history.evaluations[-1:])]
        last = max(latest, default=0)
        told.append(Happening(last, "in progress, or killed", "the same command goes on"))
    return told


def facts_of(history: History, primary: MetricInfo | None) -> list[tuple[str, str]]:
    """Return the numbers for the head of a page."""
    outcome, evaluations = history.outcome, history.evaluations
    found: list[tuple[str, str]] = []
    if primary is not None and evaluations:
        arrow = f" {ARROWS[primary.better]}".rstrip()
        value = evaluations[-1]["values"].get(primary.name)
        found.append((f"{short(primary.name)}{arrow}, last", number(value)))
        best = history.best[primary.name]
        if best is not None:
            found.append((f"best of {best.searched}", f"{number(best.value)} at step {best.step}"))
    steps = history.record.spec.settings.steps
    done = outcome.get("step")
    found.append(("Steps", f"{steps}" if done in (None, steps) else f"{done} of {steps}"))
    if "kimg" in outcome:
        found.append(("Thousand images", number(outcome["kimg"])))
    if "seconds" in outcome:
        found.append(("Training", f"{significant(outcome['seconds'])} s"))
        found.append(("Evaluation", f"{significant(outcome['evaluation_seconds'])} s"))
    if outcome.get("peak_memory"):
        found.append(("Peak memory", f"{outcome['peak_memory'] / 2**20:.0f} MiB"))
    if "updates" in outcome:
        updates = outcome["updates"]
        found.append(("Updates of D and G", f"{updates['d']} and {updates['g']}"))
    return found


def reason_of(result: Result) -> str:
    """Say in a line when and why a run ended as it did; empty for one that ended well."""
    outcome = result.outcome
    if result.status == "running":
        return "no outcome yet"
    if result.status == "ok" or not outcome:
        return ""
    onset, step, reason = outcome.get("onset"), outcome.get("step"), outcome.get("reason")
    if result.status == "collapsed" and reason:
        return str(reason)
    when = f"from step {onset}" if onset is not None else f"at step {step}"
    return f"{when}: {reason}" if reason else when


def environment_rows(record: ReportedRun) -> list[tuple[str, str]]:
    """List versions and devices of the last attempt."""
    try:
        return list(flatten(record.environment()).items())
    except CorruptRecordError as error:
        return [("environment", str(error))]


def repeat_command(plan: SuitePlan, cell: CellRuns, seed: int, device: object = None) -> str:
    """Write the command that trains exactly one run again, on the same kind of device."""
    words = [command(plan, cell, seed)]
    words += [f"--device {device}"] if device in ("cpu", "cuda") else []
    return " ".join([*words, f"--out {AGAIN}"])


class RunPages:
    """Writes the pages of a suite's runs; the template is compiled once.

    Args:
        cells: The suite.
    """

    def __init__(self, cells: SuiteCells) -> None:
        self._cells = cells
        self.links = RunLinks(cells, "")
        environment = Environment(
            loader=FileSystemLoader(ROOT / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            finalize=finalize,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        assets = ROOT / "assets"
        css, script = (
            "".join((assets / name).read_text(encoding="utf-8") for name in names)
            for names in (("report.css", "run.css"), ("run.js",))
        )
        self._template = environment.get_template("run.html.jinja")
        parts: Any = environment.get_template("run_parts.html.jinja").module
        # Runs of a cell have these in common, and mostly those of a suite.
        self._spec_table = lru_cache(256)(parts.spec_table)
        self._origin = lru_cache(256)(parts.origin)
        self._fixed = {
            "policy": policy(css, script),
            "css": Markup(css),  # noqa: S704 - our own file
            "script": Markup(script),  # noqa: S704 - our own file
            "suite": cells.suite.plan.suite,
            "summary_page": "../index.html",
        }

    def neighbours(self, cell: CellRuns, position: int) -> list[tuple[str, str, str]]:
        """Return relation, words and address of the runs of a cell before and after one."""
        found = []
        for relation, step in (("prev", -1), ("next", 1)):
            place = position + step
            if 0 <= place < len(cell.results):
                planned = cell.results[place].planned
                name = self.links.pages.get(planned.id)
                if name is not None:
                    found.append((relation, f"seed {planned.seed}", address(name)))
        return found

    def cell_rows(self, cell: CellRuns) -> str:
        """Return where the list shows a cell's runs; all of it, if there is no other."""
        runs = [result.planned.id for result in cell.results]
        return (self.links.behind(runs) if len(runs) > 1 else None) or LIST

    def context(self, cell: CellRuns, position: int) -> tuple[object, ...]:
        """Return what the page of a run shows beside the records of the run."""
        result = cell.results[position]
        return (
            self._cells.suite.plan.suite,
            result.planned,
            self.neighbours(cell, position),
            self.cell_rows(cell),
            repeat_command(self._cells.suite.plan, cell, result.planned.seed),
        )

    def render(self, cell: CellRuns, position: int) -> str:
        """Write the page of a run that has begun.

        Args:
            cell: Its cell.
            position: Its place in that.

        Raises:
            ValueError: if it has not begun.
        """
        result = cell.results[position]
        if result.record is None:
            raise ValueError(f"run {result.planned.id} has no records to show")
        history = History(result, result.record)
        record, primary = history.record, history.primary
        data = history.protocols[-1].get("data") if history.protocols else None
        facts = data if isinstance(data, dict) else {}
        moments = moments_of(record.path, history.samples, history.evaluations, facts)
        device = history.attempts[-1].get("device") if history.attempts else None
        sign, badge, words = SIGN_OF.get(result.status, ("", "none", result.status))
        plots = metric_plots(history)
        return self._template.render(
            **self._fixed,
            planned=result.planned,
            sign=sign,
            badge=badge,
            words=words,
            reason=reason_of(result),
            facts=facts_of(history, primary),
            neighbours=self.neighbours(cell, position),
            cell_rows=self.cell_rows(cell),
            cell_size=len(cell.results),
            metric_plots=plots,
            diagnostic_plots=diagnostic_plots(history),
            died=history.died,
            onset=history.onset,
            floors=any(metric.floor is not None for metric in record.metrics),
            moments=moments,
            legend=legend_of(facts),
            left_out=left_out(moments),
            metrics=metric_rows(history),
            raw=any("raw" in event for event in history.evaluations),
            story=history_rows(history, primary),
            spec=self._spec_table(tuple(spec_rows(record.spec))),
            seed=record.spec.seed,
            origin=self._origin(
                tuple(provenance_lines(vars(record.provenance) if record.provenance else None)),
                tuple(environment_rows(record)),
            ),
            command=repeat_command(self._cells.suite.plan, cell, result.planned.seed, device),
        )


def legend_of(facts: Mapping[str, Any]) -> str:
    """Say what the colours of drawn points mean; empty for images."""
    if facts.get("kind") != "points":
        return ""
    if facts.get("shape") == [1]:
        return "Blue: a histogram of generated points. Orange: the true density."
    return "Blue: generated points. Orange: a ring around each mode that is hit, a cross on others."


def left_out(moments: Moments) -> str:
    """Say what of a run's samples its page does not show; empty if it shows all."""
    said = []
    if moments.found > len(moments.shown) + moments.unreadable:
        said.append(f"{len(moments.shown)} of {moments.found} stored moments are shown.")
    if moments.tiles < GRID:
        said.append(f"Of each stored grid, {moments.tiles**2} of {GRID**2} samples are shown.")
    if moments.unreadable:
        said.append(f"{moments.unreadable} sample files are absent or damaged.")
    return " ".join(said)
