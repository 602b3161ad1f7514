"""What parts may use of a training in progress: its players, its batches and their draws.

All tensors carry a leading *runs* axis.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from contextlib import AbstractContextManager
from typing import ClassVar, Literal, NamedTuple, Protocol

from torch import Tensor

from harness.networks.base import Judgement


class Targets(NamedTuple):
    """What the discriminator is taught to answer; broadcastable to ``(runs, batch)``."""

    real: Tensor
    fake: Tensor


class Network(Protocol):
    """One network of every run of the cohort."""

    @property
    def theta(self) -> Tensor:
        """All parameters, ``(runs, parameters)``."""

    @property
    def buffers(self) -> dict[str, Tensor]:
        """Buffers by name, ``(runs, …)`` each; a forward pass in training changes them."""

    def preserved(self) -> AbstractContextManager[None]:
        """Put the buffers back to what they are now when the context is left."""


Slots = dict[str, Tensor]
"""What an optimiser keeps for each parameter, ``(runs, parameters)`` by name."""


class Optimizer(Protocol):
    """One player's optimiser."""

    def updated(
        self, theta: Tensor, gradient: Tensor, slot: Slots, ahead: int, inputs: Inputs, /
    ) -> tuple[Tensor, Slots]:
        """Return what the ahead-th update from now would make of weights and slots.

        Differentiable; changes nothing. The inputs are the batch of the update in progress.
        """

    @property
    def updates(self) -> int:
        """How many it has made."""

    @property
    def slot(self) -> Slots:
        """Its own tensors, ``(runs, parameters)`` each, by name."""


class Objective(Protocol):
    """What a part may ask of the variant that it is laid over."""

    has_targets: ClassVar[bool]
    """Whether D is taught target values."""
    boundary: ClassVar[float | None]
    """The logit above which D takes an example for real; None for a critic."""
    logistic: ClassVar[bool]
    """Whether D's answer is a probability, the logit's sigmoid."""
    joint: ClassVar[bool]
    """Whether a generator update trains both networks on G's loss."""

    def real_loss(self, logits: Tensor, target: Tensor, /) -> Tensor:
        """D's loss on real data, element by element."""

    def fake_loss(self, logits: Tensor, target: Tensor, /) -> Tensor:
        """D's loss on generated data, element by element."""

    def fooling_loss(self, logits: Tensor, /) -> Tensor:
        """G's loss on D's logits for generated data, element by element."""


class Game(Protocol):
    """What a part may use of the training in progress."""

    @property
    def G(self) -> Network:
        """The generators."""

    @property
    def D(self) -> Network:
        """The discriminators."""

    @property
    def variant(self) -> Objective:
        """The variant, its scalars ``(runs,)``."""

    @property
    def runs(self) -> int:
        """How many runs train together."""

    @property
    def classes(self) -> int | None:
        """Labelled classes of the data set."""

    @property
    def progress(self) -> float:
        """The share of training that is done, from 0 to 1; in an update, for ``batch.number``."""

    @property
    def memory(self) -> dict[str, dict[str, Tensor]]:
        """What each part remembers, by its id and by name; change it in place."""

    @property
    def optimizer_d(self) -> Optimizer:
        """The discriminators' optimiser."""

    def latents(self, draws: Draws, count: int, stream: str, /) -> Tensor:
        """Draw latents beside the batch's own, by the law of the run's latents.

        Args:
            draws: Where to draw from: the batch.
            count: Examples of each run.
            stream: Names the draw; ``latent`` is the batch's own.

        Returns:
            ``(runs, count, latent)``.
        """

    def targets(self, batch: Batch, /) -> Targets:
        """Return the targets after every part has had its say."""

    def discriminator_loss(self, batch: Batch, /) -> Tensor:
        """Return D's loss on a batch as the parts change it, ``(runs,)``."""

    def gradient(self, batch: Batch, gradient: Tensor, /) -> Tensor:
        """Return a player's gradient as the parts change it, ``(runs, parameters)``."""


class Draws(Protocol):
    """Random numbers of the runs' own streams."""

    def uniform(self, stream: str, /, *shape: int) -> Tensor:
        """Draw U[0, 1) of ``(runs, *shape)`` from the run's own stream of that name."""

    def normal(self, stream: str, /, *shape: int) -> Tensor:
        """Draw N(0, 1) of ``(runs, *shape)`` from the run's own stream of that name."""


class Inputs(Protocol):
    """Hands an update what differs from one to the next.

    A GPU may replay the recording of an update instead of running its Python again. Whatever
    depends on the update's number, or on anything else that Python changes between updates,
    therefore has to come through here: a number computed on the spot would be replayed as it was.
    """

    def input(self, key: Hashable, produce: Callable[[int], Tensor], /) -> Tensor:
        """Return what a function makes of the update's number, counted from 0.

        Args:
            key: Names it, once for all updates of that player.
            produce: Called anew before every update; always gives the same shape and type.
        """

    def every(self, count: int, offset: int = 0, /) -> bool:
        """Whether updates of that player before this one are a multiple of a count.

        Args:
            count: One update in so many.
            offset: Updates that are counted before the first.
        """


class Batch(Draws, Inputs, Protocol):
    """What one update sees. Each thing is made when first asked for, and once."""

    @property
    def phase(self) -> Literal["discriminator", "generator"]:
        """Whose update it is."""

    def number(self, name: str, of: Callable[[int], float], /) -> Tensor:
        """Return a number that depends on the update, a tensor without dimensions.

        Args:
            name: Names it, once for all updates of that player.
            of: Makes it from the number of that player's updates since the start of training.
        """

    @property
    def size(self) -> int:
        """Examples of each run."""

    @property
    def real(self) -> Tensor:
        """Real data, ``(runs, batch, …)``, images in [−1, 1]; fresh for every update."""

    @property
    def labels(self) -> Tensor | None:
        """Classes of the real data, int64 ``(runs, batch)``; None without labels."""

    @property
    def latents(self) -> Tensor:
        """z, ``(runs, batch, latent)``, as the parts draw it."""

    @property
    def condition(self) -> Tensor | None:
        """What is joined to z, and to what D sees where its plan says so."""

    @property
    def fake(self) -> Tensor:
        """Generated data; carries gradient to G in a generator update only."""

    @property
    def shown_real(self) -> Tensor:
        """The real data as D sees them, after every part's ``show``."""

    @property
    def shown_fake(self) -> Tensor:
        """The generated data as D sees them."""

    @property
    def judged_real(self) -> Judgement:
        """D's answer to the real data; without gradient to D's weights in a generator update."""

    @property
    def judged_fake(self) -> Judgement:
        """D's answer to the generated data."""

    @property
    def opponent(self) -> Tensor | None:
        """D's weights that judge this batch, ``(runs, parameters)``; None for those D has."""

    def generate(self, z: Tensor, label: str, /) -> Tensor:
        """Generate from other latents, with the batch's condition.

        Carries gradient to G in a generator update only; the label names the draws of dropout.
        """

    def show(self, x: Tensor, label: str, /) -> Tensor:
        """Apply every part's ``show``; the label names their draws."""

    def judge(self, x: Tensor, label: str, /) -> Judgement:
        """Ask D about a batch as it is; the label names the draws of its dropout."""

    def against(self, theta: Tensor, ahead: int, /) -> Batch:
        """Return the same data as an update of D to come would see them, by weights of its own.

        Args:
            theta: D's weights by then, ``(runs, parameters)``.
            ahead: Which update of D from now it is, from 1.
        """
