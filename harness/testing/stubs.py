"""A game and a batch whose every number a proof has chosen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Literal

import torch
from torch import Tensor

from harness.networks.base import Judgement
from harness.parts import Targets


@dataclass
class FixedBatch:
    """What an update sees, given beforehand.

    Attributes:
        judged_real: D's answer to the real data.
        judged_fake: D's answer to the generated data.
        real: Real data, where a part needs them.
        fake: Generated data, where a part needs them.
        labels: Classes of the real data.
        opponent: Weights of D that judge it.
        latents: z, where a part needs it.
        condition: What is joined to z.
        counter: Which update it is.
        formula: D's logits ``(runs, batch)`` for a batch ``(runs, batch, …)``.
        judged: Labels under which D was asked.
        noise: Draws by stream name.
        asked: Streams and shapes that were asked for, in order.
    """

    judged_real: Judgement = field(default_factory=lambda: Judgement(torch.empty(0), {}))
    judged_fake: Judgement = field(default_factory=lambda: Judgement(torch.empty(0), {}))
    real: Tensor = field(default_factory=lambda: torch.empty(0))
    fake: Tensor = field(default_factory=lambda: torch.empty(0))
    labels: Tensor | None = None
    opponent: Tensor | None = None
    latents: Tensor = field(default_factory=lambda: torch.empty(0))
    condition: Tensor | None = None
    counter: int = 0
    formula: Callable[[Tensor], Tensor] = lambda x: x.flatten(2).sum(2)
    judged: list[str] = field(default_factory=list)
    phase: Literal["discriminator", "generator"] = "discriminator"
    noise: dict[str, Tensor] = field(default_factory=dict)
    asked: list[tuple[str, tuple[int, ...]]] = field(default_factory=list)

    def uniform(self, stream: str, *shape: int) -> Tensor:
        """Give the draws of a stream, and note what was asked for."""
        self.asked.append((stream, shape))
        return self.noise[stream]

    def normal(self, stream: str, *shape: int) -> Tensor:
        """Give the draws of a stream, and note what was asked for."""
        self.asked.append((stream, shape))
        return self.noise[stream]

    def number(self, name: str, of: Callable[[int], float]) -> Tensor:
        """Return a number that depends on the update."""
        return torch.tensor(of(self.counter), dtype=torch.float64)

    def every(self, count: int, offset: int = 0) -> bool:
        """Whether updates before this one are a multiple of a count."""
        return (self.counter + offset) % count == 0

    @property
    def size(self) -> int:
        """Examples of each run."""
        return self.real.shape[1]

    @property
    def shown_real(self) -> Tensor:
        """The real data, as nothing changes them."""
        return self.real

    @property
    def shown_fake(self) -> Tensor:
        """The generated data, as nothing changes them."""
        return self.fake

    def show(self, x: Tensor, label: str) -> Tensor:
        """Change nothing."""
        return x

    def judge(self, x: Tensor, label: str) -> Judgement:
        """Answer by the formula, and note the label."""
        self.judged.append(label)
        return Judgement(self.formula(x), {})


@dataclass
class FixedGame:
    """A game of which only targets, weights and memory matter.

    Attributes:
        real_target: What D is taught about real data.
        fake_target: What D is taught about generated data.
    """

    runs: int
    real_target: Tensor = field(default_factory=lambda: torch.ones(1, 1, dtype=torch.float64))
    fake_target: Tensor = field(default_factory=lambda: torch.zeros(1, 1, dtype=torch.float64))
    G: SimpleNamespace = field(default_factory=SimpleNamespace)
    D: SimpleNamespace = field(default_factory=SimpleNamespace)
    memory: dict[str, dict[str, Tensor]] = field(default_factory=dict)
    classes: int | None = None
    progress: float = 0.0

    def targets(self, batch: FixedBatch) -> Targets:
        """Give the targets that were chosen."""
        return Targets(self.real_target, self.fake_target)


def logits_batch(real: Tensor, fake: Tensor) -> FixedBatch:
    """Make a batch of which only D's logits matter."""
    return FixedBatch(Judgement(real, {}), Judgement(fake, {}))
