"""The commands. No logic here: each reads its options and calls the module that knows how."""

from __future__ import annotations

import io
import json
import os
import sys
import warnings
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from harness.errors import CodeWarning, DataWarning, ExitStatus, GanbenchError
from harness.registry import KINDS

app = typer.Typer(
    name="ganbench", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False
)

DataRoot = Annotated[
    Path | None,
    typer.Option(envvar="GANBENCH_DATA", help="Folder of data sets that are files, such as MNIST."),
]
Only = Annotated[
    list[str] | None,
    typer.Option(
        metavar="KEY=VALUE",
        help="Only such cells: dataset=, variant=, trick= (also in combinations), tricks= (the "
        "whole combination) or seed=. Repeat to combine.",
    ),
]
Plugins = Annotated[
    list[str] | None,
    typer.Option(
        "--plugin", help="Module, or path of a .py file, that registers parts of your own."
    ),
]
Extractors = Annotated[
    list[str] | None,
    typer.Option(
        "--extractor",
        metavar="NAME=FILE",
        help="Network of your own for the setting `extractor: NAME`: .pt2 (torch.export) or .pt "
        "(TorchScript). Loading it runs its code.",
    ),
]
Wandb = Annotated[
    str | None,
    typer.Option(
        "--wandb",
        metavar="disabled|offline|online",
        help="Mirror runs to W&B. Without it: online if a key is configured, else disabled.",
    ),
]
Device = Annotated[str, typer.Option(help="auto, cpu or cuda.")]
Jobs = Annotated[
    int | None,
    typer.Option(min=1, max=1024, help="Processes at once. Default: one per core, or one per GPU."),
]
Suite = Annotated[str, typer.Argument(help="Name of a built-in suite, or path of a YAML file.")]
Out = Annotated[Path | None, typer.Option(help="Results folder. Default: results/SUITE.")]
Profile = Annotated[str | None, typer.Option(help="A profile of the suite file.")]
Run = Annotated[str, typer.Argument(help="A run's folder, or its id under results/.")]
Pages = Annotated[
    Literal["auto", "all"],
    typer.Option(
        help="Runs that get a page of their own. auto: all; from 1,000 runs on those that did not "
        "end well, and the best, median and worst of each cell."
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Retrain = Annotated[
    bool,
    typer.Option("--retrain", help="Train again what other code of a plugin has trained."),
]
AcceptCode = Annotated[
    bool,
    typer.Option(
        "--accept-code", help="Take results of other code of a plugin for results of this one."
    ),
]
Force = Annotated[bool, typer.Option("--force", help="Replace a file that is there.")]


class Ended(typer.Exit):
    """How a command ended.

    Attributes:
        folder: Where its results are; None where it has none.
        told: The lines that it printed, where they are its result.
    """

    def __init__(
        self, code: ExitStatus, folder: Path | None = None, told: tuple[str, ...] = ()
    ) -> None:
        super().__init__(code)
        self.folder, self.told = folder, told


def _print_version(wanted: bool) -> None:
    if wanted:
        from harness.version import VERSION

        print(f"ganbench {VERSION}")
        raise typer.Exit


@app.callback()
def ganbench(
    version: Annotated[
        bool,
        typer.Option(
            "--version", is_eager=True, callback=_print_version, help="Print the version."
        ),
    ] = False,
) -> None:
    """Which GANs train stably, which tricks really help, and how sure are we?"""


@app.command()
def run(
    suite: Suite,
    out: Out = None,
    only: Only = None,
    seeds: Annotated[
        int | None, typer.Option(min=1, max=100_000, help="Seeds 0 … N−1, as another plan.")
    ] = None,
    profile: Profile = None,
    jobs: Jobs = None,
    cohort: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=1024,
            help="At most so many runs train together; 1: each alone. Default: what is fastest "
            "here, by measurement, on which the last bits of a run's numbers may depend. Runs that "
            "were cut off go on as they began.",
        ),
    ] = None,
    device: Device = "auto",
    wandb: Wandb = None,
    data_root: DataRoot = None,
    plugin: Plugins = None,
    extractor: Extractors = None,
    retrain: Retrain = False,
    accept_code: AcceptCode = False,
    until_decided: Annotated[
        bool,
        typer.Option(
            "--until-decided",
            help="Look at the results after 5, 10, 20 and 40 seeds, and add seeds only to what is "
            "still open. The certainty of a verdict stays what it says.",
        ),
    ] = False,
    max_seeds: Annotated[
        int | None,
        typer.Option(
            min=1, max=1000, help="With --until-decided: seeds at the last look. Default: 40."
        ),
    ] = None,
    budget: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="With --until-decided: begin no look that would end later, such as 2h or 90m.",
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print cells, cohorts and cost; train nothing.")
    ] = False,
) -> None:
    """Run a suite: train what is missing, measure it, write the report."""
    from harness.commands.finished import RerunShortcut
    from harness.commands.options import RunOptions, answer_of

    options = RunOptions(
        suite,
        out,
        tuple(only or ()),
        seeds,
        profile,
        jobs,
        cohort,
        device,
        wandb,
        data_root,
        tuple(plugin or ()),
        tuple(extractor or ()),
        answer_of(retrain=retrain, accept=accept_code),
    )
    if not until_decided and (max_seeds is not None or budget is not None):
        raise GanbenchError("--max-seeds and --budget belong to --until-decided")
    if until_decided and not dry_run:
        from harness.commands.deciding import run_until_decided
        from harness.engines.server import start_fork_server
        from reports.looks import standings

        start_fork_server()
        _conclude(*run_until_decided(options, standings, most=max_seeds, budget=budget))
    shortcut = RerunShortcut(options)
    if not dry_run and (told := shortcut.result()):
        print(told)
        _conclude(shortcut.folder or Path(), ExitStatus.DONE)
    _start_fork_server()
    from harness.commands.expansion import expanded

    if dry_run:
        from harness.commands.deciding import first_look
        from harness.commands.preview import preview

        matrix = first_look(options, max_seeds) if until_decided else expanded(options)
        preview(matrix, options)
        return
    matrix = expanded(options, shortcut.content)
    from harness.commands.run import run_suite

    folder, code = options.folder(matrix.plan.suite), run_suite(matrix, options)
    if code == ExitStatus.DONE:
        shortcut.remember(folder, matrix)
    _conclude(folder, code)


@app.command()
def report(
    folders: Annotated[
        list[Path],
        typer.Argument(
            metavar="FOLDER…",
            help="Results folder, such as results/stability; or several of the same plan, trained "
            "with --only on several machines: one report of all.",
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(help="Folder of the report; needed for several. Default: FOLDER/report."),
    ] = None,
    skip_corrupt: Annotated[
        bool, typer.Option(help="List runs with damaged records instead of refusing.")
    ] = False,
    runs: Pages = "auto",
) -> None:
    """Write tables, figures, index.html and report.md, also while runs are in progress."""
    _write_report(folders, out, runs, skip_corrupt=skip_corrupt)


@app.command()
def compare(
    first: Annotated[Path, typer.Argument(help="Results folder to compare with.")],
    second: Annotated[Path, typer.Argument(help="Results folder that may have changed.")],
    out: Annotated[
        Path | None, typer.Option(help="Folder of the page. Default: SECOND/compare.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON and write nothing.")] = False,
    fail_on_regression: Annotated[
        bool, typer.Option("--fail-on-regression", help="Exit with 1 if anything got worse.")
    ] = False,
) -> None:
    """Say what changed between two results folders, only where an interval excludes chance."""
    from reports import structured
    from reports.build import write_comparison
    from reports.compare import compare as compare_folders
    from reports.compare import document, sentences

    comparison = compare_folders(first, second)
    if as_json:
        print(structured.render(document(comparison)), end="")
    else:
        for sentence in sentences(comparison):
            print(sentence)
        print(f"comparison: {write_comparison(comparison, out or second / 'compare')}")
    if fail_on_regression and comparison.regressions:
        raise typer.Exit(ExitStatus.INCOMPLETE)


@app.command()
def tune(
    suite: Suite,
    param: Annotated[
        list[str] | None,
        typer.Option(
            "--param",
            metavar="NAME=LOW..HIGH",
            help="Search a number: a setting (lr_g=1e-5..1e-2:log, lr_d/lr_g=0.1..10:log), an "
            "option of the variant (variant.penalty_weight=0.1..100:log) or of a trick "
            "(label-smoothing.real_low=0.7..1). :log spreads values over the logarithm; "
            "@variant=wgan at the end, with the keys of --only, keeps it to such cells. Repeat for "
            "several. Default: both learning rates, as the first two examples.",
        ),
    ] = None,
    trials: Annotated[
        int, typer.Option(min=1, help="Settings per cell, the suite's own among them.")
    ] = 10,
    only: Only = None,
    out: Out = None,
    sampler: Annotated[
        str,
        typer.Option(
            help="sobol: all cells at the same places, so that a trick and its control are tuned "
            "alike; tpe: goes by what each cell has found, for the best of one."
        ),
    ] = "sobol",
    batch: Annotated[
        int | None,
        typer.Option(
            min=1, help="With tpe: trials proposed at once, from those before. Default: 8."
        ),
    ] = None,
    profile: Profile = None,
    jobs: Jobs = None,
    device: Device = "auto",
    data_root: DataRoot = None,
    plugin: Plugins = None,
    extractor: Extractors = None,
    retrain: Retrain = False,
    accept_code: AcceptCode = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print trials and cost, fresh seeds included.")
    ] = False,
) -> None:
    """Tune all cells alike, by the validation half; compare choice and default on fresh seeds."""
    _start_fork_server()
    from harness.commands.expansion import expanded
    from harness.commands.options import RunOptions, answer_of
    from harness.commands.tune import TuneOptions, preview_tuning, tune_suite

    options = RunOptions(
        suite,
        out,
        tuple(only or ()),
        profile=profile,
        jobs=jobs,
        device=device,
        data_root=data_root,
        plugins=tuple(plugin or ()),
        extractors=tuple(extractor or ()),
        changed_code=answer_of(retrain=retrain, accept=accept_code),
    )
    search = TuneOptions(trials, tuple(param or ()), sampler, batch)
    matrix = expanded(options)
    if dry_run:
        preview_tuning(matrix, options, search)
        return
    code = tune_suite(matrix, options, search)
    _conclude(options.folder(matrix.plan.suite), code)


@app.command()
def show(
    run: Run,
    as_json: Json = False,
    html: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Write the run's page of a report there, as one file by itself."
        ),
    ] = None,
    force: Force = False,
) -> None:
    """Show what a run is and what became of it."""
    from harness.commands.show import describe_run, find_run, print_run

    if force and html is None:
        raise GanbenchError("--force belongs to --html FILE: nothing else is written")
    if html is not None:
        from reports.build import write_run_page

        write_run_page(find_run(run), html, force=force)
        _tell({"page": str(html)}, lambda made: print(_foreign(f"page: {html}")), as_json)
        return
    _tell(describe_run(run), print_run, as_json)


@app.command()
def sample(
    run: Run,
    count: Annotated[
        int | None,
        typer.Option(
            "-n", "--count", min=1, max=10_000, help="Samples of a grid. Default: 64; points: 2000."
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="PNG to write. Default: grid.png and so on, here."),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=2**31 - 1,
            help="Of the latents. Default: the run's, which shows what its own sample grids show.",
        ),
    ] = None,
    numbered: Annotated[
        bool, typer.Option("--numbered", help="Number the grid's cells, for --arithmetic.")
    ] = False,
    interpolate: Annotated[
        bool, typer.Option("--interpolate", help="Rows from one latent to another, by slerp.")
    ] = False,
    arithmetic: Annotated[
        str | None,
        typer.Option(
            metavar="EXPRESSION",
            help="Add and subtract latents of numbered cells: 3+7-12, or means: "
            "'mean(1,4,9)-mean(2,3)+mean(5,6)'.",
        ),
    ] = None,
    code: Annotated[
        str | None,
        typer.Option(help="InfoGAN: vary this code along each row, such as continuous1."),
    ] = None,
    classes: Annotated[
        str | None,
        typer.Option(
            "--class",
            metavar="C[,C…]|all",
            help="Conditional generators: the class by name or number, or several, which get a "
            "row each.",
        ),
    ] = None,
    rows: Annotated[
        int | None,
        typer.Option(min=1, max=100, help="Rows with --interpolate, --code. Default: 8."),
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(min=2, max=100, help="Images a row with --interpolate, --code. Default: 8."),
    ] = None,
    force: Force = False,
    as_json: Json = False,
    plugin: Plugins = None,
) -> None:
    """Draw a run's newest generator: a grid, an interpolation, latent arithmetic."""
    from harness.commands.show import find_run
    from harness.sampling.sheets import Request
    from harness.sampling.sheets import sample as draw

    _load(plugin)
    request = Request(seed, count, numbered, interpolate, arithmetic, code, classes, rows, steps)
    written = draw(find_run(run), request, output, force=force)
    words = "{file}: {kind} of run {run} at step {step}, seed {seed}"
    _tell(written, lambda made: print(words.format_map(made)), as_json)


@app.command()
def export(
    run: Run,
    output: Annotated[
        Path,
        typer.Option(
            "-o", "--output", help="File to write: .pt2 (torch.export), or .pt for PyTorch < 2.11."
        ),
    ] = Path("generator.pt2"),
    force: Force = False,
    as_json: Json = False,
    plugin: Plugins = None,
) -> None:
    """Write a run's newest generator as one file that plain PyTorch loads, without ganbench."""
    from harness.commands.show import find_run
    from harness.sampling.export import export as write

    _load(plugin)
    written = write(find_run(run), output, force=force)
    words = "{file}: generator of run {run} at step {step}"
    use = "to sample from it, wherever there is PyTorch:"
    _tell(
        written,
        lambda made: print(words.format_map(made), use, "", *made["usage"], sep="\n"),
        as_json,
    )


@app.command("list")
def list_parts(
    kind: Annotated[
        str,
        typer.Argument(
            help=f"What to list: {', '.join(kind.plural for kind in KINDS.values())} or suites."
        ),
    ],
    as_json: Json = False,
    layers: Annotated[
        str | None,
        typer.Option(metavar="NETWORK", help="With networks: one of them, layer by layer."),
    ] = None,
    plugin: Plugins = None,
) -> None:
    """List what there is, with sources."""
    from harness.commands.listing import catalog, print_catalog, print_layers
    from harness.commands.listing import layers as layers_of

    _load(plugin)
    if layers is not None:
        if kind != "networks":
            raise GanbenchError(f"--layers is about networks; {kind} have none")
        _tell(layers_of(layers), print_layers, as_json)
    else:
        _tell(catalog(kind), partial(print_catalog, kind), as_json)


@app.command()
def schema(plugin: Plugins = None) -> None:
    """Print the JSON Schema of suite files, by which editors complete and check them."""
    from harness.suite.model import suite_schema

    _load(plugin)
    print(json.dumps(suite_schema(), indent=1))


@app.command()
def check(
    plugin: Annotated[
        str, typer.Argument(help="Module, or path of a .py file, that registers parts.")
    ],
    only: Annotated[
        list[str] | None,
        typer.Option("--only", metavar="ID", help="Only the part of this id. Repeat for several."),
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=VALUE",
            help="Option under which a variant or trick has the most to do. Repeat for several.",
        ),
    ] = None,
    starts: Annotated[
        int,
        typer.Option(min=0, max=48, help="Steps after which a trick begins to act, of 50."),
    ] = 0,
    every: Annotated[
        bool, typer.Option("--all", help="The proofs that take minutes, too.")
    ] = False,
    data_root: DataRoot = None,
) -> None:
    """Hold parts of your own to what every part of ganbench must pass."""
    from harness.commands.check import check_plugin

    code, told = check_plugin(
        plugin, only or [], option or [], starts=starts, every=every, root=data_root
    )
    raise Ended(code, told=told)


data_app = typer.Typer(no_args_is_help=True, help="Which data sets are here; fetch or check them.")
app.add_typer(data_app, name="data")


@data_app.command("list")
def list_data(data_root: DataRoot = None, as_json: Json = False) -> None:
    """List data sets: embedded, present, absent or damaged."""
    from harness.commands import data

    statuses = data.statuses(data_root)
    _tell(statuses, partial(data.print_statuses, root=data_root), as_json)


@data_app.command()
def fetch(
    name: Annotated[str, typer.Argument(help="Id of a data set, such as fashion-mnist.")],
    data_root: DataRoot = None,
) -> None:
    """Download a data set's files into the data root, and check them."""
    from harness.commands import data

    print(data.fetch(name, data_root))


@data_app.command()
def verify(
    name: Annotated[str, typer.Argument(help="Id of a data set, or folder:PATH.")],
    data_root: DataRoot = None,
) -> None:
    """Hash everything that a data set is made of."""
    from harness.commands import data

    print(_foreign(data.verify(name, data_root)))


@app.command()
def doctor(data_root: DataRoot = None, as_json: Json = False) -> None:
    """Say what this machine can do, and what is missing for what."""
    from harness.commands import doctor

    findings = doctor.examine(data_root)
    _tell(findings, doctor.print_findings, as_json)
    if any(finding.state == "wrong" for finding in findings):
        raise typer.Exit(ExitStatus.INCOMPLETE)


@app.command()
def push(
    folder: Annotated[Path, typer.Argument(help="Results folder, such as results/stability.")],
    wandb: Wandb = None,
    project: Annotated[str, typer.Option(help="W&B project.")] = "ganbench",
    follow: Annotated[
        bool, typer.Option("--follow", help="Go on until all runs have results.")
    ] = False,
    until_eof: Annotated[bool, typer.Option("--until-eof", hidden=True)] = False,
) -> None:
    """Mirror finished or running results to W&B; what is there already is not sent again."""
    from harness.commands.push import push_results

    push_results(folder, wandb=wandb, project=project, follow=follow, until_eof=until_eof)


def _start_fork_server() -> None:
    """Let the server import PyTorch while this process does so itself."""
    from harness.engines.server import start_fork_server

    start_fork_server()


def _load(plugins: list[str] | None) -> None:
    from harness.registry import load_plugin

    for name in plugins or []:
        load_plugin(name)


def _tell(told: Any, in_words: Callable[[Any], None], as_json: bool) -> None:
    """Print what a command found out, as JSON or in words."""
    if as_json:
        print(json.dumps(told, indent=1, allow_nan=False, default=asdict))
    else:
        in_words(told)


def _conclude(folder: Path, code: ExitStatus) -> None:
    """Write the report and exit; whoever was told to stop by a signal has no time for one."""
    if code == ExitStatus.PREEMPTED:
        print(f"stopped and saved; the same command goes on, `ganbench report {folder}` reports")
    else:
        _write_report([folder])
    raise Ended(code, folder)


def _write_report(
    folders: list[Path],
    out: Path | None = None,
    runs: Pages = "auto",
    *,
    skip_corrupt: bool = False,
) -> None:
    from reports.build import is_current, place_of, write_report

    out = place_of(folders) if out is None else out
    page = out / "index.html"
    if not is_current(folders, out, runs):
        page = write_report(folders, out, skip_corrupt=skip_corrupt, runs=runs)
    print(f"report: {page}")


def _foreign(text: object) -> str:
    """Write what may name files of anybody, so that no name can steer the terminal."""
    from harness.store.wording import printable

    return "\n".join(map(printable, str(text).split("\n")))


def main() -> None:
    """Run the command line; a user's mistake is one message, not a traceback."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # closed by whoever started the command
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115, PTH123
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # an ASCII locale has no × and no ✔
    written = warnings.formatwarning

    def plainly(message: Warning | str, category: type[Warning], *where: Any, **line: Any) -> str:
        if issubclass(category, DataWarning | CodeWarning):
            return f"warning: {_foreign(message)}\n"
        return written(message, category, *where, **line)

    warnings.formatwarning = plainly
    try:
        app()
    except GanbenchError as error:
        print(f"error: {_foreign(error)}", file=sys.stderr)
        sys.exit(ExitStatus.BAD_INPUT)
    except BrokenPipeError:
        # Whoever read the output has gone; what is on the disk is whole.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(ExitStatus.INCOMPLETE)
    except OSError as error:
        where = f"{error.filename}: " if error.filename is not None else ""
        print(f"error: {where}{error.strerror or error}", file=sys.stderr)
        sys.exit(ExitStatus.BAD_INPUT)
    except KeyboardInterrupt:
        sys.exit(ExitStatus.INTERRUPTED)


if __name__ == "__main__":
    main()
