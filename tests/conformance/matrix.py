"""The cells by which built-in parts are proved: each variant, each trick, and combinations."""

from __future__ import annotations

from typing import Any

from harness.parts import tricks, variants
from harness.testing.cells import DATASETS, KitCell, Named, accepted
from harness.testing.kit import trick_cells

OPTIONS: dict[str, dict[str, Any]] = {
    "activation": {"kind": "elu"},
    "ada": {"speed": 40.0, "interval": 1, "target": -0.9},
    "consistency": {"mode": "icr"},
    "diffaugment": {"policy": ["color", "translation", "cutout"]},
    "gradient-clipping": {"max_norm": 0.05},
    "label-smoothing": {"form": "two-sided"},
    "lecam": {"start": 1},
    "lr-decay": {"start": 0.01},
    "minibatch-discrimination": {"kernels": 5, "dimensions": 3},
    "r1": {"lazy": 2},
    "r2": {"lazy": 2},
    "sampling": {"up": "pixel-shuffle", "down": "average"},
    "unrolled": {"k": 2},
    "update-ratio": {"d": 2, "g": 1},
    "virtual-batch-norm": {"reference": 5},
}
"""Options under which a part has the most to do in the least time; others have their defaults."""

COMBINATIONS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("ring8", "lsgan", ("feature-matching", "dropout-g", "update-ratio")),
    ("ring8", "gan", ("instance-noise", "packing", "r1", "lr-decay")),
    ("ring8", "gan", ("unrolled", "label-smoothing", "historical-averaging")),
    ("digits", "dcgan", ("label-smoothing", "spectral-norm", "ema")),
    ("digits", "dcgan", ("loss-sum", "gradient-penalty", "update-ratio", "normalization")),
    ("digits", "sngan", ("diffaugment", "lecam", "ttur", "orthogonal-init")),
    ("digits", "cgan", ("consistency", "packing", "latent")),
)


def with_options(trick: str) -> Named:
    """Return a trick with the options that tell the most."""
    return trick, OPTIONS.get(trick, {})


def combined() -> list[KitCell]:
    """List the cells of several tricks."""
    return [
        KitCell(dataset, variant, tuple(map(with_options, laid_over)))
        for dataset, variant, laid_over in COMBINATIONS
    ]


def crossed() -> list[KitCell]:
    """List every variant with every trick on every data set of the kit."""
    return [
        KitCell(dataset, variant, (with_options(trick),))
        for dataset in DATASETS
        for variant in variants.names()
        for trick in tricks.names()
    ]


PLAIN = accepted(KitCell(dataset, name) for dataset in DATASETS for name in variants.names())
"""Every variant without tricks."""
TRICKED = [cell for name in tricks.names() for cell in trick_cells(name, OPTIONS.get(name, {}))]
"""Every trick over the first of the kit's variants that accepts it, on each kind of data."""
CELLS = [*PLAIN, *TRICKED, *combined()]
