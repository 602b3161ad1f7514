"""Proofs about networks, data sets and metrics, each taken alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn

from harness.datasets.base import Kind, datasets, to_bytes, to_unit_range
from harness.metrics.base import Conditions, Observation, metrics
from harness.metrics.probes.base import probes
from harness.networks.base import (
    Judgement,
    build_discriminator,
    build_generator,
    networks,
    unsupported,
)
from harness.networks.blueprint import Blueprint
from harness.parts.blueprint import blueprint_of
from harness.testing.cells import CPU
from harness.testing.specs import make_spec
from harness.testing.training import require
from harness.training.stack import Stack, inner_batch
from harness.training.streams import seeded

SHAPES = ((1,), (2,), (1, 16, 16), (3, 16, 16), (1, 32, 32), (3, 32, 32), (1, 64, 64), (3, 64, 64))
WIDTH, LATENT, BATCH = 4, 5, 4
CHANGES: dict[str, tuple[Any, ...]] = {
    "activation": ("relu", "leaky-relu", "elu"),
    "upsampling": ("transposed", "pixel-shuffle", "nearest"),
    "downsampling": ("stride", "average", "max"),
    "first_norm": (True, False),
    "condition": (3,),
    "condition_layers": (True,),
    "dropout": (0.5,),
    "dropout_at_test": (True,),
    "classes": (3,),
    "code": (4,),
    "minibatch": ((3, 2),),
    "initialization": ("orthogonal",),
    "copies": (2,),
    "pack": (2,),
}
"""Values of a plan's fields that a network has to answer to."""
NEEDS: dict[str, dict[str, Any]] = {
    "condition_layers": {"condition": 3},
    "dropout_at_test": {"dropout": 0.5},
}
"""What has to be asked for before a field can mean anything."""


def blueprints(name: str) -> Iterator[Blueprint]:
    """Plan a small pair of a family's networks for every shape that fits."""
    family = networks.get(name)
    for shape in SHAPES:
        if family().misfit(shape) is None:
            player = name if family.has_generator else "mlp-small"
            plan = Blueprint.plain(name, WIDTH, LATENT, shape, batch=BATCH)
            yield replace(plan, generator=replace(plan.generator, network=player))


def built(blueprint: Blueprint, player: str, run: int = 0) -> nn.Module:
    """Build one player with a run's first weights."""
    with seeded(run, f"init/{player}"):
        return (build_generator if player == "generator" else build_discriminator)(blueprint)


def players(name: str) -> tuple[str, ...]:
    """Name the players that a family builds."""
    both = ("generator", "discriminator")
    return both if networks.get(name).has_generator else both[1:]


def inputs(blueprint: Blueprint, player: str, runs: int) -> tuple[Tensor, Tensor | None]:
    """Draw what a stacked player takes."""
    draws = torch.Generator().manual_seed(1)
    shape = (blueprint.latent,) if player == "generator" else blueprint.judged_shape
    condition = getattr(blueprint, player).condition
    x = torch.randn(runs, BATCH, *shape, generator=draws).double()
    y = torch.randn(runs, BATCH, condition, generator=draws).double() if condition else None
    return x, y


def stacked(modules: Sequence[nn.Module], x: Tensor, y: Tensor | None) -> Stack:
    """Stack one player of some runs, for inputs like those given."""
    example, condition = x[0].float(), None if y is None else y[0].float()
    return Stack(modules, example, condition, device=CPU, dtype=torch.float64)


def stack(blueprint: Blueprint, player: str, runs: int) -> Stack:
    """Build and stack a player for some runs."""
    modules = [built(blueprint, player, run) for run in range(runs)]
    return stacked(modules, *inputs(blueprint, player, 1))


def half(layer: str, shape: tuple[int, ...], runs: int) -> Tensor:
    """Give a dropout layer noise that drops every other number."""
    return (
        (torch.arange(torch.Size(shape).numel()) % 2)
        .double()
        .reshape(1, *shape)
        .expand(runs, *shape)
    )


def answer(blueprint: Blueprint, player: str, runs: int = 2, training: bool = True) -> Any:
    """Let a stacked player answer fixed inputs."""
    x, y = inputs(blueprint, player, runs)
    return stack(blueprint, player, runs)(
        x, y, training=training, noise=lambda layer, shape: half(layer, shape, runs)
    )


def answers_by_shape(name: str) -> None:
    """Examples have the data's shape, images within ±1; logits are finite, one per example."""
    for blueprint in blueprints(name):
        for player in players(name):
            for training in (True, False):
                output = answer(blueprint, player, training=training)
                if player == "generator":
                    require(output.shape == (2, BATCH, *blueprint.shape), f"makes {output.shape}")
                    inside = len(blueprint.shape) == 1 or bool((output.abs() <= 1).all())
                    require(inside, "images leave [−1, 1]")
                    continue
                require(isinstance(output, Judgement), "a discriminator gives no Judgement")
                require(output.logits.shape[:2] == (2, BATCH), f"logits {output.logits.shape}")
                require(bool(output.logits.isfinite().all()), "logits are not finite")
                require(bool(output.features), "no features are named")


def every_weight_learns(name: str) -> None:
    """The loss's gradient reaches every parameter of both players.

    Once they have moved a little: behind a weight that starts at 0 nothing learns in the first
    step.
    """
    for blueprint in blueprints(name):
        for player in players(name):
            made = stack(blueprint, player, 1)
            x, y = inputs(blueprint, player, 1)
            start = made.theta.detach()
            theta = start + torch.arange(start.shape[1]).to(start).cos() / 100
            theta.requires_grad_()
            output = made(x, y, theta=theta, noise=lambda layer, shape: half(layer, shape, 1))
            value = output if player == "generator" else output.logits
            weighing = torch.arange(value.numel(), dtype=value.dtype).cos() + 0.1
            (slope,) = torch.autograd.grad((value.flatten() * weighing).sum(), theta)
            parts = torch.split(slope, made.sizes, dim=1)
            still = [word for word, part in zip(made.names, parts, strict=True) if not part.any()]
            require(not still, f"no gradient reaches {', '.join(still)} of the {player}")


def stacked_equals_alone(name: str) -> None:
    """Two runs stacked answer as each module does by itself, also their inputs' gradient."""
    for blueprint in blueprints(name):
        for player in players(name):
            x, y = inputs(blueprint, player, 2)
            pair = answer(blueprint, player)
            value = pair if player == "generator" else pair.logits
            for run in range(2):
                alone = stack_of_one(blueprint, player, run, x, y)
                torch.testing.assert_close(value[run], alone[0], rtol=1e-9, atol=1e-9)


def stack_of_one(
    blueprint: Blueprint, player: str, run: int, x: Tensor, y: Tensor | None
) -> Tensor:
    """Let one run's player answer by itself."""
    single = stacked([built(blueprint, player, run)], x, y)
    output = single(
        x[run : run + 1],
        None if y is None else y[run : run + 1],
        noise=lambda layer, shape: half(layer, shape, 1),
    )
    answered: Tensor = output if player == "generator" else output.logits
    return answered


def declared_support_is_true(name: str) -> None:
    """What the family says it can be built with changes what is built; the rest is refused."""
    family = networks.get(name)
    for blueprint in blueprints(name):
        for player in players(name):
            plan = getattr(blueprint, player)
            for field, values in CHANGES.items():
                if not hasattr(plan, field):
                    continue
                rests_on = replace(plan, **NEEDS.get(field, {}))
                base = replace(blueprint, **{player: rests_on})
                changed = [
                    replace(base, **{player: replace(rests_on, **{field: value})})
                    for value in values
                ]
                if any(unsupported(other) for other in changed):
                    refused = [unsupported(other) is not None for other in changed]
                    require(
                        all(refused) and field not in family.supports,
                        f"{field} is supported in part: {refused}",
                    )
                    continue
                prints = {fingerprint(other, player) for other in changed}
                default = fingerprint(base, player)
                # Of kinds of a layer, one may be what the family's source uses.
                alike = 1 if default in prints and len(values) > 1 else 0
                require(
                    len(prints) == len(values) and (default not in prints or bool(alike)),
                    f"another {field} builds the same {player}",
                )


@lru_cache(maxsize=64)  # what is compared with is the same for most fields
def fingerprint(blueprint: Blueprint, player: str) -> tuple[Any, ...]:
    """Tell one built player from another: its layers, its weights and its answers."""
    module = built(blueprint, player)
    weights = tuple(round(float(p.detach().double().sum()), 9) for p in module.parameters())
    output = answer(blueprint, player, training=False)
    parts = [output] if player == "generator" else [output.logits, *output.outputs.values()]
    said = tuple(round(float(part.detach().abs().sum()), 6) for part in parts)
    return (repr(module), weights, said, inner_batch(module, BATCH))


def splits_are_sound(name: str) -> None:
    """Three splits of one kind and shape, labelled within range, the same at every reading."""
    dataset = datasets.get(name)()
    seen: dict[str, set[str]] = {}
    for split in ("train", "validation", "test"):
        examples = dataset.load(split)
        values, labels = examples.values, examples.labels
        wanted = torch.uint8 if dataset.kind == "images" else torch.float32
        require(values.dtype == wanted, f"{split} is {values.dtype}, not {wanted}")
        require(tuple(values.shape[1:]) == tuple(dataset.shape), f"{split} holds {values.shape}")
        require(
            len(values) > 0 and bool((values[:100] != values[0]).any()), f"{split} is all alike"
        )
        require(dataset.load(split).sha256 == examples.sha256, f"{split} changes when read again")
        if dataset.classes is not None:
            require(labels is not None, f"{split} has no labels")
            distinct = labels.unique()  # type: ignore[union-attr]
            inside = int(distinct[0]) >= 0 and int(distinct[-1]) < dataset.classes
            require(inside, f"labels of {split} lie outside 0…{dataset.classes - 1}")
        seen[split] = {str(row) for row in values[:50].flatten(1).double().mean(1).tolist()}
    require(seen["train"] != seen["test"], "the test split begins like the training split")
    if dataset.train_size is not None:
        found = len(dataset.load("train"))
        require(
            found == dataset.train_size,
            f"train_size is {dataset.train_size}, and the training split has {found} examples",
        )


def images_survive_their_range(name: str) -> None:
    """Images come back as the same bytes from [−1, 1]."""
    dataset = datasets.get(name)()
    if dataset.kind == "images":
        images = dataset.load("validation").values[:64]
        require(torch.equal(to_bytes(to_unit_range(images, torch.float32)), images), "bytes change")


CENTRES = 6 * torch.eye(4, 8, dtype=torch.float64)
"""Of four classes."""


def observed(count: int, seed: int, classes: int = 4, shift: float = 0.0) -> Observation:
    """Make features and logits of some of four classes, scattered around their centres."""
    draws = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % classes
    features = CENTRES[labels] + torch.randn(count, 8, generator=draws).double() + shift
    logits = -(features[:, None] - CENTRES).square().sum(2) / 2
    return Observation(features, logits, labels)


def conditions(samples: int, kind: Kind) -> Conditions:
    """Describe an evaluation of images through a classifier of four classes, or of points."""
    if kind == "images":
        return Conditions(kind, "kit-cnn@00000000", samples, "train", classes=4)
    modes = CENTRES.numpy()
    return Conditions(kind, "data", samples, "train", classes=4, modes=modes, sigma=1.0)


def metric_is_sound(name: str) -> None:
    """Columns match values, the same twice, whatever the order; real data beats one class."""
    cls = metrics.get(name)
    kinds: tuple[Kind, ...] = ("images", "points")
    enough = [(n, kind) for kind in kinds for n in (400, 1000) if cls.applies(conditions(n, kind))]
    if not enough:
        return
    count, kind = enough[0]
    metric = cls(conditions(count, kind))
    columns = metric.columns()
    require(len({column.name for column in columns}) == len(columns), "two columns share a name")
    reference = metric.reference(observed(2000, 1))
    real, collapsed = observed(count, 2), observed(count, 3, classes=1, shift=1.0)
    good, bad = metric.values(real, reference), metric.values(collapsed, reference)
    require(len(good) == len(columns), f"{len(good)} values for {len(columns)} columns")
    again = metric.values(real, reference)
    torch.testing.assert_close(torch.tensor(good), torch.tensor(again), equal_nan=True)
    if not cls.draws:
        order = torch.arange(count - 1, -1, -1)
        logits = None if real.logits is None else real.logits[order]
        turned = metric.values(Observation(real.features[order], logits), reference)
        torch.testing.assert_close(
            torch.tensor(good), torch.tensor(turned), rtol=1e-9, atol=1e-9, equal_nan=True
        )
    judged = [
        g < b if column.better == "lower" else g > b
        for column, g, b in zip(columns, good, bad, strict=True)
        if column.better != "none"
    ]
    require(not judged or any(judged), "no column prefers real data to a single class")
    broken = Observation(torch.zeros(count, 8).double(), torch.zeros(count, 4).double())
    values = metric.values(broken, reference)
    require(len(values) == len(columns), "a constant generator has no numbers")


def probe_has_columns(name: str) -> None:
    """A probe names its columns, each once, for the data sets that it can be made of."""
    cls = probes.get(name)
    made = 0
    for spec in (make_spec(dataset, "gan") for dataset in ("ring8", "digits")):
        dataset = datasets.get(spec.dataset.id)()
        reason = cls.misfit(dataset, blueprint_of(spec))
        if reason is not None:
            require(len(reason.split()) >= 4, f"{reason!r} is no reason")
            continue
        made += 1
        columns = [column.name for column in cls.columns(dataset, spec.settings.reference)]
        require(bool(columns), f"nothing is measured of {dataset.id}")
        require(len(set(columns)) == len(columns), "two columns share a name")
    require(made > 0, "it can be made of neither points nor labelled images")
