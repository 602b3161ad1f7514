"""Proves the patch discriminator: its map, its receptive field and its averaged loss."""

from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import nn

from harness.networks.base import build_discriminator
from harness.networks.blueprint import Blueprint, DiscriminatorPlan, GeneratorPlan
from harness.parts import remarks, tricks
from harness.testing.cells import game_of, make_trainer, refusal
from harness.testing.specs import make_spec
from harness.training.batch import Batch


def patch_discriminator(size: int, strided: int, flat: int, channels: int = 1) -> nn.Module:
    plan = DiscriminatorPlan("patch", 2, strided=strided, flat=flat)
    shape = (channels, size, size)
    blueprint = Blueprint(GeneratorPlan("mlp-small", 4), plan, 4, shape)
    # In evaluation mode: batch statistics would join every pixel with every other.
    return build_discriminator(blueprint).double().eval()


class TestPatchGAN:
    """A discriminator that judges patches."""

    @pytest.mark.parametrize(
        ("size", "strided", "flat", "side", "field"),
        [
            (16, 1, 0, 7, 10),
            (32, 2, 0, 7, 22),
            (64, 2, 0, 15, 22),
            (64, 2, 1, 14, 34),
            (64, 3, 0, 7, 46),
            (128, 3, 1, 14, 70),
        ],
    )
    def test_the_map_and_its_receptive_field(
        self, size: int, strided: int, flat: int, side: int, field: int
    ) -> None:
        torch.manual_seed(4)
        D = patch_discriminator(size, strided, flat)
        x = torch.randn(1, 1, size, size, dtype=torch.float64, requires_grad=True)
        logits = D(x).logits
        assert logits.shape == (1, side, side)
        trick = tricks.get("patchgan")(strided=strided, flat=flat)
        assert trick.receptive_field(size) == field
        jump = 2**strided
        starts = {}
        for i in range(0, side, max(1, side // 5)):
            (slope,) = torch.autograd.grad(logits[0, i, i], x, retain_graph=True)
            seen = slope[0, 0] != 0
            rows, columns = seen.any(1).nonzero().flatten(), seen.any(0).nonzero().flatten()
            assert torch.equal(rows, columns)
            first, last = int(rows[0]), int(rows[-1])
            assert seen[first : last + 1, first : last + 1].all()
            assert seen.sum() == (last - first + 1) ** 2
            inside = first > 0 and last < size - 1
            assert last - first + 1 == field if inside else last - first + 1 <= field
            starts[i] = (first, last, inside)
        whole = [(i, first) for i, (first, _, inside) in starts.items() if inside]
        assert whole or field >= size // 2
        for (i, first), (j, other) in pairwise(whole):
            assert other - first == (j - i) * jump

    @pytest.mark.parametrize(
        ("size", "strided", "field"), [(16, 1, 10), (32, 2, 22), (64, 2, 22), (128, 3, 46)]
    )
    def test_depth_follows_the_size(self, size: int, strided: int, field: int) -> None:
        trick = tricks.get("patchgan")()
        assert trick.depth(size) == strided
        assert trick.receptive_field(size) == field

    def test_pix2pix(self) -> None:
        assert tricks.get("patchgan")(strided=3, flat=1).receptive_field(256) == 70

    def test_a_person_is_told_the_receptive_field(self) -> None:
        assert remarks(make_spec("digits", "dcgan", ["patchgan", "dropout-g"])) == [
            "one logit of D sees 10×10 pixels of 16×16"
        ]
        assert remarks(make_spec("digits", "dcgan", [("patchgan", {"strided": 2})])) == [
            "one logit of D sees 22×22 pixels of 16×16"
        ]
        assert remarks(make_spec("digits", "dcgan")) == []

    @pytest.mark.parametrize("variant", ["gan", "lsgan", "wgan", "sngan", "dcgan"])
    def test_the_loss_averages_over_the_map(self, variant: str) -> None:
        game = game_of("digits", variant, "patchgan", runs=2)
        batch = Batch(game, "discriminator", 0)
        found = game.discriminator_loss(batch)
        r, f = batch.judged_real.logits, batch.judged_fake.logits
        assert r.shape == f.shape == (2, 8, 7, 7)
        own = game.variant
        for run in range(2):
            terms = [
                own.real_loss(r[run, i, h, w], torch.ones_like(r[0, 0, 0, 0])).item()
                + own.fake_loss(f[run, i, h, w], torch.zeros_like(r[0, 0, 0, 0])).item()
                for i in range(8)
                for h in range(7)
                for w in range(7)
            ]
            assert found[run].item() == pytest.approx(sum(terms) / len(terms), rel=1e-12)

    def test_the_variant_still_says_how_it_is_normalised(self) -> None:
        batch_norm = game_of("digits", "dcgan", ("patchgan", {"strided": 2}))
        assert any("running_mean" in name for name in batch_norm.D.buffers)
        none = game_of("digits", "wgan-gp", ("patchgan", {"strided": 2}))
        assert none.D.buffers == {}
        spectral = game_of("digits", "sngan", ("patchgan", {"strided": 2}))
        assert {name.rpartition(".")[2] for name in spectral.D.buffers} == {"u", "v"}

    @pytest.mark.parametrize(
        ("variant", "options", "width"),
        [("dcgan", {}, 8), ("lsgan", {}, 8), ("dcgan", {"width": 5}, 5)],
    )
    def test_its_width_is_in_channels(
        self, variant: str, options: dict[str, Any], width: int
    ) -> None:
        game = game_of("digits", variant, ("patchgan", options))
        assert game.D.parameters()["hidden.hidden1.0.weight"].shape == (1, width, 1, 4, 4)

    def test_the_generator_is_as_before(self) -> None:
        plain, tricked = game_of("digits", "dcgan"), game_of("digits", "dcgan", "patchgan")
        assert torch.equal(plain.G.theta, tricked.G.theta)
        assert plain.G.names == tricked.G.names

    @pytest.mark.parametrize("options", [{"strided": 4}, {"strided": 3, "flat": 1}])
    def test_networks_that_leave_no_map_are_refused(self, options: dict[str, Any]) -> None:
        reason = refusal(make_spec("digits", "dcgan", [("patchgan", options)]))
        assert reason is not None
        assert "no map" in reason

    def test_it_takes_the_place_of_convolutions_only(self) -> None:
        reason = refusal(make_spec("digits", "gan", ["patchgan"], network="mlp-small"))
        assert reason == "patches replace a convolutional discriminator; mlp-small has none"
        assert refusal(make_spec("digits", "gan", ["patchgan"], network="dcgan")) is None

    @pytest.mark.parametrize("strided", [1, 2])
    @pytest.mark.parametrize("flat", [0, 1])
    def test_what_is_not_refused_has_a_map(self, strided: int, flat: int) -> None:
        spec = make_spec("digits", "dcgan", [("patchgan", {"strided": strided, "flat": flat})])
        side = 16 // 2**strided - flat - 1
        assert refusal(spec) is None
        game = make_trainer([spec]).game
        assert Batch(game, "discriminator", 0).judged_real.logits.shape == (1, 8, side, side)
