"""Proves that a softmax over two logits is the cross-entropy it stands for, also when smoothed."""

import pytest
import torch
from torch.nn.functional import cross_entropy

from harness.parts import Targets
from harness.testing.cells import KitCell, game_of, make_trainer, refusal
from harness.testing.specs import make_spec
from harness.training.batch import Batch


def soft_cross_entropy(classes: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Compute −Σ t log softmax of two classes, *real* with target t and *generated* with 1 − t."""
    logs = classes - classes.exp().sum(-1, keepdim=True).log()
    return -(target * logs[..., 0] + (1 - target) * logs[..., 1]).mean()


def test_d_ends_in_two_logits_of_its_own() -> None:
    game = game_of("digits", "dcgan-softmax")
    batch = Batch(game, "discriminator", 0)
    judged = batch.judged_real
    classes = judged.outputs["classes"]
    assert classes.shape == (1, 8, 2)
    assert torch.equal(judged.logits, classes[..., 0] - classes[..., 1])
    torch.testing.assert_close(
        judged.logits.sigmoid(), classes.softmax(-1)[..., 0], rtol=1e-12, atol=0
    )
    sizes = {}
    for name in ("dcgan", "dcgan-softmax"):
        made = make_trainer([make_spec("digits", name)]).game.D
        sizes[name] = sum(made.sizes), made.shapes[made.names.index("head.output.weight")]
    (plain, one), (double, two) = sizes["dcgan"], sizes["dcgan-softmax"]
    assert (one[0], two[0]) == (1, 2)
    assert double - plain == one[1]


@pytest.mark.parametrize("tricks", [(), ("patchgan",)])
def test_the_losses_are_cross_entropies_of_the_classes(tricks: tuple[str, ...]) -> None:
    game = game_of("digits", "dcgan-softmax", *tricks)
    batch = Batch(game, "discriminator", 0)
    real, fake = (
        judged.outputs["classes"].flatten(0, -2)
        for judged in (batch.judged_real, batch.judged_fake)
    )
    none = torch.zeros(len(real), dtype=torch.long)
    expected = cross_entropy(real, none) + cross_entropy(fake, none + 1)
    assert game.discriminator_loss(batch).item() == pytest.approx(expected.item(), rel=1e-12)
    batch = Batch(game, "generator", 0)
    fake = batch.judged_fake.outputs["classes"].flatten(0, -2)
    expected = cross_entropy(fake, none)
    assert game.generator_loss(batch).item() == pytest.approx(expected.item(), rel=1e-12)


def test_smoothed_targets_are_smoothed_classes(monkeypatch: pytest.MonkeyPatch) -> None:
    game = game_of("digits", "dcgan-softmax", ("label-smoothing", {"form": "two-sided"}))
    batch = Batch(game, "discriminator", 0)
    targets = game.targets(batch)
    assert isinstance(targets, Targets)
    assert targets.real.unique().numel() == targets.fake.unique().numel() == 8
    expected = soft_cross_entropy(
        batch.judged_real.outputs["classes"], targets.real
    ) + soft_cross_entropy(batch.judged_fake.outputs["classes"], targets.fake)
    assert game.discriminator_loss(batch).item() == pytest.approx(expected.item(), rel=1e-12)


def test_its_gradient_reaches_both_classes() -> None:
    game = game_of("digits", "dcgan-softmax")
    loss = game.discriminator_loss(Batch(game, "discriminator", 0))
    (gradient,) = torch.autograd.grad(loss.sum(), game.D.theta)
    weight = game.D.parameters(gradient)["head.output.weight"][0]
    assert weight.abs().max() > 1e-6
    torch.testing.assert_close(weight[0], -weight[1], rtol=1e-9, atol=1e-15)


def test_it_is_refused_where_dcgan_is() -> None:
    reason = KitCell("ring8", "dcgan-softmax").refusal
    assert reason is not None
    assert reason.startswith("dcgan-softmax is")
    assert refusal(make_spec("digits", "dcgan-softmax", network="mlp-small")) is not None
