"""Every family, stacked: outputs, weight gradients and penalties equal those of one module."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call

from harness.networks.base import build_discriminator, build_generator, networks, unsupported
from harness.networks.blueprint import Blueprint
from harness.parts.penalties import input_gradient, zero_centred_penalty
from harness.training.stack import Stack

RUNS, BATCH, LATENT, CONDITION = 2, 3, 5, 3
SHAPES = ((2,), (1, 16, 16), (3, 32, 32), (3, 64, 64))
CASES = [
    (name, next(s for s in SHAPES if networks.get(name)().misfit(s) is None), joined)
    for name in networks.names()
    for joined in ("plain", "condition", "condition_layers")
]
CPU = torch.device("cpu")


def plan_of(name: str, shape: tuple[int, ...], joined: str) -> Blueprint:
    plan = Blueprint.plain(name, 4, LATENT, shape)
    if joined == "plain":
        return plan
    asked = {"condition": CONDITION, "condition_layers": joined == "condition_layers"}
    G = plan.generator if not networks.get(name).has_generator else replace(plan.generator, **asked)
    return replace(plan, generator=G, discriminator=replace(plan.discriminator, **asked))


def draw(number: int, *shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(number)
    return torch.rand(*shape, generator=generator, dtype=torch.float64)


def nudged(modules: list[nn.Module]) -> list[nn.Module]:
    """Move every weight a little, so that what starts at zero matters too."""
    for module in modules:
        for parameter in module.parameters():
            wave = torch.arange(parameter.numel(), dtype=torch.float64).cos() / 20
            parameter.data += wave.reshape(parameter.shape)
    return modules


def noise(run: int, layer: str, shape: tuple[int, ...]) -> Tensor:
    return draw(1000 * run + sum(layer.encode()), *shape)


class Pair:
    """One player of several runs: stacked, and each by itself with the same masks.

    Args:
        player: Which of the two.
        plan: Both.
    """

    def __init__(self, player: str, plan: Blueprint) -> None:
        self.judges = player == "discriminator"
        build = build_discriminator if self.judges else build_generator
        self.modules = []
        for run in range(RUNS):
            torch.manual_seed(run)
            self.modules.append(build(plan).double())
        nudged(self.modules)
        size = plan.shape if self.judges else (LATENT,)
        self.x = draw(3, RUNS, BATCH, *size) * 2 - 1
        condition = getattr(plan, player).condition
        self.y = draw(7, RUNS, BATCH, condition) if condition else None
        example = None if self.y is None else self.y[0]
        self.stack = Stack(self.modules, self.x[0], example, device=CPU, dtype=torch.float64)

    def masks(self, layer: str, shape: tuple[int, ...]) -> Tensor:
        return torch.stack([noise(run, layer, shape) for run in range(RUNS)])

    def together(self, x: Tensor) -> Tensor:
        found = self.stack(x, self.y, noise=self.masks)
        return found.logits if self.judges else found.flatten(2)

    def alone(self, run: int, x: Tensor) -> Tensor:
        module = self.modules[run]
        masks = {
            name: noise(run, name, (BATCH, *shape)) for name, shape in self.stack.dropouts.items()
        }
        state = dict(module.named_parameters()) | dict(module.named_buffers()) | masks
        inputs = (x,) if self.y is None else (x, self.y[run])
        found = functional_call(module, state, inputs)
        return found.logits if self.judges else found.flatten(1)


def penalty_of_one(pair: Pair, run: int) -> Tensor:
    """Compute half the mean squared slope of one run's answers by its inputs."""
    x = pair.x[run].clone().requires_grad_()
    answer = pair.alone(run, x)
    value = answer if answer.ndim == 1 else answer.flatten(1).mean(1)
    (slope,) = torch.autograd.grad(value.sum(), x, create_graph=True)
    return slope.flatten(1).square().sum(1).mean() / 2


@pytest.mark.parametrize(("name", "shape", "joined"), CASES)
def test_stacked_equals_alone(name: str, shape: tuple[int, ...], joined: str) -> None:
    plan = plan_of(name, shape, joined)
    if joined != "plain" and unsupported(plan) is not None:
        assert joined not in networks.get(name).supports
        return
    players = (
        ("generator", "discriminator") if networks.get(name).has_generator else ("discriminator",)
    )
    for player in players:
        pair = Pair(player, plan)
        found = pair.together(pair.x)
        penalty = zero_centred_penalty(input_gradient(pair.together, pair.x))
        total = found.flatten(1).sum(1) + penalty
        (slope,) = torch.autograd.grad(total.sum(), pair.stack.theta)
        for run, module in enumerate(pair.modules):
            expected, by_itself = pair.alone(run, pair.x[run]), penalty_of_one(pair, run)
            torch.testing.assert_close(found[run], expected, rtol=1e-9, atol=1e-9)
            torch.testing.assert_close(penalty[run], by_itself, rtol=1e-9, atol=1e-9)
            slopes = torch.autograd.grad(
                expected.sum() + by_itself, list(module.parameters()), materialize_grads=True
            )
            flat = torch.cat([s.flatten() for s in slopes])
            assert flat.abs().max() > 0
            torch.testing.assert_close(slope[run], flat, rtol=1e-9, atol=1e-9)
