"""Proves ``ganbench check`` and its kit: what they hold a plugin to, and what they say."""

import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from harness.cli import app
from harness.errors import ExitStatus, GanbenchError
from harness.registry import KINDS, load_plugin
from harness.testing import KitCell, checks, kit, trajectories
from harness.testing import training as proofs
from harness.testing.cells import STEPS, make_trainer

HEAD = """
from typing import Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from harness.datasets.base import Dataset, Examples, datasets
from harness.parts import Trick, tricks

"""

TRICK = '''
@tricks.register("ours", source="this test")
class Ours(Trick):
    """Does something to the loss of D."""

    weight: float = Field(default=0.5, gt=0, description="how much")

    def remember(self, game: Any) -> dict[str, Tensor]:
        return {{"sum": torch.zeros_like(game.D.theta[:, 0], requires_grad=False)}}

    def discriminator_objective(self, game: Any, batch: Any, loss: Tensor) -> Tensor:
        {body}

    def after_discriminator_update(self, game: Any, batch: Any) -> None:
        game.memory[self.id]["sum"].add_(1)
'''
TERM = "batch.judged_real.logits.flatten(1).square().mean(1)"
LATE = f"""begun = batch.number("ours/begun", lambda updates: float(updates >= 20))
        return loss + begun * {TERM}"""

POINTS = '''
@datasets.register("ours", source="this test")
class Ours(Dataset):
    """Some points without any order."""

    kind = "points"
    shape = (2,)
    train_size = 300

    def read(self, split: Any, root: Any = None) -> Examples:
        seed = {"train": 1, "validation": 2, "test": 3}[split]
        values = np.random.RandomState(seed).randn(200, 2).astype(np.float32)
        return Examples(torch.from_numpy(values), None)
'''


@pytest.fixture
def plugin(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Write a plugin; forget it afterwards."""
    kept = {}
    for kind in KINDS:
        KINDS[kind].registry.names()
        kept[kind] = dict(KINDS[kind].registry._classes)
    names = []

    def write(text: str) -> Path:
        path = tmp_path / f"checked_{len(names)}.py"
        path.write_text(HEAD + text)
        names.append(path.stem)
        return path

    for remembered in (kit.after_steps, trajectories.as_trained, trajectories.three_runs):
        remembered.cache_clear()  # of another part of this name
    proofs.record.cache_clear()
    yield write
    for kind, classes in kept.items():
        KINDS[kind].registry._classes = classes
    for name in names:
        sys.modules.pop(name, None)


def check(*arguments: str) -> Any:
    """Run the command."""
    return CliRunner().invoke(app, ["check", *arguments])


def named(words: str, **options: Any) -> Any:
    """Return the first of the trick's checks with a name like this."""
    return next(c for c in checks("trick", "ours", hosts=[("ring8", "gan")], **options)
                if words in c.name)  # fmt: skip


class TestCommand:
    """A line for each check, and a verdict."""

    def test_a_trick_that_conforms(self, plugin: Any) -> None:
        path = plugin(TRICK.format(body=f"return loss + self.weight * {TERM}"))
        done = check(str(path))
        assert done.exit_code == ExitStatus.DONE, done.output
        lines = done.output.splitlines()
        assert lines[0] == "trick ours"
        assert all(re.fullmatch(r"✔ .*: .+  \d+\.\d s", line) for line in lines[1:-1])
        assert re.fullmatch(r"\d+ checks passed in \d+ s; 1 check that takes .*--all", lines[-1])
        assert {c.name for c in checks("trick", "ours") if not c.slow} == {
            re.sub(r"^✔ |  \d+\.\d s$", "", line) for line in lines[1:-1]
        }

    def test_what_does_not_hold_is_said_below_its_check(self, plugin: Any) -> None:
        path = plugin(POINTS)
        done = check(str(path))
        assert done.exit_code == ExitStatus.INCOMPLETE
        assert "✘ ours: splits are sound" in done.output
        assert "train_size is 300, and the training split has 200 examples" in done.output
        assert "✔ ours: described" in done.output
        assert "1 of 3 checks failed" in done.output.splitlines()[-1]

    def test_only_and_options(self, plugin: Any) -> None:
        path = plugin(POINTS + TRICK.format(body="return loss"))
        done = check(str(path), "--only", "ours", "--option", "weight=-1")
        assert isinstance(done.exception, GanbenchError)
        assert "--option weight of ours: Input should be greater than 0" in str(done.exception)
        for arguments, words in (
            (["--only", "our"], "registers no 'our' (did you mean 'ours'?)"),
            (["--option", "weight"], "--option 'weight' is not KEY=VALUE"),
            (["--option", "wieght=1"], "has this option (did you mean 'weight'?)"),
        ):
            assert words in str(check(str(path), *arguments).exception)

    def test_a_file_that_is_not_there(self) -> None:
        assert str(check("nowhere.py").exception) == "plugin 'nowhere.py': no such file"

    def test_a_file_that_registers_nothing(self, plugin: Any) -> None:
        assert "registers nothing; decorate a class" in str(check(str(plugin(""))).exception)

    def test_a_part_that_raises_something_else(self, plugin: Any) -> None:
        path = plugin(TRICK.format(body="return loss + {}['missing']"))
        done = check(str(path))
        assert done.exit_code == ExitStatus.INCOMPLETE
        assert "KeyError: 'missing'" in done.output
        assert f"{path}:" in done.output.replace("\n", "")


class TestKit:
    """What the kit trains, and when."""

    def test_progress_stays_a_share(self, plugin: Any) -> None:
        load_plugin(str(plugin(TRICK.format(body="return loss"))))
        trainer = make_trainer([KitCell("ring8", "gan", ("ours",)).spec()])
        shares = []
        for _ in range(STEPS):
            trainer.train_step()
            shares.append(trainer.game.progress)
        assert 0 == min(shares) < max(shares) < 1

    def test_a_trick_that_acts_late(self, plugin: Any) -> None:
        load_plugin(str(plugin(TRICK.format(body=LATE))))
        with pytest.raises(AssertionError, match=r"if it acts later, say when: .*starts=STEPS"):
            named("changes the step")()
        named("changes the step", starts=20)()
        with pytest.raises(AssertionError, match="acts before it starts, after 30 steps"):
            named("changes the step", starts=30)()
        with pytest.raises(AssertionError, match="12 steps end where they end without it"):
            named("changes the step", starts=10)()
        for starts in (-1, 49):
            with pytest.raises(ValueError, match=f"starts is {starts}, not 0 to 48"):
                checks("trick", "ours", starts=starts)

    def test_cohorts_of_one_two_and_three_are_replayed(
        self, plugin: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        load_plugin(str(plugin(TRICK.format(body=f"return loss + {TERM}"))))
        sizes = []
        inner = proofs.Trainer

        def recording(specs: Any, *arguments: Any) -> Any:
            sizes.append(len(specs))
            return inner(specs, *arguments)

        monkeypatch.setattr(proofs, "Trainer", recording)
        named("replays")()
        assert sizes == [1, 2, 3]

    def test_what_is_remembered_lies_densely(self, plugin: Any) -> None:
        """One number of a run has a stride where it was made like a column of the weights."""
        load_plugin(str(plugin(TRICK.format(body="return loss"))))
        for runs in (1, 2):
            cell = KitCell("ring8", "gan", ("ours",))
            game = make_trainer([cell.spec(position) for position in range(runs)]).game
            held = game.memory["ours"]["sum"]
            assert torch.zeros_like(game.D.theta[:, 0]).stride() != (1,) or runs > 1
            assert held.stride() == (1,)
