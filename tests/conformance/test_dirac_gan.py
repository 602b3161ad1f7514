"""Trains the Dirac-GAN, where convergence is known: D(x) = ψx, all data at 0, G(z) = θ.

Source: Mescheder et al. 2018, arXiv:1801.04406, sections 2 and 3. Losses, penalties, the game and
the optimiser are the program's own; the two networks have one parameter each.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from harness.networks.base import Judgement
from harness.networks.blueprint import Blueprint
from harness.parts import Trick, Variant, tricks, variants
from harness.training.batch import Batch
from harness.training.data import Data
from harness.training.game import Game
from harness.training.optimizers import SGD
from harness.training.stack import Stack
from harness.training.streams import Streams

CPU = torch.device("cpu")
RATE = 0.2
STEPS = 300
Point = tuple[float, float]
"""D's parameter ψ and G's parameter θ."""


class Constant(nn.Module):
    """A generator that ignores z."""

    def __init__(self, theta: float) -> None:
        super().__init__()
        self.theta = nn.Parameter(torch.tensor([theta], dtype=torch.float64))

    def forward(self, z: Tensor) -> Tensor:
        return self.theta.expand(len(z), 1)


class Slope(nn.Module):
    """A discriminator that is linear and passes through the origin."""

    def __init__(self, psi: float) -> None:
        super().__init__()
        self.psi = nn.Parameter(torch.tensor([psi], dtype=torch.float64))

    def forward(self, x: Tensor) -> Judgement:
        return Judgement((self.psi * x).squeeze(1), {})


def zero_centred(name: str) -> Trick:
    """Make R1 or R2 with γ = 1; here both are ψ²/2 wherever the gradient is taken."""
    return tricks.get(name)(gamma=1.0)


class Dirac:
    """Dirac-GANs that start at several points, one run each.

    Args:
        variant: The objective.
        starts: ψ and θ of each run.
        laid_over: The tricks.
        rate: Learning rate of both players.
        batch: Examples per update; more than two only where there is noise.
    """

    def __init__(
        self,
        variant: Variant,
        starts: Sequence[Point],
        laid_over: Sequence[Trick] = (),
        rate: float = RATE,
        batch: int = 2,
    ) -> None:
        runs = len(starts)
        like = {"device": CPU, "dtype": torch.float64}
        z = torch.zeros(2, 1, dtype=torch.float64)
        self.game = Game(
            type(variant).stacked([variant] * runs, **like),
            laid_over,
            Stack([Constant(theta) for _, theta in starts], z, **like),
            Stack([Slope(psi) for psi, _ in starts], z, **like),
            blueprint=Blueprint.plain("toy2d", 1, latent=1, shape=(1,), batch=batch),
            data=Data(torch.zeros(2 * batch, 1), CPU),
            streams=Streams(range(runs), CPU, torch.float64),
        )
        players = (self.game.D, self.game.G)
        self.optimizers = [
            SGD(player.theta, [rate] * runs, [0.0] * runs, [0.0] * runs) for player in players
        ]
        self.game.optimizer_d = self.optimizers[0]

    def update_discriminator(self) -> None:
        game, optimizer = self.game, self.optimizers[0]
        batch = Batch(game, "discriminator", optimizer.updates)
        loss = game.discriminator_loss(batch)
        optimizer.step(game.D.theta, torch.autograd.grad(loss.sum(), game.D.theta)[0])
        optimizer.updates += 1
        with torch.no_grad():
            for part in game.parts:
                part.after_discriminator_update(game, batch)

    def update_generator(self) -> None:
        game, optimizer = self.game, self.optimizers[1]
        loss = game.generator_loss(Batch(game, "generator", optimizer.updates))
        optimizer.step(game.G.theta, torch.autograd.grad(loss.sum(), game.G.theta)[0])
        optimizer.updates += 1

    def step(self, d_updates: int = 1) -> None:
        for _ in range(d_updates):
            self.update_discriminator()
        self.update_generator()

    @property
    def points(self) -> list[Point]:
        psi, theta = self.game.D.theta.detach(), self.game.G.theta.detach()
        return list(zip(psi[:, 0].tolist(), theta[:, 0].tolist(), strict=True))


def sigmoid(t: float) -> float:
    return 1 / (1 + math.exp(-t))


def sign(t: float) -> float:
    return math.copysign(1.0, t)


# What one update of ψ and then one of θ subtract, by hand, as functions of ψ and θ.
Slopes = tuple[Callable[[float, float], float], Callable[[float, float], float]]
ANALYTIC: dict[str, Slopes] = {
    "cgan": (lambda p, t: sigmoid(p * t) * t, lambda p, t: -sigmoid(-p * t) * p),
    "gan": (lambda p, t: sigmoid(p * t) * t, lambda p, t: -sigmoid(-p * t) * p),
    "gan-saturating": (lambda p, t: sigmoid(p * t) * t, lambda p, t: -sigmoid(p * t) * p),
    "gan-original": (lambda p, t: sigmoid(p * t) * t, lambda p, t: -sigmoid(-p * t) * p),
    "gan-exchanged": (lambda p, t: sigmoid(p * t) * t, lambda p, t: -sigmoid(-p * t) * p),
    "dragan": (
        lambda p, t: sigmoid(p * t) * t + 2 * (abs(p) - 1) * sign(p),
        lambda p, t: -sigmoid(-p * t) * p,
    ),
    # On the data D's answer is 0, so a pair's difference is the generated example's logit.
    "rsgan": (lambda p, t: sigmoid(p * t) * t, lambda p, t: -sigmoid(-p * t) * p),
    "ragan": (lambda p, t: 2 * sigmoid(p * t) * t, lambda p, t: -2 * sigmoid(-p * t) * p),
    # The gradient's norm is |ψ| on real and on generated data: γ/2 (R1 + R2) = γψ².
    "r3gan": (
        lambda p, t: sigmoid(p * t) * t + 2 * 0.05 * p,
        lambda p, t: -sigmoid(-p * t) * p,
    ),
    "lsgan": (lambda p, t: p * t * t, lambda p, t: (p * t - 1) * p),
    "sngan": (lambda p, t: t if p * t > -1 else 0.0, lambda p, t: -p),
    "wgan": (lambda p, t: t, lambda p, t: -p),
    "wgan-gp": (lambda p, t: t + 2 * 10 * (abs(p) - 1) * sign(p), lambda p, t: -p),
    "wgan-lp": (lambda p, t: t + 2 * max(0.0, abs(p) - 1) * sign(p), lambda p, t: -p),
}
OPTIONS: dict[str, dict[str, Any]] = {
    "wgan": {"clip": 100.0},
    "dragan": {"penalty_weight": 1.0},
    "wgan-lp": {"penalty_weight": 1.0},
}
STARTS = [(1.0, 1.0), (-0.4, 0.9), (0.3, -0.2), (-1.2, -0.5)]


def dirac(name: str, starts: Sequence[Point] = STARTS, *laid_over: Trick, **options: Any) -> Dirac:
    made = variants.get(name)(**{**OPTIONS.get(name, {}), **options})
    return Dirac(made, starts, laid_over)


def radius(point: Point) -> float:
    return math.hypot(*point)


@pytest.mark.parametrize("name", ANALYTIC)
def test_every_step_is_the_analytic_one(name: str) -> None:
    trained = dirac(name)
    expected = list(STARTS)
    d_slope, g_slope = ANALYTIC[name]
    for _ in range(60):
        trained.step()
        for run, (psi, theta) in enumerate(expected):
            psi -= RATE * d_slope(psi, theta)
            theta -= RATE * g_slope(psi, theta)
            expected[run] = (psi, theta)
        for found, wanted in zip(trained.points, expected, strict=True):
            assert found == pytest.approx(wanted, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("name", ["wgan", "sngan"])
def test_linear_objectives_circle_for_ever(name: str) -> None:
    # Alternating gradient descent on ψθ keeps this form exactly; it bounds ψ² + θ² from below.
    def invariant(point: Point) -> float:
        psi, theta = point
        return psi**2 + theta**2 - RATE * psi * theta

    starts = [(0.6, 0.2), (-0.3, 0.4)]
    trained = dirac(name, starts)
    turns = 0
    for _ in range(400):
        before = trained.points[0]
        trained.step()
        turns += before[0] < 0 <= trained.points[0][0]
        for point, start in zip(trained.points, starts, strict=True):
            assert invariant(point) == pytest.approx(invariant(start), rel=1e-9)
    assert turns == pytest.approx(400 * RATE / (2 * math.pi), abs=2)


def contraction(make: Callable[[Sequence[Point]], Dirac]) -> float:
    """Measure the largest |eigenvalue| of one step's derivative at the equilibrium (0, 0)."""
    size = 1e-6
    starts = [(size, 0.0), (-size, 0.0), (0.0, size), (0.0, -size)]
    trained = make(starts)
    trained.step()
    p = torch.tensor(trained.points, dtype=torch.float64)
    jacobian = torch.stack([(p[0] - p[1]) / (2 * size), (p[2] - p[3]) / (2 * size)], dim=1)
    return torch.linalg.eigvals(jacobian).abs().max().item()


@pytest.mark.parametrize(
    "name",
    [
        "gan",
        "gan-saturating",
        "gan-original",
        "lsgan",
        "rsgan",
        "ragan",
        "wgan",
        "wgan-lp",
        "sngan",
    ],
)
def test_unregularised_objectives_do_not_contract_at_the_equilibrium(name: str) -> None:
    assert contraction(lambda starts: dirac(name, starts)) == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize("penalty", ["r1", "r2"])
@pytest.mark.parametrize("name", ["gan", "wgan", "sngan"])
def test_a_zero_centred_penalty_contracts(name: str, penalty: str) -> None:
    found = contraction(lambda starts: dirac(name, starts, zero_centred(penalty)))
    assert found < 1 - RATE / 4


def test_r3gan_contracts_by_itself_and_faster_with_a_greater_gamma() -> None:
    weak, strong = (
        contraction(lambda starts, weight=weight: dirac("r3gan", starts, gamma=weight))
        for weight in (0.05, 0.5)
    )
    assert strong < weak < 1 - RATE * 0.05 / 2
    assert contraction(lambda starts: dirac("r3gan", starts, gamma=0.0)) == pytest.approx(1.0)
    for end in run(dirac("r3gan", gamma=0.5), STEPS)[-1]:
        assert radius(end) < 1e-9


@pytest.mark.parametrize("name", ["gan", "wgan", "sngan"])
def test_a_one_centred_penalty_does_not_contract(name: str) -> None:
    found = contraction(lambda starts: dirac(name, starts, tricks.get("gradient-penalty")()))
    assert found >= 1


def test_unrolling_contracts_as_by_hand() -> None:
    """At the equilibrium one update is ψ − ηθ/2, and what G then subtracts −η(ψ − ηθ)/2.

    The determinant of the step's derivative is 1 − η²/2, its eigenvalues are a complex pair.
    """
    found = contraction(lambda starts: dirac("gan", starts, tricks.get("unrolled")(k=1)))
    assert found == pytest.approx(math.sqrt(1 - RATE**2 / 2), abs=1e-6)


@pytest.mark.parametrize("penalty", ["r1", "r2"])
@pytest.mark.parametrize("name", ["gan", "wgan"])
def test_every_penalised_step_is_the_analytic_one(name: str, penalty: str) -> None:
    trained = dirac(name, STARTS, tricks.get(penalty)(gamma=0.7))
    expected = list(STARTS)
    d_slope, g_slope = ANALYTIC[name]
    for _ in range(30):
        trained.step()
        for run, (psi, theta) in enumerate(expected):
            psi -= RATE * (d_slope(psi, theta) + 0.7 * psi)
            theta -= RATE * g_slope(psi, theta)
            expected[run] = (psi, theta)
        for found, wanted in zip(trained.points, expected, strict=True):
            assert found == pytest.approx(wanted, rel=1e-9, abs=1e-9)


def run(trained: Dirac, steps: int, d_updates: int = 1) -> list[list[Point]]:
    path = []
    for _ in range(steps):
        trained.step(d_updates)
        path.append(trained.points)
    return path


def test_gan_still_circles_when_the_penalty_has_long_converged() -> None:
    plain = run(dirac("gan"), STEPS)
    penalised = run(dirac("gan", STARTS, zero_centred("r1")), STEPS)
    for start, end, controlled in zip(STARTS, plain[-1], penalised[-1], strict=True):
        assert radius(end) > 0.15 * radius(start)
        assert radius(controlled) < 1e-9
    for position in range(len(STARTS)):
        assert {points[position][1] > 0 for points in plain[-100:]} == {True, False}


@pytest.mark.parametrize("penalty", ["r1", "r2"])
@pytest.mark.parametrize("name", ["gan", "wgan", "sngan"])
def test_a_zero_centred_penalty_converges_from_every_start(name: str, penalty: str) -> None:
    for end in run(dirac(name, STARTS, zero_centred(penalty)), STEPS)[-1]:
        assert radius(end) < 1e-9


def test_instance_noise_converges_from_every_start() -> None:
    """But for the noise of a batch; without it the same steps go round for ever."""
    noise = tricks.get("instance-noise")(sigma=1.0, anneal=False)
    noisy = Dirac(variants.get("gan")(), STARTS, [noise], batch=4096)
    plain = Dirac(variants.get("gan")(), STARTS, batch=4096)
    for found, start, circling in zip(
        zip(*run(noisy, STEPS)[-50:], strict=True), STARTS, run(plain, STEPS)[-1], strict=True
    ):
        assert max(radius(point) for point in found) < 0.03
        assert radius(circling) > 0.15 * radius(start)


def test_lsgan_drives_the_generator_away_from_the_data() -> None:
    # D's answer on the data is 0 whatever ψ is; ψ dies out and leaves G wherever it has come to.
    path = run(dirac("lsgan", [(0.5, 0.1), (-0.8, -0.01)]), STEPS)
    for position in range(2):
        psi, theta = path[-1][position]
        assert abs(psi) < 1e-6
        assert abs(theta) > 1.0
        assert path[-50][position][1] == pytest.approx(theta, abs=1e-3)


@pytest.mark.parametrize("d_updates", [1, 5])
def test_wgan_with_clipping_does_not_converge(d_updates: int) -> None:
    path = run(dirac("wgan", [(0.5, 1.0), (-1.0, 0.3)], clip=0.5), STEPS, d_updates)
    clipped = [abs(psi) == 0.5 for points in path for psi, _ in points]
    assert any(clipped)
    assert all(abs(psi) <= 0.5 for points in path for psi, _ in points)
    for position in range(2):
        late = [points[position] for points in path[-100:]]
        assert min(radius(point) for point in late) > 0.2
        assert {theta > 0 for _, theta in late} == {True, False}


@pytest.mark.parametrize(
    ("weight", "rate", "d_updates"), [(1.0, 0.1, 1), (10, 0.02, 1), (1, 0.1, 3)]
)
def test_wgan_gp_does_not_converge(weight: float, rate: float, d_updates: int) -> None:
    starts = [(0.3, 0.8), (-1.0, -0.4), (0.01, 0.01)]
    trained = Dirac(variants.get("wgan-gp")(penalty_weight=weight), starts, rate=rate)
    path = run(trained, STEPS, d_updates)
    for position in range(len(starts)):
        late = [points[position] for points in path[-100:]]
        assert min(radius(point) for point in late) > 0.5


def test_every_objective_is_here() -> None:
    # What needs convolutions, or an answer of D that is more than one logit.
    on_other_networks = {"began", "dcgan", "dcgan-softmax", "infogan", "mad-gan", "vae"}
    assert ANALYTIC.keys() | on_other_networks == set(variants.names())
