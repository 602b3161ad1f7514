"""Proves BEGAN: reconstruction losses, the balance k, the measure M, and its networks."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from harness.networks.base import Judgement, build_discriminator, build_generator, networks
from harness.networks.blueprint import Blueprint
from harness.parts import Recipe, Schedule, variants
from harness.parts.blueprint import blueprint_of
from harness.testing.cells import game_of, make_trainer, refusal, trainer_of
from harness.testing.specs import make_spec
from harness.testing.stubs import FixedBatch, FixedGame
from harness.training.batch import Batch
from harness.training.streams import seeded


def test_reference_settings() -> None:
    variant = variants.get("began")
    assert variant.recipe == Recipe("adam", 1e-4, 1e-4, 0.5, 0.999)
    assert variant().schedule(Schedule()) == Schedule()
    assert (variant().gamma, variant().k_rate) == (0.5, 0.001)


REAL = [[0.5, 1.5, 1.0], [4.0, 2.0, 3.0]]
FAKE = [[0.2, 0.1, 0.3], [9.0, 7.0, 8.0]]
"""Reconstruction losses of two runs: L(x) of 1 and 3, L(G(z)) of 0.2 and 8."""


def losses_batch() -> FixedBatch:
    real, fake = (torch.tensor(rows, dtype=torch.float64) for rows in (REAL, FAKE))
    return FixedBatch(Judgement(-real, {}), Judgement(-fake, {}))


def game_with(k: list[float]) -> FixedGame:
    return FixedGame(2, memory={"began": {"k": torch.tensor(k, dtype=torch.float64)}})


def test_losses_are_the_papers() -> None:
    variant = variants.get("began")()
    game, batch = game_with([0.25, 0.5]), losses_batch()
    assert variant.discriminator_loss(game, batch).tolist() == pytest.approx(
        [1 - 0.25 * 0.2, 3 - 0.5 * 8]
    )
    assert variant.generator_loss(game, batch).tolist() == pytest.approx([0.2, 8])


def test_k_follows_the_balance_and_stays_within_0_and_1() -> None:
    cls = variants.get("began")
    game, batch = game_with([0.25, 0.5]), losses_batch()
    cls(gamma=0.7, k_rate=0.01).after_discriminator_update(game, batch)
    k = game.memory["began"]["k"]
    assert k.tolist() == pytest.approx([0.25 + 0.01 * (0.7 - 0.2), 0.5 + 0.01 * (2.1 - 8)])
    for start, rate, expected in (([0.9, 0.5], 1.0, [1.0, 0.0]), ([0.0, 0.05], 0.01, None)):
        game = game_with(start)
        cls(gamma=0.7, k_rate=rate).after_discriminator_update(game, batch)
        found = game.memory["began"]["k"].tolist()
        assert found == pytest.approx(expected or [0.005, 0.0])


def test_convergence_is_watched() -> None:
    variant = variants.get("began")(gamma=0.7)
    found = variant.watch(game_with([0.25, 0.5]), losses_batch())
    assert len(found) == len(variant.watched)
    assert found[0].tolist() == pytest.approx([1 + 0.5, 3 + 5.9])
    assert found[1].tolist() == [0.25, 0.5]


def test_every_run_has_its_own_k() -> None:
    options = [{"gamma": 0.1, "k_rate": 0.5}, {"gamma": 0.9, "k_rate": 1.0}]
    specs = [
        make_spec("ring8", ("began", given), seed=seed, precision="float64")
        for seed, given in enumerate(options)
    ]
    trainer = make_trainer(specs)
    assert trainer.game.memory["began"]["k"].tolist() == [0, 0]
    expected = [0.0, 0.0]
    for step in range(4):
        batch = Batch(trainer.game, "discriminator", step)
        real, fake = (
            -judged.logits.detach().mean(1) for judged in (batch.judged_real, batch.judged_fake)
        )
        trainer.train_step()
        for run, given in enumerate(options):
            moved = given["k_rate"] * (given["gamma"] * real[run] - fake[run]).item()
            expected[run] = min(1.0, max(0.0, expected[run] + moved))
        assert trainer.game.memory["began"]["k"].tolist() == pytest.approx(expected)
    assert expected[0] != expected[1]
    (row, _), _ = trainer.read()
    assert {"convergence", "k", "d_loss", "logit_gap"} <= row.keys()
    assert not {"d_accuracy_real", "saturation"} & row.keys()


@pytest.mark.parametrize("dataset", ["ring8", "digits"])
def test_the_logit_is_minus_the_mean_absolute_error(dataset: str) -> None:
    game = game_of(dataset, "began", runs=2)
    batch = Batch(game, "discriminator", 0)
    judged = batch.judged_real
    made = judged.outputs["reconstruction"]
    assert made.shape == batch.real.shape
    for run in range(2):
        for example in range(8):
            x, v = batch.real[run, example].flatten(), made[run, example].flatten()
            error = sum(abs(a - b) for a, b in zip(x.tolist(), v.tolist(), strict=True)) / len(x)
            assert judged.logits[run, example].item() == pytest.approx(-error, rel=1e-12)
    assert list(judged.features)[-1] == "embedding"


def test_the_generator_is_pulled_through_example_and_reconstruction() -> None:
    game = game_of("ring8", "began")
    batch = Batch(game, "generator", 0)
    (found,) = torch.autograd.grad(game.generator_loss(batch), batch.fake, torch.ones(1).double())
    x = batch.fake.detach().requires_grad_()
    made = game.D(x).outputs["reconstruction"]
    (whole,) = torch.autograd.grad((x - made).abs().mean(), x, retain_graph=True)
    (direct,) = torch.autograd.grad((x - made.detach()).abs().mean(), x)
    torch.testing.assert_close(found, whole)
    assert not torch.allclose(found, direct)


@pytest.mark.parametrize("dataset", ["ring8", "digits"])
def test_steps_equal_a_plain_loop(dataset: str) -> None:
    given = ("began", {"gamma": 0.6, "k_rate": 0.8})
    spec = make_spec(dataset, given, seed=5, precision="float64", lr_g=1e-3, lr_d=1e-3)
    trainer, source = make_trainer([spec]), make_trainer([spec]).game
    with seeded(spec.seed, "init/generator"):
        G = build_generator(blueprint_of(spec)).double()
    with seeded(spec.seed, "init/discriminator"):
        D = build_discriminator(blueprint_of(spec)).double()
    optimizer_g = torch.optim.Adam(G.parameters(), 1e-3, betas=(0.5, 0.999))
    optimizer_d = torch.optim.Adam(D.parameters(), 1e-3, betas=(0.5, 0.999))

    def energy(x: Tensor) -> Tensor:
        return nn.functional.l1_loss(D(x).outputs["reconstruction"], x)

    k = 0.0
    ks = []
    for step in range(5):
        trainer.train_step()
        batch = Batch(source, "discriminator", step)
        real, fake = energy(batch.real[0]), energy(G(batch.latents[0]).detach())
        optimizer_d.zero_grad()
        (real - k * fake).backward()
        optimizer_d.step()
        k = min(1.0, max(0.0, k + 0.8 * (0.6 * real.item() - fake.item())))
        ks.append(k)
        batch = Batch(source, "generator", step)
        optimizer_g.zero_grad()
        energy(G(batch.latents[0])).backward()
        optimizer_g.step()
    found = trainer.state(0)
    assert max(ks) > 0
    assert found["memory/began/k"].item() == pytest.approx(k, rel=1e-9)
    for player, module in (("generator", G), ("discriminator", D)):
        for name, value in module.state_dict().items():
            torch.testing.assert_close(
                found[f"{player}/{name}"], value, rtol=1e-9, atol=1e-10, msg=name
            )


def test_k_is_part_of_a_checkpoint() -> None:
    trainer = trainer_of("ring8", ("began", {"k_rate": 1.0, "gamma": 1.0}))
    trainer.game.memory["began"]["k"].fill_(0.375)
    saved = trainer.state(0)
    other = trainer_of("ring8", ("began", {"k_rate": 1.0, "gamma": 1.0}))
    other.load(0, saved, trainer.counters())
    assert other.game.memory["began"]["k"].tolist() == [0.375]


@pytest.mark.parametrize(
    ("network", "laid_over", "which"),
    [("mlp-small", [], "mlp-small"), ("autoencoder", ["patchgan"], "patch")],
)
def test_a_discriminator_that_reconstructs_nothing_is_refused(
    network: str, laid_over: list[str], which: str
) -> None:
    reason = refusal(make_spec("digits", "began", laid_over, network=network))
    assert reason == f"the discriminator {which} cannot be built with another reconstruction"


class TestNetworks:
    """The auto-encoders and their decoders."""

    def parameters(self, module: nn.Module) -> int:
        return sum(p.numel() for p in module.parameters())

    def built(self, name: str, shape: tuple[int, ...], width: int, latent: int) -> Any:
        plan = Blueprint.plain(name, width, latent, shape)
        return build_generator(plan), build_discriminator(plan)

    @pytest.mark.parametrize(("size", "scales"), [(16, 2), (32, 3), (64, 4)])
    def test_parameters_of_images(self, size: int, scales: int) -> None:
        n, channels = 6, 3
        G, D = self.built(f"autoencoder{size}", (channels, size, size), n, 64)
        same = 9 * n * n + n
        decoder = 65 * 64 * n + 2 * scales * same + 9 * n * channels + channels
        assert self.parameters(G) == decoder
        encoder = 9 * channels * n + n
        for scale in range(1, scales + 1):
            encoder += 2 * (9 * (scale * n) ** 2 + scale * n)
        for scale in range(1, scales):
            encoder += 9 * scale * n * (scale + 1) * n + (scale + 1) * n
        encoder += 64 * (scales * n * 64) + 64
        assert self.parameters(D) == encoder + decoder

    @pytest.mark.parametrize(("size", "scales"), [(16, 2), (32, 3), (64, 4)])
    def test_the_generator_is_the_decoder(self, size: int, scales: int) -> None:
        G, D = self.built(f"autoencoder{size}", (1, size, size), 6, 64)
        shapes = {name: p.shape for name, p in G.named_parameters()}
        assert shapes == {name: p.shape for name, p in D.decoder.named_parameters()}
        features = D(torch.zeros(2, 1, size, size)).features
        sides = [value.shape[2] for value in features.values() if value.ndim == 4]
        assert sides == [size, *(size >> scale for scale in range(1, scales)), 8]
        assert features["embedding"].shape == (2, 64)
        kinds = {type(module) for module in [*G.modules(), *D.modules()]}
        assert nn.ELU in kinds
        assert not any("Norm" in kind.__name__ for kind in kinds)

    def test_points_go_through_one_number(self) -> None:
        G, D = self.built("autoencoder2d", (2,), 8, 4)
        assert self.parameters(G) == 5 * 8 + 9 * 8 + 9 * 2
        assert self.parameters(D) == (3 * 8 + 9 * 8 + 9) + (2 * 8 + 9 * 8 + 9 * 2)
        assert D(torch.zeros(3, 2)).features["embedding"].shape == (3, 1)

    def test_packed_examples_are_reconstructed_together(self) -> None:
        for shape in ((4,), (2, 16, 16)):
            family = networks.get("autoencoder2d" if len(shape) == 1 else "autoencoder16")()
            plan = Blueprint.plain(family.id, 8, 4, shape).discriminator
            D = family.discriminator(plan, shape)
            assert D(torch.zeros(3, *shape)).outputs["reconstruction"].shape == (3, *shape)

    def test_its_own_images_stay_within_bounds_and_reconstructions_need_not(self) -> None:
        G, D = self.built("autoencoder16", (1, 16, 16), 4, 8)
        with torch.no_grad():
            for decoder in (G, D.decoder):
                decoder.output.bias.fill_(5.0)
        assert G(torch.randn(2, 8)).abs().max() <= 1
        assert D(torch.zeros(2, 1, 16, 16)).outputs["reconstruction"].min() > 1
