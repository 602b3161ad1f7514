"""The state of a cohort's runs: a tree of tensors, of which all that is done to runs is a map."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor


class StackedState:
    """Tensors of several runs, ``(runs, …)`` each, by name, and others of the same kind below.

    What lies in the tree is kept with its runs, saved, loaded, compared and replayed; nothing
    else lists it. An update changes its tensors in place, or puts others in their stead.

    Args:
        tensors: Its own tensors; the dictionary is taken over.
        nodes: What is below, by name.
    """

    def __init__(
        self,
        tensors: dict[str, Tensor] | None = None,
        nodes: Mapping[str, StackedState] | None = None,
    ) -> None:
        self.tensors = {} if tensors is None else tensors
        self.nodes = dict(nodes or {})

    def named(self) -> dict[str, Tensor]:
        """Return all tensors, or views that cover them, by the names that they have in files."""
        below = {
            f"{node}/{name}": value
            for node, held in self.nodes.items()
            for name, value in held.named().items()
        }
        return self.tensors | below

    def holders(self) -> Iterator[dict[str, Tensor]]:
        """Iterate over the dictionaries that hold the tensors, its own first."""
        yield self.tensors
        for node in self.nodes.values():
            yield from node.holders()

    def leaves(self) -> list[Tensor]:
        """List all tensors as they lie, whole."""
        return [value for holder in self.holders() for value in holder.values()]

    def keep(self, runs: list[int]) -> None:
        """Go on with some of the runs, by position."""
        for name, value in self.tensors.items():
            kept = value.detach()[runs]
            self.tensors[name] = kept.requires_grad_(value.requires_grad)
        for node in self.nodes.values():
            node.keep(runs)

    def state(self, run: int) -> dict[str, Tensor]:
        """Return what one run needs to go on, by name, as copies on the CPU."""
        return {
            name: value.detach()[run].to("cpu", copy=True).contiguous()
            for name, value in self.named().items()
        }

    @torch.no_grad()
    def load(self, run: int, state: Mapping[str, Tensor]) -> None:
        """Put one run back to where :meth:`state` was taken.

        Raises:
            KeyError: if a name is missing.
        """
        for name, value in self.named().items():
            value[run].copy_(state[name].view(value.shape[1:]))
