"""What a generator takes beside z: a class, or codes; and how a user asks for them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from harness.errors import GanbenchError
from harness.parts import Variant
from harness.registry import nearest

SWEEP = 2.0
"""A continuous code is swept from −2 to 2, beyond the [−1, 1] it is trained on.

Source: Chen et al. 2016 (InfoGAN), arXiv:1606.03657, figure 2."""


@dataclass(frozen=True)
class Condition:
    """The layout of y: the class, then the categorical, then the continuous codes.

    Attributes:
        classes: Number of classes, one-hot; 0 for none.
        categorical: Categories of each categorical code, one-hot.
        continuous: Number of continuous codes, each trained on U[−1, 1].
    """

    classes: int = 0
    categorical: tuple[int, ...] = ()
    continuous: int = 0

    @property
    def blocks(self) -> dict[str, int]:
        """Width of each one-hot block by name, in order; ``class`` is the first if there is one."""
        named = {"class": self.classes} if self.classes else {}
        return named | {f"categorical{i}": k for i, k in enumerate(self.categorical, start=1)}

    @property
    def codes(self) -> tuple[str, ...]:
        """Names of the codes, such as ``categorical1`` and ``continuous1``."""
        continuous = (f"continuous{i + 1}" for i in range(self.continuous))
        return (*(name for name in self.blocks if name != "class"), *continuous)

    @property
    def width(self) -> int:
        """Dimensions of y."""
        return sum(self.blocks.values()) + self.continuous

    def of_class(self, y: Tensor, index: int) -> Tensor:
        """Replace the class in ``y (batch, width)``."""
        return self._with_block(y, "class", index)

    def sweep(self, y: Tensor, code: str, steps: int) -> tuple[Tensor, list[str]]:
        """Vary one code and hold all else.

        Args:
            y: ``(rows, width)``.
            code: One of :attr:`codes`.
            steps: Values of a continuous code from −2 to 2; a categorical one takes each category.

        Returns:
            ``(rows, steps, width)``, and the values for a person.
        """
        if code in self.blocks:
            values = [self._with_block(y, code, k) for k in range(self.blocks[code])]
            return torch.stack(values, dim=1), [str(k) for k in range(self.blocks[code])]
        place = sum(self.blocks.values()) + int(code.removeprefix("continuous")) - 1
        swept = y[:, None].repeat(1, steps, 1)
        values_of_code = torch.linspace(-SWEEP, SWEEP, steps, dtype=y.dtype)
        swept[:, :, place] = values_of_code
        return swept, [f"{value:+.2g}" if value else "0" for value in values_of_code.tolist()]

    def _with_block(self, y: Tensor, name: str, index: int) -> Tensor:
        start = 0
        for block, size in self.blocks.items():
            if block == name:
                break
            start += size
        changed = y.clone()
        changed[:, start : start + size] = one_hot(torch.tensor(index), size).to(y.dtype)
        return changed


def condition_of(variant: Variant, classes: int | None) -> Condition:
    """Describe what a variant's generator takes beside z: the one place that asks the variant.

    Args:
        variant: The variant; it takes nothing unless it says what it ``joins``.
        classes: Labelled classes of the data set; None without labels.
    """
    joins = getattr(variant, "joins", None)
    if joins is None:
        return Condition()
    joined = joins(classes)
    return Condition(joined.classes, tuple(joined.categories), joined.continuous)


def parse_classes(text: str, condition: Condition, variant: str) -> list[int]:
    """Read ``--class``: a class, several with commas between them, or ``all``.

    Raises:
        GanbenchError: if the generator knows no classes, or not such ones.
    """
    if not condition.classes:
        codes = f"; it has the codes {', '.join(condition.codes)} (--code)" * bool(condition.codes)
        raise GanbenchError(
            f"--class: the generator of variant {variant!r} is not conditional on a class{codes}"
        )
    if text == "all":
        return list(range(condition.classes))
    chosen = []
    for word in text.split(","):
        if not word.strip().isdecimal() or int(word) >= condition.classes:
            raise GanbenchError(
                f"--class: {word.strip()!r} is no class; the classes are "
                f"0 … {condition.classes - 1}, several as 0,1,2, or `all`"
            )
        chosen.append(int(word))
    return chosen


def parse_code(name: str, condition: Condition, variant: str) -> str:
    """Read ``--code``: the name of a code.

    Raises:
        GanbenchError: if the generator has no codes, or none of that name.
    """
    if not condition.codes:
        classes = " (it has classes: --class)" if condition.classes else ""
        raise GanbenchError(f"--code: the generator of variant {variant!r} has no codes{classes}")
    if name not in condition.codes:
        raise GanbenchError(
            f"--code: no code is called {name!r}{nearest(name, list(condition.codes))}; "
            f"there is {', '.join(condition.codes)}"
        )
    return name
