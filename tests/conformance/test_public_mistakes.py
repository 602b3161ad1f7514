"""Proves that mistakes found in public GAN code are not made here; numbers are those of RECIPES."""

import ast
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

import harness
from harness.datasets.base import datasets
from harness.datasets.mixtures import Mixture
from harness.jobs.job import Job
from harness.networks.base import build_discriminator, build_generator, networks
from harness.networks.blueprint import Blueprint, DiscriminatorPlan, GeneratorPlan
from harness.parts import variants
from harness.parts.blueprint import blueprint_of
from harness.parts.penalties import centred_penalty, input_gradient, interpolate
from harness.store.folders import Store
from harness.store.reading import read_run
from harness.testing.cells import CPU, make_trainer, training_data
from harness.testing.specs import make_spec
from harness.testing.stubs import FixedBatch, FixedGame
from harness.training.batch import Batch
from harness.training.trainer import Trainer
from tests.conformance.matrix import CELLS

BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)


class TestMistake1PenaltyNorm:
    """A norm over the channels only or over the whole batch; one α for the whole batch."""

    def judge(self, x: Tensor) -> Tensor:
        return x.flatten(2).pow(3).sum(2)

    def images(self) -> tuple[Tensor, Tensor, Tensor]:
        generator = torch.Generator().manual_seed(8)
        draw = torch.rand(2, 1, 5, 3, 4, 4, generator=generator, dtype=torch.float64)
        return draw[0], -draw[1], torch.rand(1, 5, generator=generator, dtype=torch.float64)

    def test_the_norm_is_of_one_example_and_of_all_its_dimensions(self) -> None:
        real, fake, alpha = self.images()
        x = interpolate(real, fake, alpha)
        found = centred_penalty(input_gradient(self.judge, x)).item()
        slope = 3 * x[0].numpy() ** 2
        right = np.mean([(np.sqrt((one**2).sum()) - 1) ** 2 for one in slope])
        over_channels = np.mean((np.sqrt((slope**2).sum(axis=1)) - 1) ** 2)
        over_batch = (np.sqrt((slope**2).sum()) - 1) ** 2
        assert found == pytest.approx(right, rel=1e-12)
        assert abs(over_channels - right) > 1
        assert abs(over_batch - right) > 1

    def test_every_example_has_its_own_alpha(self) -> None:
        real, fake, alpha = self.images()
        x = interpolate(real, fake, alpha)
        share = ((x - real) / (fake - real))[0].flatten(1)
        torch.testing.assert_close(share, alpha[0][:, None].expand_as(share))
        assert alpha.unique().numel() == 5

    def test_wgan_gp_asks_for_one_alpha_per_example(self) -> None:
        real, fake, alpha = self.images()
        batch = FixedBatch(real=real, fake=fake, noise={"penalty": alpha}, formula=self.judge)
        found = variants.get("wgan-gp")().discriminator_objective(
            FixedGame(1), batch, torch.zeros(1, dtype=torch.float64)
        )
        assert batch.asked == [("penalty", (5,))]
        x = interpolate(real, fake, alpha)
        assert found.item() == pytest.approx(
            10 * centred_penalty(input_gradient(self.judge, x)).item(), rel=1e-12
        )


def test_mistake_2_an_update_ratio_is_obeyed() -> None:
    weights = []
    for d in (1, 5):
        spec = make_spec("ring8", "lsgan", [("update-ratio", {"d": d, "g": 2})])
        trainer = make_trainer([spec])
        trainer.train_step()
        assert (trainer.optimizer_d.updates, trainer.optimizer_g.updates) == (d, 2)
        weights.append(trainer.game.D.theta)
    assert not torch.equal(*weights)


CRITICS = [
    (dataset, network, laid_over)
    for dataset in ("ring8", "digits")
    for network in ("toy2d", "mlp-small", "dcgan")
    for laid_over in ((), ("patchgan",), ("dropout-g", "feature-matching"))
    if (network == "toy2d") == (dataset == "ring8")
    if dataset == "digits" or "patchgan" not in laid_over
]


@pytest.mark.parametrize(("dataset", "network", "laid_over"), CRITICS)
def test_mistake_4_no_batch_norm_in_a_penalised_critic(
    dataset: str, network: str, laid_over: tuple[str, ...]
) -> None:
    spec = make_spec(dataset, "wgan-gp", laid_over, network=network, precision="float64")
    critic = build_discriminator(blueprint_of(spec))
    assert not any(isinstance(module, BATCH_NORMS) for module in critic.modules())
    game = make_trainer([spec]).game
    batch = Batch(game, "discriminator", 0)
    together = batch.judge(batch.real, "all").logits
    for i in range(3):
        alone = batch.judge(batch.real[:, i : i + 1], "one").logits
        torch.testing.assert_close(together[:, i : i + 1], alone, rtol=1e-9, atol=1e-12)


def test_mistake_4_would_be_seen() -> None:
    game = make_trainer([make_spec("digits", "dcgan", precision="float64")]).game
    batch = Batch(game, "discriminator", 0)
    together, apart = (batch.judge(x, "test").logits for x in (batch.real, batch.real[:, :2]))
    difference = together[:, :2] - apart
    assert difference.abs().max() > 1e-6


def test_mistake_8_features_are_matched_between_batch_means() -> None:
    game = make_trainer([make_spec("ring8", "gan", ["feature-matching"])]).game
    batch = Batch(game, "generator", 0)
    found = game.generator_loss(batch).item()
    real = batch.judged_real.features["hidden2"][0].detach().numpy()
    fake = batch.judged_fake.features["hidden2"][0].detach().numpy()
    between_means = ((real.mean(axis=0) - fake.mean(axis=0)) ** 2).sum()
    per_example = ((real - fake) ** 2).sum(axis=1).mean()
    assert found == pytest.approx(between_means, rel=1e-5)
    assert per_example > 1.2 * between_means


@pytest.mark.parametrize(
    "name", [cls.id for cls in datasets if isinstance(cls, type) and issubclass(cls, Mixture)]
)
def test_mistake_9_a_mixture_has_all_its_modes(name: str) -> None:
    mixture = datasets.get(name)()
    assert isinstance(mixture, Mixture)
    modes = mixture.modes
    gaps = np.linalg.norm(modes[:, None] - modes[None], axis=2) + np.eye(len(modes)) * 1e9
    assert len(modes) == mixture.classes
    assert gaps.min() > 6 * mixture.sigma
    points = training_data(name).values.double().numpy()
    nearest = np.linalg.norm(points[:, None] - modes[None], axis=2).argmin(axis=1)
    share = np.bincount(nearest, minlength=len(modes)) / len(points)
    assert share == pytest.approx([1 / len(modes)] * len(modes), rel=0.1)


def test_mistake_9_the_ring_has_eight_modes_at_equal_angles() -> None:
    modes = datasets.get("ring8")().modes
    angles = np.sort(np.arctan2(modes[:, 1], modes[:, 0]) % (2 * np.pi))
    assert angles == pytest.approx([k * np.pi / 4 for k in range(8)])


@pytest.mark.parametrize("name", ["rsgan", "ragan", "r3gan"])
def test_mistake_3_a_relativistic_generator_sees_real_data(name: str) -> None:
    game = make_trainer([make_spec("ring8", name, precision="float64")]).game
    batch, other = Batch(game, "generator", 0), Batch(game, "generator", 0)
    other.__dict__["judged_real"] = batch.judged_real._replace(
        logits=batch.judged_real.logits + 1.0
    )
    plain = [softplus(-seen.judged_fake.logits).mean() for seen in (batch, other)]
    found = [game.generator_loss(seen).item() for seen in (batch, other)]
    assert found[1] - found[0] > 0.1
    assert plain[0] == plain[1]
    assert found[0] != pytest.approx(plain[0].item(), rel=1e-6)


class TestMistake13Seeds:
    """A seed that is accepted and only sometimes used."""

    def first_steps(self, seed: int) -> list[Tensor]:
        trainer = make_trainer([make_spec("ring8", "gan", ["dropout-g"], seed=seed)])
        game = trainer.game
        drawn = [game.G.theta.detach().clone(), game.D.theta.detach().clone()]
        batch = Batch(game, "discriminator", 0)
        drawn += [batch.real, batch.normal("latent", 8, 4), batch.fake]
        trainer.train_step()
        return [*drawn, trainer.game.G.theta.detach(), game.sample(4, "evaluation")]

    def test_another_seed_changes_everything(self) -> None:
        for ours, theirs in zip(self.first_steps(1), self.first_steps(2), strict=True):
            assert not torch.equal(ours, theirs)

    def test_the_seed_alone_decides(self) -> None:
        torch.manual_seed(100)
        first = self.first_steps(7)
        torch.manual_seed(200)
        torch.rand(13)
        for ours, theirs in zip(first, self.first_steps(7), strict=True):
            assert torch.equal(ours, theirs)

    def test_training_leaves_the_global_generator_alone(self) -> None:
        torch.manual_seed(3)
        expected = torch.rand(4)
        torch.manual_seed(3)
        self.first_steps(5)
        assert torch.equal(torch.rand(4), expected)


class TestMistake14NonFinite:
    """NaN gradients replaced by zero, or NaN runs retried until one survives."""

    @pytest.mark.parametrize("optimizer", ["adam", "rmsprop", "sgd"])
    def test_a_nan_gradient_reaches_the_weights_and_is_reported(self, optimizer: str) -> None:
        specs = [make_spec("ring8", "gan", seed=seed, optimizer=optimizer) for seed in (0, 1)]
        trainer = make_trainer(specs)
        inner = trainer.game.generator_loss

        def poisoned(batch: Batch) -> Tensor:
            factor = torch.tensor([1.0, torch.nan])
            return inner(batch) * factor

        trainer.game.generator_loss = poisoned
        trainer.train_step()
        del trainer.game.generator_loss
        # Units that a ReLU has switched off get the gradient zero whatever flows back to them.
        broken = trainer.game.G.theta[1].isnan()
        assert broken.double().mean() > 0.5
        trainer.train_step()
        assert trainer.game.G.theta[1].isnan()[broken].all()
        assert trainer.game.G.theta[0].isfinite().all()
        rows, divergences = trainer.read()
        assert divergences[0] is None
        assert (divergences[1].step, divergences[1].what) == (1, "generator loss")
        assert np.isnan(rows[1]["g_loss"])

    def test_no_line_of_the_program_replaces_nan(self) -> None:
        suspects = {"nan_to_num", "nan_to_num_", "nanmean", "nansum", "nanmedian"}
        for file in Path(harness.__file__).parent.rglob("*.py"):
            names = {
                getattr(node, "attr", getattr(node, "id", ""))
                for node in ast.walk(ast.parse(file.read_text()))
            }
            assert not names & suspects, file

    def test_a_diverged_run_is_a_result_and_is_not_tried_again(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        spec = make_spec("ring8", "lsgan", optimizer="sgd", lr_d=1e30, lr_g=1e30)
        store = Store(tmp_path / "results")
        job = Job(store, CPU)
        assert job.train([spec]) == 0
        record = read_run(store.create(spec))
        assert record.outcome is not None
        assert record.outcome.outcome == "diverged"
        assert record.is_final
        before = (record.path / "events.jsonl").read_bytes()
        monkeypatch.setattr(Trainer, "train_step", lambda self: pytest.fail("trained again"))
        assert Job(store, CPU).train([spec]) == 0
        assert (record.path / "events.jsonl").read_bytes() == before


class TestMistake15BatchNorm:
    """``BatchNorm1d(n, 0.8)``: a momentum passed where eps stands."""

    def layers(self, kind: Any) -> list[tuple[str, Any]]:
        """Build everything, and list its layers of a kind with their network's family."""
        built = []
        for cell in CELLS:
            plan = blueprint_of(cell.spec())
            for role, build in (
                ("generator", build_generator),
                ("discriminator", build_discriminator),
            ):
                built.append((getattr(plan, role).network, build(plan)))
        for name in networks.names():
            family = networks.get(name)()
            for shape in ((2,), (1, 16, 16), (3, 32, 32), (3, 64, 64)):
                if family.misfit(shape) is None:
                    built += [(name, module) for module in self.normalised(name, family, shape)]
        return [
            (name, layer)
            for name, module in built
            for layer in module.modules()
            if isinstance(layer, kind)
        ]

    def normalised(self, name: str, family: Any, shape: tuple[int, ...]) -> list[nn.Module]:
        found = []
        for kind in (None, *(k for k in family.normalizations if k != "virtual")):
            plan = Blueprint(
                GeneratorPlan(name, 8, normalization=kind),
                DiscriminatorPlan(name, 8, normalization=kind),
                4,
                shape,
            )
            found.append(build_discriminator(plan))
            if family.has_generator:
                found.append(build_generator(plan))
        return found

    def test_eps_and_momentum_are_each_in_their_place(self) -> None:
        batch_norms = self.layers(BATCH_NORMS)
        group_norms = self.layers(nn.GroupNorm)
        assert len(batch_norms) > 20
        assert len(group_norms) > 5
        found: dict[str, set[tuple[float, float]]] = {}
        for name, layer in batch_norms:
            found.setdefault(name, set()).add((layer.eps, layer.momentum))
        assert {name: found.pop(name) for name in ON_PURPOSE} == ON_PURPOSE
        assert set.union(*found.values()) == {(1e-5, 0.1)}
        assert {layer.eps for _, layer in group_norms} == {1e-5}


ON_PURPOSE = {"mlp-s1": {(1e-5, 0.8)}, "mlp-s1-eps": {(0.8, 0.1)}}
"""Families that set a batch normalisation's (eps, momentum), so that a suite can compare them."""
