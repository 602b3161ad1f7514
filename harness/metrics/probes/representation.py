"""What D learned: a linear classifier on its hidden layers, beside k-means features and pixels."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import adaptive_max_pool2d, unfold

from harness.datasets.base import Dataset, Examples, Values
from harness.errors import DataError
from harness.metrics.cache import ReferenceCache
from harness.metrics.probes.base import Finding, Hidden, Probe, probes
from harness.networks.blueprint import Blueprint
from harness.spec import Split
from harness.store.records import MetricInfo

SCORED: Split = "test"
"""The split whose images are classified; a reported number never rests on validation."""
LABELLED = 1000
"""Training images whose labels the classifier sees, equally many of each class."""
GRID = 4
"""Feature maps are max-pooled to at most so many places along each side."""
PENALTIES = (0.01, 0.1, 1.0, 10.0, 100.0)
"""C of the classifier, chosen on a held-out fifth of the labelled images."""
HELD_OUT = 5
PASSES = 2000
"""Most passes of the solver; a fit that needs more stops there, the same way each time."""
CENTROIDS = 400
PATCH = 6
PATCHES = 50_000
CONTRAST = 10.0
WHITENING = 0.1
"""Added to a patch's variance and to eigenvalues, on the scale of 0…255 and of 1 (Coates and
Ng)."""
ROUNDS = 30
"""Of k-means."""
CHUNK = 100
"""Images per pass."""

Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class Accuracy:
    """How well a linear classifier does on features.

    Attributes:
        share: Of the images classified rightly.
        penalty: C, as chosen.
        dimensions: Of the features.
    """

    share: float
    penalty: float
    dimensions: int


def pooled(hidden: dict[str, Tensor]) -> Tensor:
    """Flatten hidden layers into features.

    Args:
        hidden: By layer: feature maps ``(n, channels, height, width)``, max-pooled to at most
            4×4, or units ``(n, units)``.

    Returns:
        float32 ``(n, dimensions)`` on the CPU.
    """
    flat = []
    for layer in hidden.values():
        if layer.ndim == 4:
            height, width = (min(side, GRID) for side in layer.shape[2:])
            layer = adaptive_max_pool2d(layer, (height, width))
        flat.append(layer.flatten(1).float().cpu())
    return torch.cat(flat, dim=1)


def choose_labelled(labels: Tensor, classes: int) -> Tensor:
    """Choose the labelled images: equally many of each class, at random but always the same ones.

    Returns:
        Positions, int64, in random order.

    Raises:
        DataError: if a class has too few.
    """
    random = np.random.RandomState(0)
    order = torch.from_numpy(random.permutation(len(labels)))
    each = LABELLED // classes
    chosen = [order[labels[order] == k][:each] for k in range(classes)]
    fewest = min(len(positions) for positions in chosen)
    if fewest < each:
        raise DataError(
            f"the probe 'representation' needs {each} training images of each of {classes} "
            f"classes, and one has {fewest}; leave it out of `probes`"
        )
    together = torch.cat(chosen)
    return together[torch.from_numpy(random.permutation(len(together)))]


def fit_accuracy(
    train: Matrix, labels: NDArray[np.int64], test: Matrix, expected: NDArray[np.int64], C: float
) -> float:
    """Fit a linear SVM with squared hinge and L2 penalty; return its accuracy elsewhere."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.svm import LinearSVC

    classifier = LinearSVC(C=C, dual="auto", tol=1e-3, max_iter=PASSES, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        classifier.fit(train, labels)
    return float((classifier.predict(test) == expected).mean())


def linear_accuracy(
    train: Tensor, labels: Tensor, test: Tensor, expected: Tensor
) -> Accuracy | None:
    """Measure how well classes can be told from features by a linear classifier.

    Features are standardised by the training images and divided by the root of their number, so
    that one grid of C serves features of any size.

    Args:
        train: ``(n, dimensions)``, in random order.
        labels: Their classes.
        test: ``(m, dimensions)``.
        expected: Their classes.

    Returns:
        None if a feature is not finite.
    """
    if not (train.isfinite().all() and test.isfinite().all()):
        return None
    known, unknown = train.double().numpy(), test.double().numpy()
    mean, deviation = known.mean(0), known.std(0)
    scale = np.where(deviation > 0, deviation, 1.0) * math.sqrt(known.shape[1])
    known, unknown = (known - mean) / scale, (unknown - mean) / scale
    y, z = labels.numpy(), expected.numpy()
    cut = len(y) // HELD_OUT
    held_out = [
        fit_accuracy(known[cut:], y[cut:], known[:cut], y[:cut], penalty) for penalty in PENALTIES
    ]
    # The first of the best: the strongest penalty.
    best = PENALTIES[int(np.argmax(held_out))]
    return Accuracy(fit_accuracy(known, y, unknown, z, best), best, known.shape[1])


class KMeansFeatures:
    """Single-layer features of Coates and Ng: distances of whitened patches to centroids.

    Every patch is brought to mean 0 and deviation 1, whitened, and described by
    max(0, mean distance − distance) for each centroid; the sums over the four quadrants of the
    image are the features, ``(n, 4 · centroids)``.

    Args:
        images: All training images, uint8 ``(n, channels, height, width)``; no labels.
        centroids: How many.
        patches: Patches to learn from.
    """

    def __init__(self, images: Values, centroids: int = CENTROIDS, patches: int = PATCHES) -> None:
        from sklearn.cluster import KMeans

        random = np.random.RandomState(0)
        height, width = images.shape[2] - PATCH + 1, images.shape[3] - PATCH + 1
        places = [random.randint(limit, size=patches) for limit in (len(images), height, width)]
        number, top, left = (torch.from_numpy(place) for place in places)
        steps = torch.arange(PATCH)
        cut = []
        for part in torch.split(torch.arange(patches), CHUNK):
            rows = (top[part, None] + steps)[:, :, None]
            columns = (left[part, None] + steps)[:, None]
            one_each = torch.arange(len(part))[:, None, None]
            cut.append(images[number[part]][one_each, :, rows, columns])
        sample = normalized(torch.cat(cut).permute(0, 3, 1, 2).flatten(1).double())
        self.mean = sample.mean(0)
        centred = sample - self.mean
        values, vectors = torch.linalg.eigh(centred.T @ centred / len(centred))
        self.whitening = vectors @ torch.diag((values + WHITENING).rsqrt()) @ vectors.T
        learned = KMeans(centroids, n_init=1, init="random", max_iter=ROUNDS, random_state=0).fit(
            (centred @ self.whitening).float().numpy()
        )
        self.centroids = torch.from_numpy(learned.cluster_centers_).double()

    def __call__(self, images: Tensor) -> Tensor:
        """Describe images, float32 ``(n, 4 · centroids)``."""
        return described(images, self._describe)

    def _describe(self, images: Tensor) -> Tensor:
        rows, columns = images.shape[2] - PATCH + 1, images.shape[3] - PATCH + 1
        patches = normalized(unfold(images.float(), PATCH).transpose(1, 2).double())
        whitened = ((patches - self.mean) @ self.whitening).flatten(0, 1)
        distance = torch.cdist(whitened, self.centroids)
        near = (distance.mean(1, keepdim=True) - distance).clamp(min=0)
        maps = near.reshape(len(images), rows, columns, -1)
        upper, left = rows // 2, columns // 2
        quadrants = [
            maps[:, vertical, horizontal].sum((1, 2))
            for vertical in (slice(upper), slice(upper, None))
            for horizontal in (slice(left), slice(left, None))
        ]
        return torch.cat(quadrants, dim=1).float()


def described(images: Values, describe: Callable[[Tensor], Tensor]) -> Tensor:
    """Describe images a hundred at a time, ``(n, dimensions)``."""
    starts = range(0, len(images), CHUNK)
    return torch.cat([describe(images[start : start + CHUNK]) for start in starts])


def normalized(patches: Tensor) -> Tensor:
    """Bring patches ``(…, pixels)``, 0…255, to mean 0 and about deviation 1."""
    centred = patches - patches.mean(-1, keepdim=True)
    return centred / (patches.var(-1, keepdim=True) + CONTRAST).sqrt()


@probes.register(
    "representation",
    source="Radford et al. 2016, arXiv:1511.06434, section 5.1; Coates and Ng 2012",
)
class Representation(Probe):
    """Accuracy of a linear SVM on D's hidden layers, beside k-means features and raw pixels."""

    version: ClassVar[int] = 2

    def __init__(
        self, dataset: Dataset, reference: Split, root: Path | None, cache: ReferenceCache
    ) -> None:
        train, test = dataset.load("train", root), dataset.load(SCORED, root)
        assert dataset.classes is not None  # noqa: S101 - misfit has seen to it
        if train.labels is None or test.labels is None:
            raise DataError(f"data set {dataset.id!r} has no labels; leave out `probes`")
        chosen = choose_labelled(train.labels, dataset.classes)
        self._train = Examples(train.values[chosen], train.labels[chosen])
        self._test = test
        self._columns = self.columns(dataset, reference)
        own, *others = (column.name for column in self._columns)
        self._column = own
        key = {
            "probe": [self.id, self.version],
            "dataset": [dataset.id, dataset.fingerprint()],
            "content": [dataset.pin("train") or train.sha256, dataset.pin(SCORED) or test.sha256],
            "columns": others,
            "libraries": [[name, version(name)] for name in ("scikit-learn", "torch", "numpy")],
        }
        kept = cache.read(key)
        if kept is None:
            kept = self._measure_baselines(train.values, others)
            cache.write(key, kept)
        self._baselines = {
            name: Accuracy(float(share), float(penalty), int(dimensions))
            for name, (share, penalty, dimensions) in (
                (name, kept[name].tolist()) for name in others
            )
        }

    @classmethod
    def misfit(cls, dataset: Dataset, blueprint: Blueprint) -> str | None:
        """Take labelled images, and a D that looks at one image and nothing else."""
        plan = blueprint.discriminator
        if dataset.kind != "images" or dataset.classes is None:
            return "the probe representation needs images with labels"
        if dataset.classes > LABELLED // HELD_OUT:
            return f"the probe representation has too few labels for {dataset.classes} classes"
        if plan.condition:
            return "the probe representation needs a D that is not told the class or the code"
        if plan.pack > 1:
            return "the probe representation needs a D that looks at one image at a time"
        return None

    @classmethod
    def columns(cls, dataset: Dataset, reference: Split) -> list[MetricInfo]:
        """Describe the accuracies on D's features, k-means features and pixels."""
        assert dataset.classes is not None  # noqa: S101 - misfit has seen to it
        count = LABELLED // dataset.classes * dataset.classes
        return [
            MetricInfo(
                f"svm[{features}]@{count}/{SCORED}",
                cls.id,
                f"accuracy of a linear SVM with {count} labels on {meaning}",
                better="higher",
            )
            for features, meaning in (
                (f"D,{GRID}x{GRID}", f"D's hidden layers, max-pooled to at most {GRID}×{GRID}"),
                (f"k-means-{CENTROIDS}", f"k-means features with {CENTROIDS} centroids"),
                ("pixels", "raw pixels"),
            )
        ]

    def _measure_baselines(self, images: Values, names: Sequence[str]) -> dict[str, Tensor]:
        ways: tuple[Callable[[Tensor], Tensor], ...] = (
            KMeansFeatures(images),
            lambda images: images.flatten(1).float(),
        )
        kept = {}
        for name, describe in zip(names, ways, strict=True):
            accuracy = self._accuracy(describe)
            assert accuracy is not None  # noqa: S101 - features of bytes are finite
            kept[name] = torch.tensor(
                [accuracy.share, accuracy.penalty, accuracy.dimensions], dtype=torch.float64
            )
        return kept

    def _accuracy(self, describe: Callable[[Tensor], Tensor]) -> Accuracy | None:
        train, test = self._train, self._test
        assert train.labels is not None and test.labels is not None  # noqa: S101
        features = [described(part.values, describe) for part in (train, test)]
        return linear_accuracy(features[0], train.labels, features[1], test.labels)

    def __call__(self, hidden: Hidden) -> Finding:
        """Measure D's features."""
        layers: list[str] = []

        def describe(images: Tensor) -> Tensor:
            activations = hidden(images)
            layers[:] = activations
            return pooled(activations)

        accuracy = self._accuracy(describe)
        details: dict[str, Any] = {"layers": layers}
        if accuracy is None:
            return Finding({self._column: math.nan}, details)
        details |= {"C": accuracy.penalty, "dimensions": accuracy.dimensions}
        return Finding({self._column: accuracy.share}, details)

    def describe(self) -> dict[str, Any]:
        """Return the baselines with C and dimensions, and how many images were scored."""
        return {
            "columns": [asdict(column) for column in self._columns],
            "baselines": {name: asdict(baseline) for name, baseline in self._baselines.items()},
            "examples": len(self._test),
        }
