"""Writes a trained generator as one file that plain PyTorch loads, without ganbench.

``.pt2`` is what ``torch.export`` writes, which is where PyTorch goes on; it is read by versions
about as new as the one that wrote it. ``.pt`` is TorchScript, which PyTorch keeps reading but no
longer develops: for older versions.
"""

from __future__ import annotations

import copy
import io
import json
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from harness.errors import GanbenchError
from harness.networks.dropout import StreamDropout
from harness.networks.multiple import Generators
from harness.parts import Condition, Part
from harness.sampling.generator import TrainedGenerator, by_law, load_generator
from harness.store.outputs import check_file, write_named
from harness.store.wording import listing

LOADERS = {".pt2": 'torch.export.load("{file}").module()', ".pt": 'torch.jit.load("{file}")'}
TOLERANCE = 1e-5
"""Largest difference between what was trained and what is exported, relative to the largest
value."""


class OwnDropout(nn.Module):
    """Dropout at test time that draws its own noise from PyTorch's generator.

    Args:
        p: Probability of zeroing.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        """Drop units of ``x (batch, …)``."""
        return torch.where(torch.rand_like(x) >= self.p, x / (1 - self.p), torch.zeros_like(x))


class OwnTurns(nn.Module):
    """Generators that take turns in a batch of any size.

    Every one makes every example, and the right one is chosen: dearer than
    :class:`~harness.networks.multiple.Generators`, but without a step that depends on the batch's
    size, which could not be exported.

    Args:
        members: The generators.
    """

    def __init__(self, members: nn.ModuleList) -> None:
        super().__init__()
        self.members = members

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """Map ``z (batch, latent)`` to examples ``(batch, *shape)``."""
        made = torch.stack([member(z, y) for member in self.members])
        places = torch.arange(z.shape[0])
        return made[places % len(self.members), places]


class FromNormal(nn.Module):
    """A generator that turns normal latents into those of its run's law by itself.

    Args:
        module: The generator.
        laws: Parts of the run that change the law.
    """

    def __init__(self, module: nn.Module, laws: tuple[Part, ...]) -> None:
        super().__init__()
        self.module = module
        self.laws = laws

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """Map normal ``z (batch, latent)`` to examples ``(batch, *shape)``."""
        z = by_law(self.laws, z)
        examples: Tensor = self.module(z) if y is None else self.module(z, y)
        return examples


def export(path: Path, output: Path, *, force: bool) -> dict[str, Any]:
    """Export a run's newest generator.

    Args:
        path: The run's folder.
        output: ``.pt2`` (torch.export) or ``.pt`` (TorchScript).
        force: Whether a file that is there may be replaced.

    Returns:
        ``run``, ``folder``, ``file``, ``step``, the shapes of its ``inputs`` and ``output``
        without the batch, ``random`` (whether dropout is on), the ``class_names`` in the order of
        y's columns (None without any), and the ``usage``: lines of PyTorch.

    Raises:
        GanbenchError: if the file is there, or the exported generator is not the trained one.
    """
    file = check_file("--output", output, tuple(LOADERS), force=force)
    G = load_generator(path)
    info = {"run": G.spec.id, "step": G.step, "variant": G.spec.variant.id}
    names = G.class_names if G.condition.classes else None
    info |= {"class_names": list(names)} if names is not None else {}
    data, is_random = exported(G, file.suffix.lower(), info)
    write_named(file, data)
    inputs = {"z": [G.latent], "y": [G.condition.size]} if G.condition.size else {"z": [G.latent]}
    return {
        "run": G.spec.id,
        "folder": str(path),
        "file": str(file),
        "step": G.step,
        "inputs": inputs,
        "output": list(G.shape),
        "random": is_random,
        "class_names": None if names is None else list(names),
        "usage": usage(G, file),
    }


def exported(G: TrainedGenerator, suffix: str, info: dict[str, Any]) -> tuple[bytes, bool]:
    """Write a generator in a format of :data:`LOADERS`, and check that it does the same.

    Args:
        G: The generator.
        suffix: ``.pt2`` or ``.pt``.
        info: Stored in the file as ``ganbench.json``.

    Returns:
        The file's content, and whether the generator draws noise of its own.

    Raises:
        GanbenchError: if the exported generator's samples differ.
    """
    module, is_random = self_contained(G)
    inputs = example(G, 2)
    extra = {"ganbench.json": json.dumps(info)}
    buffer = io.BytesIO()
    if suffix == ".pt2":
        batch: Any = torch.export.Dim.DYNAMIC
        try:
            program = torch.export.export(
                module, inputs, dynamic_shapes=tuple({0: batch} for _ in inputs)
            )
        except Exception as error:  # of many kinds, by what the network does
            reason = " ".join(str(error).split())[:300]
            raise GanbenchError(f"torch.export cannot read this generator: {reason}") from error
        torch.export.save(program, buffer, extra_files=extra)
        again: Any = torch.export.load(io.BytesIO(buffer.getvalue())).module()
    else:
        with warnings.catch_warnings():
            jit: Any = torch.jit
            warnings.filterwarnings("ignore", message=".*torch.jit.*is deprecated")
            # What they warn of is what is compared below.
            warnings.simplefilter("ignore", jit.TracerWarning)
            script = jit.trace(module, inputs, check_trace=False)
            jit.save(script, buffer, _extra_files=extra)
            again = jit.load(io.BytesIO(buffer.getvalue()))
    for count in (1, 3):
        compare(module, again, example(G, count), is_random=is_random)
    return buffer.getvalue(), is_random


def self_contained(G: TrainedGenerator) -> tuple[nn.Module, bool]:
    """Copy a generator so that it needs nothing but its inputs; say whether it draws noise."""
    is_random = False
    root = nn.ModuleDict({"G": copy.deepcopy(G.module)})
    for name, layer in list(root.named_modules()):
        if isinstance(layer, StreamDropout):
            is_random |= layer.active
            root.set_submodule(name, OwnDropout(layer.p) if layer.active else nn.Identity())
        elif isinstance(layer, Generators):
            root.set_submodule(name, OwnTurns(layer.members))
    module = root["G"]
    return (FromNormal(module, G.laws) if G.laws else module), is_random


def example(G: TrainedGenerator, count: int) -> tuple[Tensor, ...]:
    """Make inputs of so many examples."""
    z, y = G.inputs(0, count)
    # Copies, because a file would get all that they are views of.
    return (z.clone(),) if y is None else (z.clone(), y.clone())


def compare(
    module: nn.Module, again: nn.Module, inputs: tuple[Tensor, ...], *, is_random: bool
) -> None:
    """Check what was exported against what was trained; where noise is drawn, from one state.

    Raises:
        GanbenchError: if they differ.
    """
    made = []
    for generator in (module, again):
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            made.append(generator(*inputs))
    trained, other = made
    largest = max(1.0, float(trained.abs().max()))
    if (
        trained.shape != other.shape
        or not float((trained - other).abs().max()) <= TOLERANCE * largest
    ):
        noise = " (dropout is on)" if is_random else ""
        raise GanbenchError(
            f"this generator{noise} cannot be exported: what is loaded again makes other samples"
        )


def usage(G: TrainedGenerator, file: Path) -> list[str]:
    """Say in three lines of PyTorch how to sample from the file, and what its classes are."""
    shape = ", ".join(map(str, (64, *G.shape)))
    kind = f"({shape}) in [−1, 1]" if len(G.shape) == 3 else f"({shape})"
    dtype = "" if G.dtype == torch.float32 else f", dtype={G.dtype}"
    inputs = [f"torch.randn(64, {G.latent}{dtype})"]
    if G.condition.size:
        inputs.append(draw_condition(G.condition, dtype))
    lines = [
        "import torch",
        "G = " + LOADERS[file.suffix.lower()].format(file=file),
        f"x = G({', '.join(inputs)})  # {kind}",
    ]
    if G.condition.classes and G.class_names is not None:
        lines.append(f"# classes by column of y, from 0: {listing(G.class_names)}")
    return lines


def draw_condition(condition: Condition, dtype: str) -> str:
    """Write an expression that draws y for 64 examples."""
    one_hot = [condition.classes, *condition.categories]
    blocks = [f"torch.eye({size}{dtype})[torch.randint({size}, (64,))]" for size in one_hot if size]
    if condition.continuous:
        blocks.append(f"torch.rand(64, {condition.continuous}{dtype}) * 2 - 1")
    return blocks[0] if len(blocks) == 1 else f"torch.cat([{', '.join(blocks)}], dim=1)"
