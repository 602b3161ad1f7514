"""How a user asks for what is joined to z: classes and codes, by name."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from harness.errors import GanbenchError
from harness.parts import Condition
from harness.registry import nearest
from harness.store.wording import listing

SWEEP = 2.0
"""A continuous code is swept from −2 to 2, beyond the [−1, 1] it is trained on.

Source: Chen et al. 2016 (InfoGAN), arXiv:1606.03657, figure 2."""


def code_names(condition: Condition) -> dict[str, int]:
    """Name the codes, ``categorical1`` … and ``continuous1`` …: their positions of each kind."""
    categorical = {f"categorical{i + 1}": i for i in range(len(condition.categories))}
    return categorical | {f"continuous{i + 1}": i for i in range(condition.continuous)}


def categories_of(code: str, condition: Condition) -> int | None:
    """Return the number of categories of a named code; None for a continuous one."""
    if code.startswith("continuous"):
        return None
    return condition.categories[code_names(condition)[code]]


def sweep(y: Tensor, code: str, steps: int, condition: Condition) -> tuple[Tensor, list[str]]:
    """Vary one code and hold all else.

    Args:
        y: ``(rows, size)``.
        code: A name of :func:`code_names`.
        steps: Values of a continuous code from −2 to 2; a categorical one takes each category.
        condition: The parts of y.

    Returns:
        ``(rows, steps, size)``, and the values for a person.
    """
    place = code_names(condition)[code]
    categories = categories_of(code, condition)
    if categories is not None:
        chosen = [condition.chosen(y, categories={place: k}) for k in range(categories)]
        return torch.stack(chosen, dim=1), [str(k) for k in range(categories)]
    values = torch.linspace(-SWEEP, SWEEP, steps).tolist()
    chosen = [condition.chosen(y, continuous={place: value}) for value in values]
    return torch.stack(chosen, dim=1), [f"{value:+.2g}" if value else "0" for value in values]


def parse_classes(
    text: str, condition: Condition, variant: str, names: Sequence[str] | None = None
) -> list[int]:
    """Read ``--class``: a class, several with commas between them, or ``all``.

    Args:
        text: Names, or numbers from 0; what is a name counts as one.
        condition: What the generator takes.
        variant: Its variant, for messages.
        names: Of the classes, by label; None if they are only numbered.

    Raises:
        GanbenchError: if the generator knows no classes, or not such ones.
    """
    if not condition.classes:
        codes = ", ".join(code_names(condition))
        hint = f"; it has the codes {codes} (--code)" if codes else ""
        raise GanbenchError(
            f"--class: the generator of variant {variant!r} is not conditional on a class{hint}"
        )
    number_of = {name: label for label, name in enumerate(names or ())}
    if text in number_of:  # also one with a comma, or that is called all
        return [number_of[text]]
    if text == "all":
        return list(range(condition.classes))
    chosen = []
    for word in map(str.strip, text.split(",")):
        if word in number_of:
            chosen.append(number_of[word])
        elif word.isdecimal() and int(word) < condition.classes:
            chosen.append(int(word))
        else:
            named = f"{listing(names)}, or by number " if names else ""
            raise GanbenchError(
                f"--class: {word!r} is no class{nearest(word, list(number_of))}; the classes are "
                f"{named}0 … {condition.classes - 1}, several as 0,1,2, or `all`"
            )
    return chosen


def parse_code(name: str, condition: Condition, variant: str) -> str:
    """Read ``--code``: the name of a code.

    Raises:
        GanbenchError: if the generator has no codes, or none of that name.
    """
    names = list(code_names(condition))
    if not names:
        classes = " (it has classes: --class)" if condition.classes else ""
        raise GanbenchError(f"--code: the generator of variant {variant!r} has no codes{classes}")
    if name not in names:
        raise GanbenchError(
            f"--code: no code is called {name!r}{nearest(name, names)}; there is {', '.join(names)}"
        )
    return name
