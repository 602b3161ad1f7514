"""Proves the GAN with exchanged labels: when it is the non-saturating one, and when it is not."""

import torch
from torch import Tensor

from harness.parts import tricks, variants
from harness.testing.cells import trainer_of
from harness.testing.specs import Named
from harness.training.batch import Batch
from tests.conformance.test_dirac_gan import Dirac

CELLS: list[tuple[str, list[Named]]] = [("ring8", []), ("ring8", ["packing"]), ("digits", [])]


def slope(dataset: str, variant: str, *laid_over: Named) -> tuple[Tensor, Tensor]:
    """Return G's loss and its gradient, D and G of the same nets and seed."""
    network = {"ring8": "pacgan2d", "digits": "dcgan16"}[dataset]
    game = trainer_of(dataset, variant, *laid_over, network=network).game
    loss = game.generator_loss(Batch(game, "generator", 0))
    (gradient,) = torch.autograd.grad(loss.sum(), game.G.theta)
    return loss.detach(), gradient


def test_its_gradient_is_the_non_saturating_one_if_d_does_not_answer_g() -> None:
    for dataset, laid_over in CELLS:
        plain, exchanged = (slope(dataset, v, *laid_over) for v in ("gan", "gan-exchanged"))
        torch.testing.assert_close(exchanged[1], plain[1], rtol=1e-12, atol=1e-15)
        assert plain[1].norm() > 0
        # What is more is D's loss on real data with the wrong label.
        assert exchanged[0].item() > plain[0].item() + 0.1


def test_where_d_answers_g_it_is_another() -> None:
    own = {"optimizer": "sgd", "beta1": 0.0, "beta2": 0.0, "lr_d": 0.05, "network": "pacgan2d"}
    gradients, losses = [], []
    for name in ("gan", "gan-exchanged"):
        game = trainer_of("ring8", name, ("unrolled", {"k": 2}), **own).game
        batch = Batch(game, "generator", 0)
        (gradient,) = torch.autograd.grad(
            game.generator_loss(batch).sum(), game.G.theta, retain_graph=True
        )
        gradients.append(gradient)
        losses.append(torch.nn.functional.softplus(batch.judged_real.logits).mean())
    (missing,) = torch.autograd.grad(losses[1], game.G.theta)
    torch.testing.assert_close(gradients[1] - gradients[0], missing, rtol=1e-9, atol=1e-15)
    assert missing.norm() > 1e-3 * gradients[0].norm()


def test_unrolled_by_hand() -> None:
    """D(x) = ψx with a datum at 0 answers 0 there, whatever D has learned: no further slope."""
    starts, found = [(1.0, 1.0), (-0.4, 0.9)], []
    for name in ("gan", "gan-exchanged"):
        game = Dirac(variants.get(name)(), starts, [tricks.get("unrolled")(k=1)]).game
        loss = game.generator_loss(Batch(game, "generator", 0))
        (gradient,) = torch.autograd.grad(loss.sum(), game.G.theta)
        found.append(gradient)
    torch.testing.assert_close(*found, rtol=1e-12, atol=0)
