"""The kit's proofs about extractors fail where they should."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ClassVar, Self

import pytest
import torch
from torch import Tensor, nn

from harness.metrics.extractors.base import Extractor, extractors
from harness.metrics.extractors.classifiers import DigitsClassifier
from harness.metrics.extractors.thumbnail import Thumbnail, ThumbnailExtractor
from harness.testing import checks, sight

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    """Let nothing of an extractor be kept from one test to the next."""
    sight.subject.cache_clear()
    yield
    sight.subject.cache_clear()
    extractors._classes.pop("bad", None)


def register(network: Callable[[], nn.Module], **attributes: object) -> None:
    class Bad(ThumbnailExtractor):
        """An extractor with something wrong."""

        @classmethod
        def load(cls, device: torch.device, root: Path | None = None) -> Self:
            return cls(network(), device, cls.weights_sha256())

    for name, value in attributes.items():
        setattr(Bad, name, value)
    extractors.register("bad", source="this test")(Bad)


def failures(*wanted: str) -> set[str]:
    """Name the checks that fail: of all, or of those that have one of some words in their name."""
    failed = set()
    for check in checks("extractor", "bad"):
        if wanted and not any(word in check.name for word in wanted):
            continue
        try:
            check()
        except (AssertionError, RuntimeError):
            failed.add(check.name.removeprefix("bad: "))
    return failed


def wrapped(change: Callable[[Tensor], Tensor]) -> Callable[[], nn.Module]:
    class Wrapped(Thumbnail):
        def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
            features, none = super().forward(images)
            return change(features), none

    return lambda: Wrapped().eval()


def test_a_copy_of_a_good_one_passes() -> None:
    register(lambda: Thumbnail().eval())
    assert failures() == set()


def test_what_it_overlooks_must_be_said_and_must_be_true() -> None:
    register(lambda: Thumbnail().eval(), overlooks=())
    assert failures("grows with noise", "grows with blur") == {"the distance grows with noise"}
    sight.subject.cache_clear()
    extractors._classes.pop("bad")
    register(lambda: Thumbnail().eval(), overlooks=("noise", "blur"))
    assert failures("grows with noise", "grows with blur") == {"the distance grows with blur"}


def test_one_that_sees_only_brightness_is_found_out() -> None:
    register(wrapped(lambda f: f.mean(1, keepdim=True).expand(-1, 3) * torch.arange(1.0, 4)))
    assert failures("grows with blur")


def test_one_that_guesses_is_found_out() -> None:
    register(wrapped(lambda f: f + torch.rand(f.shape)))
    words = {"repeats itself", "batches do not matter"}
    assert failures(*words) == words


def test_one_that_looks_at_the_batch_is_found_out() -> None:
    register(wrapped(lambda f: f - f.mean(0) if len(f) else f))
    assert failures("batches")


def test_one_in_training_mode_is_found_out() -> None:
    class Learning(Thumbnail):
        def train(self, mode: bool = True) -> Self:
            return self

    class Counting(Thumbnail):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("seen", torch.zeros(()))

        def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
            self.seen += len(images)
            return super().forward(images)

    def open_to_change() -> nn.Module:
        network = DigitsClassifier.untrained().eval()
        return network

    register(lambda: Counting().eval())
    assert failures("frozen", "repeats", "batches") == {"is frozen"}
    for network in (open_to_change, lambda: Learning().eval()):
        sight.subject.cache_clear()
        extractors._classes.pop("bad")
        register(network, channels=(1,))
        assert failures("is frozen")


def test_one_without_colour_is_found_out() -> None:
    class Grey(Thumbnail):
        def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
            return super().forward(images.float().mean(1, keepdim=True))

    register(lambda: Grey().eval())
    words = ("takes what it declares", "repeats", "batches")
    assert failures(*words) == {"takes what it declares"}


def test_one_that_cannot_classify_is_found_out() -> None:
    class Untrained(DigitsClassifier):
        """A classifier that was never trained."""

        classifies: ClassVar[tuple[str, ...]] = ("digits",)

        @classmethod
        def load(cls, device: torch.device, root: Path | None = None) -> Self:
            torch.manual_seed(0)
            network = cls.untrained().requires_grad_(False).eval()
            return cls(network, device, DigitsClassifier.weights_sha256())

        @classmethod
        def weights_sha256(cls) -> str:
            return DigitsClassifier.weights_sha256()

    extractors.register("bad", source="this test")(Untrained)
    found: Extractor = Untrained.load(CPU)
    assert not found.network.training
    assert failures("knows its classes")
