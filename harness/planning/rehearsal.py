"""Trains every cell for a moment before anything is trained: what cannot work is told at once.

A few runs of each cell make an update of each player and a few samples, on made-up data: in
narrow networks and a small batch first, and as they are planned where that fails, which alone
counts. What a part raises becomes a sentence that names it, its option and what to do.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext, suppress
from dataclasses import dataclass
from itertools import chain, pairwise
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from harness.datasets.base import Examples, dataset_of
from harness.errors import GanbenchError, PartError
from harness.networks.blueprint import Blueprint
from harness.parts import Part, all_parts, schedule_of
from harness.parts.blueprint import blueprint_of
from harness.parts.foreign import foreign_in_training
from harness.planning.children import EachInChild, Ended
from harness.planning.cohorts import cohort_key, one_thread
from harness.spec import RunSpec, canonical_json
from harness.store.parallel import cores
from harness.training.batch import Batch
from harness.training.game import Phase
from harness.training.inputs import EagerInputs, TracingInputs
from harness.training.stack import Stack
from harness.training.trainer import Trainer, networks_of

CPU = torch.device("cpu")
RUNS = (3, 5, 7, 11, 13)
"""How many runs of a cell with foreign parts: the first number that nothing else of it has."""
OWN_RUNS = 2
"""How many of ganbench's own parts, which tests hold to cohorts of every size."""
WIDTH = 8
OWN_WIDTH = 2
"""Of ganbench's own networks, which tests hold to every width."""
EXAMPLES = 4
"""Inputs that D judges at a time, at least."""
RAISE = "let it raise an error instead"
"""What to do about code that ends the process."""
WORTH_A_PROCESS = 20
"""Cells to a process, under which another saves nothing."""
MOST_DATA = 10_000
"""Training examples that are made up, at most."""
PLAYERS: tuple[Phase, ...] = ("discriminator", "generator")
OF_TRAINING = {"batch", "latent", "network", "width", "optimizer", "precision"}
"""Settings that one round of updates depends on, beside numbers of each run."""


def rehearse(specs: Iterable[RunSpec], plugins: Sequence[str] = ()) -> None:
    """Try one run of each cell for a moment, in processes that parts may end as they like.

    Args:
        specs: Runs to be trained.
        plugins: Modules that register what they are made of.

    Raises:
        GanbenchError: with a sentence for each cell that cannot work, all of them at once.
    """
    alike = kinds(specs)
    tried = [cells[0] for cells in alike.values()]
    each = max(WORTH_A_PROCESS, -(-len(tried) // cores()))
    problems: dict[str, list[str]] = {}
    with ExitStack() as processes:
        shares = [
            processes.enter_context(EachInChild(Rehearsals(), tried[start : start + each], plugins))
            for start in range(0, len(tried), each)
        ]
        said = chain.from_iterable(share.answers() for share in shares)
        for cells, answer in zip(alike.values(), said, strict=True):
            reason = ended_by(cells[0], answer) if isinstance(answer, Ended) else answer
            if reason is not None:
                problems.setdefault(reason, []).extend(map(cell_name, cells))
    if problems:
        lines = [f"{reason} ({where(names)})" for reason, names in problems.items()]
        heading = f"{len(lines)} problem{'s' if len(lines) > 1 else ''}, found before any training"
        raise GanbenchError("\n".join([heading, *(f"  {line}" for line in lines)]))


def kinds(specs: Iterable[RunSpec]) -> dict[str, list[RunSpec]]:
    """Order cells into those that one rehearsal, that of the first, stands for.

    A cell with foreign parts stands for itself. Of others, each recipe is tried on one of the data
    sets, and each pair of networks on each of them. Data are made up: data sets of the same shape,
    classes and size are one.
    """
    alike: dict[str, list[RunSpec]] = {}
    built: set[tuple[Blueprint, str]] = set()
    for key, spec in {cohort_key(spec): spec for spec in specs}.items():
        if foreign_in_training(spec):
            alike[key] = [spec]
            continue
        networks, recipe = (blueprint_of(spec), data_of(spec)), recipe_of(spec)
        known = recipe in alike and networks in built
        alike.setdefault(recipe if known or recipe not in alike else key, []).append(spec)
        built.add(networks)
    return alike


def data_of(spec: RunSpec) -> str:
    """Name all of its data that the rehearsal of ganbench's own parts depends on."""
    size = dataset_of(spec).train_size
    return canonical_json([spec.dataset.shape, spec.dataset.classes, size])


def recipe_of(spec: RunSpec) -> str:
    """Name all else that the rehearsal depends on: parts and settings."""
    described = json.loads(cohort_key(spec))
    settings = {name: described["settings"][name] for name in OF_TRAINING}
    kind_of_data = [len(spec.dataset.shape), spec.dataset.classes is None]
    return canonical_json([described["variant"], described["tricks"], settings, kind_of_data])


def ended_by(spec: RunSpec, ended: Ended) -> str:
    """Say that a process ended while it rehearsed a cell, and whose code it ran."""
    suspects = " or ".join(part.part for part in foreign_in_training(spec))
    if not suspects:
        return f"the process that tried it {ended}"
    return f"code of {suspects} ends the process that tries it, which {ended}; {RAISE}"


class Networks:
    """Builds networks once for all rehearsals of the same plan and seeds."""

    def __init__(self) -> None:
        self._built: dict[tuple[Any, ...], tuple[Stack, Stack]] = {}

    def of(self, runs: Sequence[RunSpec]) -> tuple[Stack, Stack]:
        """Return generators and discriminators as they are before any training."""
        seeds = tuple(spec.random_seed for spec in runs)
        key = (blueprint_of(runs[0]), runs[0].settings.precision, seeds)
        if key not in self._built:
            self._built[key] = networks_of(runs, CPU)
        G, D = self._built[key]
        return G.of([*range(G.runs)]), D.of([*range(D.runs)])


class Rehearsals:
    """Says why runs could not be trained; those of ganbench's own parts share their networks."""

    def __init__(self) -> None:
        self._networks = Networks()

    def __call__(self, spec: RunSpec) -> str | None:
        """Say why a run could not be trained, or None where a few updates of it work."""
        with one_thread():
            return fault(spec, None if foreign_in_training(spec) else self._networks)


def cell_name(spec: RunSpec) -> str:
    """Name a cell by the ids of its parts."""
    tricks = " + ".join(trick.id for trick in spec.tricks) or "none"
    return f"{spec.dataset.id} × {spec.variant.id} × {tricks}"


def where(cells: Sequence[str]) -> str:
    """Name the first of some cells, and how many more there are."""
    more = len(cells) - 1
    return f"in {cells[0]}" + (f" and {more} more cell{'s' if more > 1 else ''}" if more else "")


def fault(spec: RunSpec, networks: Networks | None = None) -> str | None:
    """Say why a run could not be trained, or None where a few updates of it work.

    Args:
        spec: The run.
        networks: Of rehearsals before, to share; None to build its own.
    """
    if failure(spec, networks=networks, narrow=True) is None:
        return None
    error = failure(spec)
    if error is None:
        return None
    return str(error) if isinstance(error, PartError) else explained(spec, error)


def failure(
    spec: RunSpec,
    without: tuple[Part, str] | None = None,
    networks: Networks | None = None,
    *,
    narrow: bool = False,
) -> Exception | SystemExit | None:
    """Return what :func:`play` raises, whatever it is, or None."""
    try:
        play(narrowed(spec) if narrow else spec, without, networks)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - it is to be explained
        return error
    return None


def narrowed(spec: RunSpec) -> RunSpec:
    """Return a run like another, of narrow networks and a small batch."""
    blueprint = blueprint_of(spec)
    unit = math.lcm(blueprint.discriminator.pack, blueprint.generator.copies)
    batch = EXAMPLES * unit if spec.settings.batch % unit == 0 else spec.settings.batch
    width = WIDTH if foreign_in_training(spec) else OWN_WIDTH
    small = {"width": min(width, spec.settings.width), "batch": min(batch, spec.settings.batch)}
    return spec.model_copy(update={"settings": spec.settings.model_copy(update=small)})


def runs_of(spec: RunSpec) -> int:
    """Choose how many runs train together, so that no axis can be taken for that of the runs."""
    if not foreign_in_training(spec):
        return OWN_RUNS
    settings, pack = spec.settings, blueprint_of(spec).discriminator.pack
    sizes = {settings.batch, settings.batch // pack, settings.width, settings.latent}
    sizes |= {*spec.dataset.shape, spec.dataset.classes or 0}
    return next((count for count in RUNS if count not in sizes), RUNS[-1])


def rehearsing(spec: RunSpec, networks: Networks | None = None) -> Trainer:
    """Make the trainer of a few runs on made-up data."""
    least = 2 * spec.settings.batch * schedule_of(all_parts(spec)).g_batch
    known = dataset_of(spec).train_size
    count = max(least, min(known or MOST_DATA, MOST_DATA))
    shape, classes = spec.dataset.shape, spec.dataset.classes
    values = torch.randn(least, *shape, generator=torch.Generator().manual_seed(0))
    if len(shape) == 3:
        values = (values.clamp(-1, 1) * 127 + 128).to(torch.uint8)
    labels = None if classes is None else torch.arange(count) % classes
    runs = [
        spec.model_copy(update={"seed": (spec.seed + number) % 2**31})
        for number in range(runs_of(spec))
    ]
    data = Examples(Repeated(values, count), labels)
    return Trainer(runs, data, CPU, networks=networks.of(runs) if networks else None)


class Repeated:
    """A few examples that stand for many, without taking their memory.

    Args:
        values: ``(few, …)``.
        count: How many there seem to be.
    """

    def __init__(self, values: Tensor, count: int) -> None:
        self.values = values
        self.shape = torch.Size((count, *values.shape[1:]))
        self.dtype = values.dtype
        self.nbytes = values.nbytes

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: Any) -> Tensor:
        places = index if isinstance(index, Tensor) else torch.arange(len(self))[index]
        return self.values[places % len(self.values)]

    def to(self, device: torch.device) -> Repeated:
        """Stay: a rehearsal is on the CPU."""
        return self


class Rehearsed(EagerInputs):
    """Makes everything when it is asked for; what is done in one of many updates is done now."""

    def every(self, count: int, offset: int = 0) -> bool:
        """Say yes."""
        return True


def play(
    spec: RunSpec, without: tuple[Part, str] | None = None, networks: Networks | None = None
) -> None:
    """Make an update of each player, another where some do more than others, and samples.

    Args:
        spec: Of the runs.
        without: A part and one of its options, which is then one plain number, as for one run.
        networks: Of rehearsals before.
    """
    trainer = rehearsing(spec, networks)
    game = trainer.game
    plans = game.blueprint.generator, game.blueprint.discriminator
    for network, plan in zip((game.G, game.D), plans, strict=True):
        layer = draws_by_itself(network)
        if layer is not None:
            raise PartError(
                f"network {plan.network!r} has a layer of {layer}, which draws random numbers that "
                "belong to no run; use StreamDropout of harness.networks.dropout"
            )
    if without is not None:
        owner, option = without
        number = {option: getattr(owner, option)}
        parts = [
            part.model_copy(update=number) if part.id == owner.id else part for part in game.parts
        ]
        game.replace_parts(parts[0], parts[1:])  # type: ignore[arg-type]
    trainer.begin_step()
    with own_draws(spec):
        for player in PLAYERS[game.variant.joint :]:
            losses_add_up(trainer, player)
            inputs = TracingInputs(trainer.updates(player))
            trainer.update(player, inputs)
            if inputs.questions:
                trainer.update(player, Rehearsed(trainer.updates(player)))
        game.sample(2, "rehearsal", chunk=2)
    trainer.read()
    for run in (0, game.runs - 1):
        trainer.state(run)


def own_draws(spec: RunSpec) -> AbstractContextManager[Any]:
    """Watch over the draws of parts from elsewhere, if a run has any."""
    return OwnDraws() if foreign_in_training(spec) else nullcontext()  # type: ignore[no-untyped-call]


class OwnDraws(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Refuses random numbers that no stream of a run gives."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if torch.Tag.nondeterministic_seeded in func.tags and kwargs.get("generator") is None:
            raise RuntimeError(
                f"{func.overloadpacket.__name__} draws random numbers that belong to no run; "
                "batch.uniform and batch.normal draw from each run's own"
            )
        return func(*args, **kwargs)


def losses_add_up(trainer: Trainer, player: Phase) -> None:
    """Refuse a part that drops or multiplies what another part adds to a loss before it.

    Raises:
        PartError: naming both, and what to do.
    """
    game = trainer.game
    hook = f"{player}_objective"
    adding = [part for part in game.parts if getattr(type(part), hook) is not getattr(Part, hook)]
    if len(adding) < 2:
        return
    batch = Batch(game, player, trainer.updates(player))
    with game.G.preserved(), game.D.preserved():
        for before, part in pairwise(adding):
            given = torch.zeros(game.runs, dtype=trainer.dtype, requires_grad=True)
            loss = getattr(part, hook)(game, batch, given)
            slope = torch.autograd.grad(loss.sum(), given, allow_unused=True)[0]
            if slope is None or not bool((slope == 1).all()):
                does = "replaces" if slope is None or not slope.any() else "multiplies"
                remedy = (
                    "override replaced_generator_loss instead"
                    if does == "replaces" and player == "generator"
                    else "override loss_factor instead"
                    if does == "multiplies"
                    else "return `loss` plus a term"
                )
                raise PartError(
                    f"{part.id!r} {does} in `{hook}` what {before.id!r} adds before it; {remedy}, "
                    f"or write {part.id!r} first"
                )


def draws_by_itself(network: Stack) -> str | None:
    """Name a layer that draws random numbers which belong to no run, or None."""
    layers = (layer for layer in network.modules() if isinstance(layer, _DropoutNd))
    return next((f"nn.{type(layer).__name__}" for layer in layers), None)


def explained(spec: RunSpec, error: BaseException) -> str:
    """Say in a sentence what went wrong, where, and with which option."""
    culprit = blamed(error)
    what = f"{type(error).__name__}: {error}".splitlines()[0].partition(" Please file")[0]
    if isinstance(error, SystemExit):
        what += f"; {RAISE}"
    if culprit is None:
        return f"an update of a few runs fails: {what}"
    owner = culprit.owner
    if isinstance(owner, nn.Module):
        why = (
            "draws random numbers that belong to no run; StreamDropout of harness.networks.dropout "
            "takes them from the run's"
            if "randomness" in what
            else f"does what cannot be done for several runs at once: {what}"
            if "vmap" in what
            else f"fails: {what}"
        )
        return f"layer {type(owner).__name__} of the networks {why}"
    found = misused(spec, owner)
    if found is not None:
        option, met = found
        return (
            f"option {option!r} of {owner.id!r} has the shape (runs,) in {culprit.method}, a "
            f"number for each run, and meets {met}; write column(self.{option}), which is "
            "(runs, 1), to line it up with the batch"
        )
    return f"{owner.id!r} fails in {culprit.method}: {what}"


@dataclass(frozen=True)
class Culprit:
    """Whose code failed.

    Attributes:
        owner: A part, or a module of a network.
        method: Which of its functions.
    """

    owner: Part | nn.Module
    method: str


def blamed(error: BaseException) -> Culprit | None:
    """Find the innermost part, or module that is not PyTorch's, in the way to an error."""
    found: Culprit | None = None
    step: TracebackType | None = error.__traceback__
    while step is not None:
        held, method = step.tb_frame.f_locals, f"`{step.tb_frame.f_code.co_name}`"
        owner, asked = held.get("self"), held.get("part")
        if isinstance(owner, Part) or (
            isinstance(owner, nn.Module) and not type(owner).__module__.startswith("torch.")
        ):
            found = Culprit(owner, method)
        elif isinstance(asked, Part):
            # The call itself went wrong, such as one with other arguments than there are.
            found = Culprit(asked, "a hook")
        step = step.tb_next
    return found


def misused(spec: RunSpec, part: Part) -> tuple[str, str] | None:
    """Find the option for want of whose number per run an update would work, and what it met."""
    for option in part.scalar_fields():
        plain = next(each for each in all_parts(spec) if each.id == part.id)
        if getattr(plain, option) is None:
            continue
        if failure(spec, (plain, option)) is not None:
            continue  # it is not this option, or not it alone
        with Meeting(runs_of(spec), spec.settings.batch) as met, suppress(Exception):
            play(spec)
        return option, met.shapes
    return None


class Meeting(TorchFunctionMode):
    """Notes the shapes in an operation that fails, beside those of a number per run.

    Args:
        runs: That train together.
        batch: Examples of each run.

    Attributes:
        shapes: Of the last one, in words.
    """

    def __init__(self, runs: int, batch: int) -> None:
        super().__init__()
        self.runs = runs
        self.batch = batch
        self.shapes = "a tensor of another shape"

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        try:
            return func(*args, **(kwargs or {}))
        except Exception:
            shapes = [tuple(value.shape) for value in args if isinstance(value, Tensor)]
            others = [self.in_words(shape) for shape in shapes if shape != (self.runs,)]
            if others:
                self.shapes = " and ".join(others)
            raise

    def in_words(self, shape: tuple[int, ...]) -> str:
        """Write a shape with its leading axes by name."""
        names = {0: (self.runs, "runs"), 1: (self.batch, "batch")}
        axes = [
            names[i][1] if i in names and size == names[i][0] else str(size)
            for i, size in enumerate(shape)
        ]
        return f"({', '.join(axes)})"
