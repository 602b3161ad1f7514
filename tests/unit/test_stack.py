"""Stacked networks against the same modules one by one."""

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call

from harness.networks.base import build_discriminator, build_generator
from harness.networks.blueprint import Blueprint, DiscriminatorPlan, GeneratorPlan, Normalization
from harness.networks.dropout import StreamDropout
from harness.networks.spectral import normalize_spectrally
from harness.training.stack import Stack, dropout_shapes, units_first

CPU = torch.device("cpu")
RUNS, BATCH, LATENT = 3, 5, 4


def blueprint(
    network: str, *, norm: Normalization | None = None, spectral: bool = False, drop: float = 0.0
) -> Blueprint:
    shape = (2,) if network == "toy2d" else (1, 16, 16)
    return Blueprint(
        GeneratorPlan("mlp-small" if network == "patch" else network, 6, norm, dropout=drop),
        DiscriminatorPlan(network, 6, norm, spectral_norm=spectral, strided=1),
        LATENT,
        shape,
    )


def modules(build: Callable[[Blueprint], nn.Module], plan: Blueprint) -> list[nn.Module]:
    made = []
    for seed in range(RUNS):
        torch.manual_seed(seed)
        made.append(build(plan).double())
    return made


def inputs(*shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(RUNS, BATCH, *shape, generator=generator, dtype=torch.float64)


def stack_of(made: list[nn.Module], x: Tensor, dtype: torch.dtype = torch.float64) -> Stack:
    return Stack(made, x[0, :2].to(made[0].get_parameter(first_name(made[0])).dtype),
                 device=CPU, dtype=dtype)  # fmt: skip


def first_name(module: nn.Module) -> str:
    return next(name for name, _ in module.named_parameters())


def state_of(module: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in module.state_dict().items()}


PLANS = {
    "toy2d": blueprint("toy2d"),
    "toy2d-batch": blueprint("toy2d", norm="batch"),
    "mlp-layer": blueprint("mlp-small", norm="layer"),
    "dcgan": blueprint("dcgan16"),
    "dcgan-none": blueprint("dcgan16", norm="none"),
    "dcgan-spectral": blueprint("dcgan16", norm="none", spectral=True),
    "patch": blueprint("patch"),
}


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)
def test_each_run_is_its_own_module(plan: Blueprint, training: bool) -> None:
    made = modules(build_discriminator, plan)
    x = inputs(*plan.shape)
    stack = stack_of(made, x)
    before = [state_of(module) for module in made]
    found = stack(x, training=training)
    for run, module in enumerate(made):
        state = before[run]
        expected = functional_call(module.train(training), state, (x[run],))
        torch.testing.assert_close(found.logits[run], expected.logits, rtol=1e-11, atol=1e-12)
        assert list(found.features) == list(expected.features)
        for name, value in expected.features.items():
            torch.testing.assert_close(found.features[name][run], value, rtol=1e-11, atol=1e-12)
        # functional_call has updated the buffers of `state` in place, as the stack has its own.
        after = stack.state(run)
        assert after.keys() == state.keys()
        for name, value in state.items():
            torch.testing.assert_close(after[name], value, rtol=1e-11, atol=1e-12)
        changed = [
            name
            for name in stack.buffers
            if not torch.equal(after[name], made_buffer(module, name))
        ]
        assert bool(changed) == (training and bool(stack.buffers))


def made_buffer(module: nn.Module, name: str) -> Tensor:
    return module.get_buffer(name)


@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)
def test_each_run_gets_its_own_gradient(plan: Blueprint) -> None:
    made = modules(build_discriminator, plan)
    x = inputs(*plan.shape)
    stack = stack_of(made, x)
    weight = torch.tensor([1.0, 2.0, -3.0], dtype=torch.float64)
    loss = stack(x).logits.flatten(1).pow(2).mean(1) * weight
    (gradient,) = torch.autograd.grad(loss.sum(), stack.theta)
    for run, module in enumerate(made):
        module.train()
        alone = module(x[run]).logits.flatten().pow(2).mean() * weight[run]
        expected = torch.autograd.grad(alone, list(module.parameters()))
        flat = torch.cat([part.flatten() for part in expected])
        torch.testing.assert_close(gradient[run], flat, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", ["toy2d", "mlp-small", "dcgan16"])
def test_generators_too(name: str) -> None:
    plan = blueprint(name)
    made = modules(build_generator, plan)
    z = inputs(LATENT)
    found = stack_of(made, z)(z)
    assert found.shape == (RUNS, BATCH, *plan.shape)
    for run, module in enumerate(made):
        torch.testing.assert_close(found[run], module.train()(z[run]), rtol=1e-11, atol=1e-12)


def test_a_second_derivative_by_the_input_reaches_the_weights() -> None:
    plan = blueprint("dcgan16", norm="none")
    made = modules(build_discriminator, plan)
    x = inputs(*plan.shape).requires_grad_()
    stack = stack_of(made, x.detach())
    (slope,) = torch.autograd.grad(stack(x).logits.sum(), x, create_graph=True)
    (found,) = torch.autograd.grad(slope.square().sum(), stack.theta)
    for run, module in enumerate(made):
        y = x[run].detach().requires_grad_()
        (own,) = torch.autograd.grad(module(y).logits.sum(), y, create_graph=True)
        expected = torch.autograd.grad(
            own.square().sum(), list(module.parameters()), allow_unused=True
        )
        flat = torch.cat(
            [
                (torch.zeros_like(p) if g is None else g).flatten()
                for p, g in zip(module.parameters(), expected, strict=True)
            ]
        )
        torch.testing.assert_close(found[run], flat, rtol=1e-9, atol=1e-12)


def test_batch_statistics_move_once_per_training_pass() -> None:
    plan = blueprint("toy2d", norm="batch")
    stack = stack_of(modules(build_discriminator, plan), inputs(2))
    x = inputs(2)
    for passes in (1, 2, 3):
        stack(x)
        assert stack.buffers["hidden.hidden1.1.num_batches_tracked"].tolist() == [passes] * RUNS
    before = {name: value.clone() for name, value in stack.buffers.items()}
    stack(x, training=False)
    assert all(torch.equal(stack.buffers[name], value) for name, value in before.items())
    means = stack.buffers["hidden.hidden1.1.running_mean"]
    assert not torch.equal(means[0], means[1])


def test_two_passes_can_be_differentiated_twice() -> None:
    """Batch normalisation's second derivative reads the statistics that its pass began with."""
    plan = blueprint("dcgan16")
    x = inputs(*plan.shape).requires_grad_()
    stack = stack_of(modules(build_discriminator, plan), x.detach())
    first = stack(x).logits.square().sum()
    (slope,) = torch.autograd.grad(first, stack.theta, create_graph=True)
    stack(inputs(*plan.shape))
    (found,) = torch.autograd.grad(slope.square().sum(), x)
    other = stack_of(modules(build_discriminator, plan), x.detach())
    (again,) = torch.autograd.grad(other(x).logits.square().sum(), other.theta, create_graph=True)
    (expected,) = torch.autograd.grad(again.square().sum(), x)
    assert torch.equal(found, expected)


@pytest.mark.parametrize("name", ["toy2d-batch", "dcgan-spectral"])
def test_preserved_buffers_are_as_before(name: str) -> None:
    plan = PLANS[name]
    x = inputs(*plan.shape)
    stack = stack_of(modules(build_discriminator, plan), x)
    stack(x)
    before = {name: value.clone() for name, value in stack.buffers.items()}
    with stack.preserved():
        stack(2 * x)
        stack(3 * x)
        inside = {name: value.clone() for name, value in stack.buffers.items()}
    assert any(not torch.equal(inside[name], before[name]) for name in before)
    assert all(torch.equal(stack.buffers[name], before[name]) for name in before)
    with pytest.raises(ZeroDivisionError), stack.preserved():
        stack(2 * x)
        raise ZeroDivisionError
    assert all(torch.equal(stack.buffers[name], before[name]) for name in before)
    stack(2 * x)
    assert any(not torch.equal(stack.buffers[name], before[name]) for name in before)


class TestDropout:
    """Masks come from the caller, for each run."""

    plan = blueprint("dcgan16", drop=0.5)

    def noise(self, name: str, shape: tuple[int, ...]) -> Tensor:
        generator = torch.Generator().manual_seed(len(name) + shape[-1])
        return torch.rand(RUNS, *shape, generator=generator, dtype=torch.float64)

    def test_shapes_are_found(self) -> None:
        module = build_generator(self.plan)
        assert dropout_shapes(module, torch.zeros(2, LATENT)) == {
            "hidden.hidden1.3.noise": (12, 4, 4),
            "hidden.hidden2.3.noise": (6, 8, 8),
        }
        assert all(
            layer.noise.numel() == 0
            for layer in module.modules()
            if isinstance(layer, StreamDropout)
        )

    def test_each_run_has_its_own_mask(self) -> None:
        made = modules(build_generator, self.plan)
        z = inputs(LATENT)
        stack = stack_of(made, z)
        found = stack(z, noise=self.noise)
        for run, module in enumerate(made):
            for name, shape in stack.dropouts.items():
                layer = module.get_submodule(name.removesuffix(".noise"))
                layer.noise = self.noise(name, (BATCH, *shape))[run]
            expected = module.train()(z[run])
            torch.testing.assert_close(found[run], expected, rtol=1e-11, atol=1e-12)

    def test_masks_are_no_part_of_the_state(self) -> None:
        stack = stack_of(modules(build_generator, self.plan), inputs(LATENT))
        assert not any("noise" in name for name in stack.state(0))

    def test_an_active_layer_without_noise_is_an_error(self) -> None:
        z = inputs(LATENT)
        stack = stack_of(modules(build_generator, self.plan), z)
        with pytest.raises(ValueError, match=r"hidden\.hidden1\.3\.noise is active"):
            stack(z)

    def test_evaluation_asks_for_no_noise(self) -> None:
        z = inputs(LATENT)
        made = modules(build_generator, self.plan)
        found = stack_of(made, z)(z, training=False)
        expected = made[1].eval()(z[1])
        torch.testing.assert_close(found[1], expected, rtol=1e-11, atol=1e-12)


def test_precision_is_converted_and_counters_are_not() -> None:
    plan = blueprint("toy2d", norm="batch")
    torch.manual_seed(0)
    made = [build_discriminator(plan)]
    stack = Stack(made, torch.zeros(2, 2), device=CPU, dtype=torch.float64)
    assert stack.theta.dtype == torch.float64
    kinds = {name.rpartition(".")[2]: value.dtype for name, value in stack.buffers.items()}
    assert kinds["running_mean"] == torch.float64
    assert kinds["num_batches_tracked"] == torch.int64


def test_theta_holds_the_parameters_in_their_order() -> None:
    made = modules(build_discriminator, blueprint("toy2d"))
    stack = stack_of(made, inputs(2))
    for run, module in enumerate(made):
        flat = torch.cat([p.detach().flatten() for p in module.parameters()])
        assert torch.equal(stack.theta[run].detach(), flat)
        for name, value in module.named_parameters():
            assert torch.equal(stack.parameters()[name][run], value)
    assert stack.theta.is_leaf


def test_the_modules_that_were_given_are_left_alone() -> None:
    made = modules(build_discriminator, blueprint("toy2d", norm="batch"))
    before = [state_of(module) for module in made]
    stack = stack_of(made, inputs(2))
    stack(inputs(2))
    with torch.no_grad():
        stack.theta.add_(1)
    for module, state in zip(made, before, strict=True):
        assert all(torch.equal(value, state[name]) for name, value in module.state_dict().items())


def test_a_parameter_without_dimensions_is_kept() -> None:
    class Scale(nn.Module):
        def __init__(self, value: float) -> None:
            super().__init__()
            self.factor = nn.Parameter(torch.tensor(value, dtype=torch.float64))

        def forward(self, x: Tensor) -> Tensor:
            return self.factor * x

    stack = Stack([Scale(2.0), Scale(3.0)], torch.ones(2, 1), device=CPU, dtype=torch.float64)
    found = stack(torch.ones(2, 4, 1, dtype=torch.float64))
    assert found.flatten(1)[:, 0].tolist() == [2.0, 3.0]
    assert stack.state(1)["factor"].shape == ()


class TestState:
    """Saving, loading and dropping runs."""

    plan = blueprint("dcgan16")

    def trained(self) -> Stack:
        x = inputs(*self.plan.shape)
        stack = stack_of(modules(build_discriminator, self.plan), x)
        stack(x)
        return stack

    def test_a_state_fits_the_plain_module(self) -> None:
        stack = self.trained()
        module = build_discriminator(self.plan).double()
        module.load_state_dict(stack.state(1))
        x = inputs(*self.plan.shape)
        found = stack(x, training=False).logits[1]
        torch.testing.assert_close(module.eval()(x[1]).logits, found, rtol=1e-11, atol=1e-12)

    def test_loading_is_exact(self) -> None:
        source, target = self.trained(), stack_of(
            modules(build_discriminator, self.plan), inputs(*self.plan.shape)
        )  # fmt: skip
        for run in range(RUNS):
            target.load(run, source.state(RUNS - 1 - run))
        assert torch.equal(target.theta, source.theta.flip(0))
        for name, value in source.buffers.items():
            assert torch.equal(target.buffers[name], value.flip(0))
        assert target.theta.requires_grad

    def test_a_state_is_a_copy(self) -> None:
        stack = self.trained()
        state = stack.state(0)
        kept = {name: value.clone() for name, value in state.items()}
        stack(inputs(*self.plan.shape))
        with torch.no_grad():
            stack.theta.zero_()
        assert all(torch.equal(state[name], value) for name, value in kept.items())

    def test_the_state_of_another_network_is_refused(self) -> None:
        stack = self.trained()
        state = stack.state(0)
        del state["head.output.weight"]
        with pytest.raises(KeyError, match=r"head\.output\.weight"):
            stack.load(0, state)

    def test_a_copy_that_evaluates_leaves_training_as_it_is(self) -> None:
        disturbed, left_alone = self.trained(), self.trained()
        x = inputs(*self.plan.shape)
        copied = disturbed.of([1])
        evaluated = copied(x[[1]], training=False).logits[0]
        assert torch.equal(disturbed(x).logits, left_alone(x).logits)
        trained = copied(x[[1]]).logits[0]
        assert not torch.allclose(trained, evaluated)
        assert torch.equal(disturbed.theta, left_alone.theta)
        for name, value in left_alone.buffers.items():
            assert torch.equal(disturbed.buffers[name], value)

    def test_kept_runs_go_on(self) -> None:
        stack = self.trained()
        x = inputs(*self.plan.shape)
        expected = stack(x, training=False).logits[[2, 0]]
        stack.keep([2, 0])
        assert stack.runs == 2
        assert stack.theta.is_leaf
        found = stack(x[[2, 0]], training=False).logits
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def test_linear_layers_leave_units_before_the_batch_in_memory() -> None:
    made = modules(build_discriminator, PLANS["toy2d"])
    x = inputs(2)
    judged = stack_of(made, x)(x)
    hidden = judged.features["hidden1"]
    assert hidden.shape == (RUNS, BATCH, 6)
    assert hidden.mT.is_contiguous()
    # Batch normalisation would have to turn them round.
    normalized = modules(build_discriminator, PLANS["toy2d-batch"])
    assert not stack_of(normalized, x)(x).features["hidden1"].mT.is_contiguous()


def test_linear_layers_of_other_batches_and_of_subclasses_are_as_they_were() -> None:
    class Halved(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) / 2

    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(3, 4), Halved(4, 2, bias=False))
    for x in (torch.rand(5, 3), torch.rand(7, 5, 3), torch.rand(3)):
        expected = network(x)
        torch.testing.assert_close(units_first(copy.deepcopy(network))(x), expected)


def test_a_normalised_weight_is_estimated_once_per_pass() -> None:
    torch.manual_seed(0)
    plain = normalize_spectrally(nn.Sequential(nn.Linear(6, 4)).double())
    with torch.no_grad():
        plain[0].parametrizations.weight.original.add_(torch.rand(4, 6))
    other = units_first(copy.deepcopy(plain))
    x = torch.rand(5, 6, dtype=torch.float64)
    for _ in range(3):
        torch.testing.assert_close(other(x), plain(x))
    assert_equal_states(other, plain)


def assert_equal_states(one: nn.Module, other: nn.Module) -> None:
    for name, value in one.state_dict().items():
        assert torch.equal(value, other.state_dict()[name]), name
