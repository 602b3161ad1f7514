"""Proves by what penalties differentiate: the data themselves, before D's view of them changes.

So do the authors of R1 with adaptive augmentation and of R3GAN: the gradient goes through the
augmentation. Each is held against a loop over plain autograd, one example at a time.
"""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from harness.testing.cells import game_of
from harness.training.batch import Batch
from harness.training.game import Game

AUGMENTED: list[Any] = [("diffaugment", {"policy": ["color", "translation", "cutout"]})]


def zero_centred(gradients: Tensor) -> Tensor:
    return gradients.square().sum(1).mean() / 2


def one_centred(gradients: Tensor) -> Tensor:
    return (gradients.square().sum(1).sqrt() - 1).square().mean()


def by_hand(
    game: Game, batch: Batch, x: Tensor, kind: str, of: Callable[[Tensor], Tensor], pack: int = 1
) -> Tensor:
    """Differentiate D's answer to what is shown of x by x; a pack's examples are one input."""
    x = x.detach().requires_grad_()
    logits = game.D(batch.show(x, kind)).logits
    (slope,) = torch.autograd.grad(logits.sum(), x)
    return of(slope[0].reshape(len(slope[0]) // pack, -1))


@pytest.mark.parametrize("packed", [False, True], ids=["single", "packed"])
@pytest.mark.parametrize("name", ["r1", "r2", "r3gan", "dragan"])
def test_the_gradient_is_that_by_the_data(name: str, packed: bool) -> None:
    laid_over = AUGMENTED + ([("packing", {"m": 2})] if packed else [])
    pack = 2 if packed else 1
    if name in ("r1", "r2"):
        options: Any = {"gamma": 3.0}
        game = game_of("digits", "gan", *laid_over, (name, options))
        plain = game_of("digits", "gan", *laid_over)
    else:
        options = {"gamma": 3.0} if name == "r3gan" else {"penalty_weight": 3.0}
        game = game_of("digits", (name, options), *laid_over)
        plain = None
    batch = Batch(game, "discriminator", 1)
    if plain is not None:
        own = plain.discriminator_loss(Batch(plain, "discriminator", 1))
    else:
        own = game.variant.discriminator_loss(game, batch)
    term = (game.discriminator_loss(batch) - own)[0]
    kinds = {"r1": ["real"], "r2": ["fake"], "r3gan": ["real", "fake"], "dragan": ["real"]}[name]
    expected = torch.zeros((), dtype=torch.float64)
    for kind in kinds:
        x = getattr(batch, kind)
        if name == "dragan":
            spread = x.std(correction=0)
            alpha = batch.uniform("penalty", x.shape[1])[:, :, None, None, None]
            x = x + alpha * spread / 2 * batch.uniform("perturbation", *x.shape[1:])
        of = one_centred if name == "dragan" else zero_centred
        expected = expected + 3 * by_hand(game, batch, x, kind, of, pack)
    torch.testing.assert_close(term, expected)
    shown = batch.shown_real if packed is False else batch.shown_real.reshape(batch.real.shape)
    assert not torch.equal(shown, batch.real)
