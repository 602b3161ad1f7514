"""Proves virtual batch normalisation: its statistics, and a reference that never changes."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from harness.jobs.job import Job
from harness.networks.base import build_generator
from harness.networks.virtual import VirtualBatchNorm
from harness.parts import tricks
from harness.parts.blueprint import blueprint_of
from harness.store.folders import Store
from harness.store.reading import read_run
from harness.testing.cells import CPU, game_of, make_trainer, refusal, trainer_of
from harness.testing.specs import make_spec
from harness.training.batch import Batch
from harness.training.checkpoint import last_state
from harness.training.streams import seeded

FIVE = ("virtual-batch-norm", {"reference": 5})


def normalised_by_hand(examples: Tensor, reference: Tensor, channel: int) -> list[Tensor]:
    """Normalise one channel of each example by the reference batch and itself, as Salimans §3.5.

    The batch of n + 1 that an example is normalised by is put together in full.
    """
    results = []
    for example in examples:
        together = torch.cat([reference, example[None]])[:, channel].flatten().tolist()
        mean = sum(together) / len(together)
        variance = sum((value - mean) ** 2 for value in together) / len(together)
        results.append((example[channel] - mean) / math.sqrt(variance + 1e-5))
    return results


class TestVirtualBatchNorm:
    """The layer, the generator around it, and the reference batch."""

    @pytest.mark.parametrize("shape", [(), (2, 3)], ids=["units", "maps"])
    def test_formula(self, shape: tuple[int, ...]) -> None:
        generator = torch.Generator().manual_seed(2)
        x = torch.randn(5 + 4, 3, *shape, generator=generator, dtype=torch.float64) * 2 + 1
        layer = VirtualBatchNorm(3, 5).double()
        with torch.no_grad():
            layer.weight.copy_(torch.tensor([1.0, 2.0, -0.5]))
            layer.bias.copy_(torch.tensor([0.0, 1.0, 3.0]))
        found = layer(x).detach()
        for channel in range(3):
            scale, shift = layer.weight[channel].item(), layer.bias[channel].item()
            expected = normalised_by_hand(x[5:], x[:5], channel)
            for example, wanted in zip(found[5:], expected, strict=True):
                torch.testing.assert_close(example[channel], scale * wanted + shift)
        by_itself = nn.functional.batch_norm(
            x[:5], None, None, layer.weight, layer.bias, training=True
        )
        torch.testing.assert_close(found[:5], by_itself.detach())

    @pytest.mark.parametrize(
        ("dataset", "variant"), [("ring8", "gan"), ("digits", "gan"), ("digits", "dcgan")]
    )
    def test_an_example_does_not_depend_on_its_batch(self, dataset: str, variant: str) -> None:
        game = game_of(dataset, variant, FIVE, runs=2)
        z = Batch(game, "discriminator", 0).latents
        for training in (True, False):
            together = game.G(z, training=training)
            for i in range(3):
                alone = game.G(z[:, i : i + 1], training=training)
                torch.testing.assert_close(together[:, i : i + 1], alone, rtol=1e-9, atol=1e-12)
        if variant == "dcgan":
            plain = game_of(dataset, variant)
            pair = plain.G(z[:1]), plain.G(z[:1, :2])
            assert (pair[0][:, :2] - pair[1]).abs().max() > 1e-6

    def test_the_generator_is_the_plain_modules_with_the_layers_by_hand(self) -> None:
        spec = make_spec("ring8", "gan", [FIVE])
        game = game_of("ring8", "gan", FIVE)
        with seeded(0, "init/generator"):
            module = build_generator(blueprint_of(spec)).double()
        batch = Batch(game, "discriminator", 0)
        h = torch.cat([module.reference_z, batch.latents[0]])
        for layer in ("hidden1", "hidden2"):
            linear = module.get_submodule(f"module.hidden.{layer}.0")
            h = linear(h)
            reference = nn.functional.batch_norm(h[:5], None, None, training=True)
            channels = [torch.stack(normalised_by_hand(h[5:], h[:5], c)) for c in range(8)]
            h = torch.cat([reference, torch.stack(channels, dim=1)]).relu()
        expected = module.get_submodule("module.output")(h[5:])
        torch.testing.assert_close(batch.fake[0], expected.detach())

    def test_only_the_generator_has_it(self) -> None:
        blueprint = blueprint_of(make_spec("digits", "dcgan", [FIVE]))
        assert blueprint.discriminator.normalization is None
        layers = list(build_generator(blueprint).modules())
        assert sum(isinstance(layer, VirtualBatchNorm) for layer in layers) == 2
        assert not any(isinstance(layer, nn.BatchNorm2d) for layer in layers)

    def test_runs_have_references_of_their_own_and_a_seed_its_own(self) -> None:
        game = game_of("ring8", "gan", FIVE, runs=2)
        first, second = game.G.buffers["reference_z"]
        assert first.shape == (5, 4)
        assert not torch.equal(first, second)
        assert torch.equal(game_of("ring8", "gan", FIVE).G.buffers["reference_z"][0], first)

    @pytest.mark.parametrize("order", [(0, 1), (1, 0)])
    def test_the_reference_follows_the_law_of_the_latents(self, order: tuple[int, ...]) -> None:
        pair: list[Any] = [("virtual-batch-norm", {"reference": 4096}), "latent"]
        uniform = game_of("ring8", "gan", *(pair[i] for i in order)).G.buffers["reference_z"]
        normal = game_of("ring8", "gan", pair[0]).G.buffers["reference_z"]
        assert normal.var().item() == pytest.approx(1, abs=0.03)
        assert uniform.var().item() == pytest.approx(1 / 3, abs=0.01)
        torch.testing.assert_close(uniform, (normal / math.sqrt(2)).erf())

    def test_training_differs_from_training_without(self) -> None:
        plain, virtual = trainer_of("digits", "dcgan"), trainer_of("digits", "dcgan", FIVE)
        assert torch.equal(plain.game.G.theta, virtual.game.G.theta)
        for trainer in (plain, virtual):
            trainer.train_step()
        assert not torch.equal(plain.game.G.theta, virtual.game.G.theta)

    def test_where_it_cannot_be_it_is_refused(self) -> None:
        twice = ["virtual-batch-norm", "virtual-batch-norm"]
        reason = refusal(make_spec("digits", "dcgan", twice))
        assert reason == "dcgan normalises its generator so already"
        for variant in ("gan", "dcgan", "lsgan", "wgan", "wgan-gp", "sngan"):
            assert refusal(make_spec("digits", variant, [FIVE])) is None

    @pytest.mark.parametrize("reference", [0, 1, 2.5])
    def test_what_is_no_batch_is_refused(self, reference: float) -> None:
        with pytest.raises(ValidationError):
            tricks.get("virtual-batch-norm")(reference=reference)


class TestMistake7Reference:
    """A reference batch that is replaced by the batch of the day."""

    def test_it_is_the_same_after_training_measuring_and_a_checkpoint(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        spec = make_spec("ring8", "gan", [FIVE], steps=10)
        start = make_trainer([spec])
        first = start.game.G.buffers["reference_z"].clone()
        for _ in range(3):
            start.train_step()
            assert torch.equal(start.game.G.buffers["reference_z"], first)
        start.game.sample(20, "evaluation")
        assert torch.equal(start.game.G.buffers["reference_z"], first)
        store = Store(tmp_path / "results")
        assert Job(store, CPU).train([spec]) == 0
        record = read_run(store.folder(spec))
        newest = last_state(record.path, spec.id)
        assert newest is not None
        assert torch.equal(newest.tensors()["generator/reference_z"], first[0])

    def test_it_is_no_weight_that_could_be_trained(self) -> None:
        game = game_of("ring8", "gan", FIVE)
        assert not any("reference" in name for name in game.G.names)

    def test_its_activations_follow_the_weights(self) -> None:
        """The latents are fixed, their activations are those of the present generator."""
        game = game_of("ring8", "gan", FIVE)
        z = Batch(game, "discriminator", 0).latents
        before = game.G(z)
        with torch.no_grad():
            game.G.parameters()["module.hidden.hidden1.0.bias"].add_(5.0)
        # A shift of the layer's input alone is taken out by the statistics of both.
        torch.testing.assert_close(game.G(z), before)
