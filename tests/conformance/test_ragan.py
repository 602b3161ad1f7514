"""Proves the relativistic average objective: both terms of both players, run by run."""

import math

import pytest
import torch

from harness.parts import variants
from harness.testing.cells import game_of
from harness.testing.stubs import FixedGame, logits_batch
from harness.training.batch import Batch


def sp(t: float) -> float:
    return max(t, 0.0) + math.log1p(math.exp(-abs(t)))


REAL, FAKE = [2.0, -1.0, 0.5], [0.0, -3.0, 1.5]


def parts_by_hand() -> dict[str, float]:
    """Compute the four terms: how far each kind lies above or below the other's average."""
    mean_r, mean_f = sum(REAL) / 3, sum(FAKE) / 3
    return {
        "real above": sum(sp(-(r - mean_f)) for r in REAL) / 3,
        "real below": sum(sp(r - mean_f) for r in REAL) / 3,
        "fake above": sum(sp(-(f - mean_r)) for f in FAKE) / 3,
        "fake below": sum(sp(f - mean_r) for f in FAKE) / 3,
    }


def fixed(requires_grad: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
    real = torch.tensor([REAL], dtype=torch.float64, requires_grad=requires_grad)
    return real, torch.tensor([FAKE], dtype=torch.float64, requires_grad=requires_grad)


def test_both_players_have_both_terms() -> None:
    variant, batch, terms = variants.get("ragan")(), logits_batch(*fixed()), parts_by_hand()
    d_loss = variant.discriminator_loss(FixedGame(1), batch).item()
    g_loss = variant.generator_loss(FixedGame(1), batch).item()
    assert d_loss == pytest.approx(terms["real above"] + terms["fake below"], rel=1e-13)
    assert g_loss == pytest.approx(terms["real below"] + terms["fake above"], rel=1e-13)
    for missing in ("real below", "fake above"):
        assert abs(g_loss - terms[missing]) > 0.1


def test_the_averages_carry_gradient() -> None:
    real, fake = fixed(requires_grad=True)
    loss = variants.get("ragan")().generator_loss(FixedGame(1), logits_batch(real, fake))
    slopes = torch.autograd.grad(loss.sum(), (real, fake))
    size = 1e-6
    for which, slope in enumerate(slopes):
        for i in range(3):
            moved = []
            for sign in (1, -1):
                values = [list(REAL), list(FAKE)]
                values[which][i] += sign * size
                batch = logits_batch(*(torch.tensor([v], dtype=torch.float64) for v in values))
                found = variants.get("ragan")().generator_loss(FixedGame(1), batch)
                moved.append(found.item())
            assert slope[0, i].item() == pytest.approx((moved[0] - moved[1]) / (2 * size), abs=1e-8)


def test_the_average_is_over_one_run_and_all_of_its_map() -> None:
    generator = torch.Generator().manual_seed(1)
    real, fake = torch.randn(2, 2, 3, 2, 2, generator=generator, dtype=torch.float64)
    variant = variants.get("ragan")()
    together = variant.discriminator_loss(FixedGame(2), logits_batch(real, fake))
    for run in range(2):
        flat = [kind[run].flatten()[None] for kind in (real, fake)]
        alone = variant.discriminator_loss(FixedGame(1), logits_batch(*flat))
        torch.testing.assert_close(together[run], alone[0], rtol=1e-13, atol=0)


def test_the_generators_gradient_comes_through_both_terms() -> None:
    game = game_of("ring8", "ragan")
    batch = Batch(game, "generator", 0)
    real, fake = batch.judged_real.logits.detach(), batch.judged_fake.logits
    (found,) = torch.autograd.grad(
        game.generator_loss(batch).sum(), game.G.theta, retain_graph=True
    )
    # The term on real data depends on G through the average of D's answers to what G makes.
    through_real = torch.nn.functional.softplus(real - fake.mean()).mean()
    through_fake = torch.nn.functional.softplus(real.mean() - fake).mean()
    terms = [
        torch.autograd.grad(term, game.G.theta, retain_graph=True)[0]
        for term in (through_real, through_fake)
    ]
    assert all(term.norm() > 0 for term in terms)
    torch.testing.assert_close(found, terms[0] + terms[1], rtol=1e-10, atol=1e-14)
