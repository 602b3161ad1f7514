"""Proves gradient clipping: the norm of one player of one run, before the optimiser sees it."""

import math
from typing import Any

import pytest
import torch

from harness.parts import tricks
from harness.testing.cells import game_of, make_trainer, refusal, trainer_of
from harness.testing.specs import make_spec
from harness.testing.stubs import FixedBatch, FixedGame
from harness.training.batch import Batch

SGD = {"optimizer": "sgd", "beta1": 0.0, "lr_g": 0.5, "lr_d": 0.25}


class TestGradientClipping:
    """No update follows a gradient longer than the bound."""

    @pytest.mark.parametrize("max_norm", [0.5, 3.0, 1e6])
    def test_formula(self, max_norm: float) -> None:
        rows = [[3.0, -4.0, 12.0], [0.1, 0.2, -0.2], [0.0, 0.0, 0.0]]
        gradient = torch.tensor(rows, dtype=torch.float64)
        trick = tricks.get("gradient-clipping")(max_norm=max_norm)
        found = trick.gradient(FixedGame(3), FixedBatch(), gradient)
        for row, clipped in zip(rows, found.tolist(), strict=True):
            norm = math.sqrt(sum(value**2 for value in row))
            scale = min(1.0, max_norm / norm) if norm else 1.0
            assert clipped == pytest.approx([scale * value for value in row], rel=1e-12)

    @pytest.mark.parametrize("player", ["G", "D", "both"])
    @pytest.mark.parametrize("phase", ["discriminator", "generator"])
    def test_whose_gradient(self, player: str, phase: Any) -> None:
        trick = tricks.get("gradient-clipping")(player=player)
        gradient = torch.full((2, 4), 5.0)
        found = trick.gradient(FixedGame(2), FixedBatch(phase=phase), gradient)
        turn = "D" if phase == "discriminator" else "G"
        assert torch.equal(found, gradient) == (player not in (turn, "both"))

    def test_gradient_descent_steps_no_further(self) -> None:
        bounds = (1e-3, 2e-3)
        specs = [
            make_spec(
                "ring8",
                "gan",
                [("gradient-clipping", {"max_norm": bound})],
                precision="float64",
                **SGD,
            )
            for bound in bounds
        ]
        clipped = make_trainer(specs)
        plain = make_trainer([spec.model_copy(update={"tricks": ()}) for spec in specs])
        moved: dict[Any, Any] = {}
        for trainer in (clipped, plain):
            for network in ("G", "D"):
                before = getattr(trainer.game, network).theta.detach().clone()
                trainer.update("generator" if network == "G" else "discriminator")
                moved[trainer, network] = getattr(trainer.game, network).theta.detach() - before
        for network, lr in (("G", 0.5), ("D", 0.25)):
            step, wanted = moved[clipped, network], moved[plain, network]
            lengths = [lr * bound for bound in bounds]
            assert step.norm(dim=1).tolist() == pytest.approx(lengths, rel=1e-9)
            if network == "G":  # before D has moved differently, the direction is the same
                torch.testing.assert_close(
                    torch.nn.functional.normalize(step), torch.nn.functional.normalize(wanted)
                )

    def test_the_diagnostics_show_the_norm_before(self) -> None:
        plain = trainer_of("ring8", "gan", **SGD)
        clipped = trainer_of("ring8", "gan", ("gradient-clipping", {"max_norm": 1e-6}), **SGD)
        rows = []
        for trainer in (plain, clipped):
            trainer.train_step()
            rows.append(trainer.read()[0][0])
        assert rows[0]["d_grad_norm"] == rows[1]["d_grad_norm"] > 1e-3

    def test_it_applies_everywhere(self) -> None:
        for variant in ("gan", "lsgan", "wgan-gp", "sngan"):
            assert refusal(make_spec("ring8", variant, ["gradient-clipping"])) is None

    def test_updates_that_are_foreseen_are_clipped_as_those_of_d(self) -> None:
        for player, clipped in (("both", True), ("D", True), ("G", False)):
            clipping: Any = ("gradient-clipping", {"player": player, "max_norm": 0.01})
            game = game_of("ring8", "gan", "unrolled", clipping)
            inner = Batch(game, "generator", 0).against(game.D.theta, 1)
            gradient = torch.ones_like(game.D.theta)
            shortened = game.gradient(inner, gradient)
            assert torch.equal(shortened, gradient) != clipped

    def test_players_that_update_as_one_are_clipped_alike(self) -> None:
        for player in ("G", "D", "both"):
            reason = refusal(
                make_spec("digits", "vae", [("gradient-clipping", {"player": player})])
            )
            assert (reason is None) == (player == "both")
