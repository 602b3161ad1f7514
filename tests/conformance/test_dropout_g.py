"""Proves dropout in G: what it drops, when, and by whose noise."""

from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from harness.networks.base import build_generator
from harness.networks.dropout import StreamDropout
from harness.parts import tricks
from harness.parts.blueprint import blueprint_of
from harness.testing.cells import game_of, refusal, trainer_of
from harness.testing.specs import make_spec
from harness.training.batch import Batch
from harness.training.streams import seeded
from harness.training.trainer import Trainer


def plain_generator(trainer: Trainer, counter: int, phase: str, batch: int) -> nn.Module:
    """Build the first run's generator, its dropout layers filled from the run's streams."""
    with seeded(trainer.specs[0].seed, "init/generator"):
        module = build_generator(blueprint_of(trainer.specs[0])).double()
    for name, shape in trainer.game.G.dropouts.items():
        layer = module.get_submodule(name.removesuffix(".noise"))
        layer.noise = trainer.game.streams.uniform(f"{phase}/{name}", counter, (batch, *shape))[0]
    return module


def dropped_shares(module: nn.Module, z: Tensor) -> tuple[Tensor, dict[str, float]]:
    """Generate, and measure which share of what was active each dropout layer zeroes."""
    shares: dict[str, float] = {}
    for name, layer in module.named_modules():
        if isinstance(layer, StreamDropout):

            def hook(dropout: Any, inputs: Any, output: Tensor, name: str = name) -> None:
                active = inputs[0] != 0
                shares[name] = (output[active] == 0).double().mean().item()
                kept = active & (output != 0)
                torch.testing.assert_close(output[kept], inputs[0][kept] / (1 - dropout.p))

            layer.register_forward_hook(hook)
    return module(z), shares


class TestDropoutG:
    """Noise inside the generator."""

    @pytest.mark.parametrize("dataset", ["ring8", "digits"])
    @pytest.mark.parametrize("p", [0.5, 0.2])
    def test_it_drops_its_share_while_training(self, dataset: str, p: float) -> None:
        trainer = trainer_of(dataset, "lsgan", ("dropout-g", {"p": p}), width=32, batch=64)
        game = trainer.game
        batch = Batch(game, "discriminator", 0)
        module = plain_generator(trainer, 0, "discriminator", 64)
        fake, shares = dropped_shares(module, batch.normal("latent", 64, 4)[0])
        torch.testing.assert_close(batch.fake[0], fake)
        assert list(shares) == ["hidden.hidden1.3", "hidden.hidden2.3"]
        for share in shares.values():
            assert share == pytest.approx(p, abs=0.05)

    def test_masks_are_fresh_for_update_player_layer_run_and_example(self) -> None:
        game = game_of("ring8", "gan", "dropout-g", runs=2)
        masks = [
            row
            for phase in ("discriminator", "generator")
            for counter in (0, 1)
            for name, shape in game.G.dropouts.items()
            for row in Batch(game, phase, counter).uniform(name, 8, *shape).flatten(0, 1)
        ]
        assert len(masks) == 2 * 2 * 2 * 2 * 8
        assert torch.stack(masks).unique(dim=0).shape[0] == len(masks)

    @pytest.mark.parametrize("dataset", ["ring8", "digits"])
    def test_it_is_off_for_measurement_unless_asked_for(self, dataset: str) -> None:
        plain = game_of(dataset, "gan").sample(16, "evaluation")
        off = game_of(dataset, "gan", "dropout-g").sample(16, "evaluation")
        on = game_of(dataset, "gan", ("dropout-g", {"at_test": True}))
        assert torch.equal(off, plain)
        assert not torch.equal(on.sample(16, "evaluation"), plain)
        assert torch.equal(on.sample(16, "evaluation"), on.sample(16, "evaluation"))
        assert torch.equal(on.sample(16, "evaluation")[:, :5], on.sample(5, "evaluation"))
        assert not torch.equal(on.sample(16, "evaluation"), on.sample(16, "other"))

    def test_training_differs_from_training_without(self) -> None:
        plain, tricked = game_of("ring8", "gan"), game_of("ring8", "gan", "dropout-g")
        assert torch.equal(plain.G.theta, tricked.G.theta)
        for phase in ("discriminator", "generator"):
            fakes = [Batch(game, phase, 0).fake for game in (plain, tricked)]
            assert not torch.equal(*fakes)

    def test_layers_can_be_chosen(self) -> None:
        game = game_of("ring8", "gan", ("dropout-g", {"layers": ["hidden2"]}))
        assert list(game.G.dropouts) == ["hidden.hidden2.3.noise"]

    def test_unknown_layers_are_refused(self) -> None:
        spec = make_spec("ring8", "gan", [("dropout-g", {"layers": ["hidden2", "output"]})])
        reason = refusal(spec)
        assert reason == "toy2d-norm has the layers hidden1, hidden2, not output"

    def test_the_discriminator_gets_none(self) -> None:
        assert game_of("digits", "dcgan", "dropout-g").D.dropouts == {}

    @pytest.mark.parametrize("p", [0, 1, -0.1, 1.5])
    def test_what_is_no_probability_is_refused(self, p: float) -> None:
        with pytest.raises(ValidationError):
            tricks.get("dropout-g")(p=p)
