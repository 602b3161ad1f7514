"""Proves that what cannot train is told before any training, in a sentence that helps."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from harness.errors import ExitStatus, GanbenchError
from harness.parts import variants
from harness.planning import rehearsal
from harness.registry import KINDS, load_plugin
from harness.spec import RunSpec
from harness.suite.load import load_suite
from harness.suite.matrix import expand
from harness.testing.specs import make_spec

HEAD = """
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor, nn

from harness.networks.base import Family, Judgement, networks
from harness.parts import PerRun, Trick, Variant, run_mean, tricks, variants
"""

VARIANT = '''

@variants.register("ours", source="this test")
class Ours(Variant):
    """LSGAN with an option of each run."""

    scale: Annotated[float, PerRun()] = Field(default=1.0, description="c")

    def real_loss(self, logits: Tensor, target: Tensor) -> Tensor:
        return {real}

    def fake_loss(self, logits: Tensor, target: Tensor) -> Tensor:
        return {fake}

    def fooling_loss(self, logits: Tensor) -> Tensor:
        return {fooling}
'''

TRICK = '''

@tricks.register("ours", source="this test")
class Ours(Trick):
    """Does something to a loss."""

    scale: Annotated[float, PerRun()] = Field(default=2.0, description="c")

    def {hook}(self, game: Any, batch: Any, loss: Tensor) -> Tensor:
        return {what}
'''

NETWORK = '''

class G(nn.Module):
    """Latents to points."""

    def __init__(self, latent: int) -> None:
        super().__init__()
        self.output = nn.Sequential({layer}nn.Linear(latent, 2))

    def forward(self, z: Tensor) -> Tensor:
        return self.output(z)


class D(nn.Module):
    """Points to logits."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden = nn.Linear(2, 8)
        self.output = nn.Linear(8, 1)

    def forward(self, x: Tensor) -> Judgement:
        h = self.hidden(x).relu()
        return Judgement(self.output(h)[:, 0], {features})


@networks.register("ours", source="this test")
class Ours(Family):
    """Points only."""

    default_width = 8

    def misfit(self, shape: tuple[int, ...]) -> str | None:
        return None

    def generator(self, plan: Any, latent: int, shape: tuple[int, ...]) -> nn.Module:
        return G(latent)

    def discriminator(self, plan: Any, shape: tuple[int, ...]) -> nn.Module:
        return D()
'''


@pytest.fixture
def plugin(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Write a plugin and load it; forget it afterwards."""
    kept = {kind: dict(KINDS[kind].registry._classes) for kind in KINDS}
    names = []

    def write(text: str) -> Path:
        path = tmp_path / f"rehearsed_{len(names)}.py"
        path.write_text(HEAD + text)
        names.append(path.stem)
        load_plugin(str(path))
        return path

    for kind in KINDS:
        KINDS[kind].registry.names()
        kept[kind] = dict(KINDS[kind].registry._classes)
    yield write
    for kind, classes in kept.items():
        KINDS[kind].registry._classes = classes
    for name in names:
        sys.modules.pop(name, None)


GOOD = {"real": "(logits - 1).square()", "fake": "logits.square()", "fooling": "-logits"}


class TestSentences:
    """What goes wrong names the part, its option and what to do."""

    @pytest.mark.parametrize(
        ("hook", "text"),
        [
            ("real", "((logits - 1) / self.scale).square().log1p()"),
            ("fake", "(logits * self.scale).square()"),
            ("fooling", "torch.where(logits > self.scale, logits, -logits)"),
        ],
    )
    @pytest.mark.parametrize(("dataset", "network"), [("ring8", "toy2d"), ("digits", "dcgan")])
    def test_an_option_of_each_run_without_column(
        self, plugin: Any, hook: str, text: str, dataset: str, network: str
    ) -> None:
        plugin(VARIANT.format(**{**GOOD, hook: text}))
        reason = rehearsal.fault(make_spec(dataset, "ours", network=network))
        assert reason == (
            f"option 'scale' of 'ours' has the shape (runs,) in `{hook}_loss`, a number for each "
            "run, and meets (runs, batch); write column(self.scale), which is (runs, 1), to line "
            "it up with the batch"
        )

    def test_the_same_with_column_is_fine(self, plugin: Any) -> None:
        text = VARIANT.format(**{**GOOD, "real": "(logits / column(self.scale)).square()"})
        plugin("from harness.parts import column\n" + text)
        assert rehearsal.fault(make_spec("ring8", "ours")) is None

    @pytest.mark.parametrize(
        ("what", "shape"),
        [
            ("loss.sum()", "has the shape ()"),
            ("batch.judged_real.logits", "has the shape (3, 8)"),
            ("loss[:, None]", "has the shape (3, 1)"),
            ("None", "is None"),
        ],
    )
    def test_a_loss_of_another_shape(self, plugin: Any, what: str, shape: str) -> None:
        plugin(TRICK.format(hook="discriminator_objective", what=what))
        reason = str(rehearsal.fault(make_spec("ring8", "gan", ["ours"])))
        assert f"a loss of 'ours' {shape}, not the shape (3,)" in reason
        assert "run_mean" in reason

    @pytest.mark.parametrize(
        ("hook", "what", "does", "remedy"),
        [
            ("generator_objective", "run_mean(batch.judged_fake.logits)", "replaces",
             "override replaced_generator_loss"),
            ("discriminator_objective", "run_mean(batch.judged_fake.logits)", "replaces",
             "return `loss` plus a term"),
            ("generator_objective", "self.scale * loss", "multiplies", "override loss_factor"),
            ("discriminator_objective", "loss / 2", "multiplies", "override loss_factor"),
        ],
    )  # fmt: skip
    def test_a_trick_that_drops_what_another_adds(
        self, plugin: Any, hook: str, what: str, does: str, remedy: str
    ) -> None:
        plugin(TRICK.format(hook=hook, what=what))
        lost = make_spec("ring8", "gan", ["historical-averaging", "ours"])
        reason = str(rehearsal.fault(lost))
        assert f"'ours' {does} in `{hook}` what 'historical-averaging' adds before it" in reason
        assert remedy in reason
        assert "or write 'ours' first" in reason
        assert rehearsal.fault(make_spec("ring8", "gan", ["ours", "historical-averaging"])) is None
        assert rehearsal.fault(make_spec("ring8", "gan", ["ours"])) is None

    @pytest.mark.parametrize("layer", ["nn.Dropout(0.5), ", "nn.AlphaDropout(0.1), "])
    def test_dropout_of_pytorchs_own(self, plugin: Any, layer: str) -> None:
        plugin(NETWORK.format(layer=layer, features="{'hidden': h}"))
        reason = str(rehearsal.fault(make_spec("ring8", "gan", network="ours")))
        assert reason.startswith(f"network 'ours' has a layer of {layer.partition('(')[0]}, which")
        assert "use StreamDropout" in reason

    def test_random_numbers_of_pytorchs_own(self, plugin: Any) -> None:
        text = NETWORK.format(layer="", features="{'hidden': h}")
        plugin(text.replace("self.output(z)", "self.output(z + torch.randn_like(z))"))
        reason = str(rehearsal.fault(make_spec("ring8", "gan", network="ours")))
        assert reason.startswith("layer G of the networks draws random numbers")
        assert "StreamDropout" in reason

    @pytest.mark.parametrize(
        ("hook", "text", "says"),
        [
            ("show(self, game, x, batch, label)", "x * self.scale", "option 'scale' of 'ours'"),
            ("show(self, game, x, batch, label)", "None", "returns from `show` is None"),
            ("show(self, game, x, batch, label)", "x + torch.randn_like(x)", "belong to no run"),
            ("show(self, game, x, batch)", "x", "'ours' fails in a hook: TypeError"),
            ("latents(self, z)", "z * self.scale", "option 'scale' of 'ours'"),
            ("latents(self, z)", "z[0]", "returns from `latents` has the shape"),
            ("targets(self, game, batch, t)", "t._replace(real=t.real * self.scale)", "`targets`"),
            ("gradient(self, game, batch, gradient)", "None", "returns from `gradient` is None"),
            ("evaluated(self, game, theta)", "theta[:, 1:]", "returns from `evaluated` has the"),
            ("rates(self, rates, progress)", "None", "must return Rates"),
            ("rates(self, rates, progress)", "rates._replace(lr_g=rates.lr_g * self.scale)",
             "must return Rates from `rates`, each of the shape (3, 1)"),
            ("remember(self, game)", "{'a': torch.zeros(1)}", "remembers 'a' of the shape (1,)"),
        ],
    )  # fmt: skip
    def test_every_hook_that_goes_wrong_is_named(
        self, plugin: Any, hook: str, text: str, says: str
    ) -> None:
        signature = "discriminator_objective(self, game: Any, batch: Any, loss: Tensor)"
        body = TRICK.format(hook="discriminator_objective", what=text)
        plugin(body.replace(f"def {signature} -> Tensor", f"def {hook} -> Any"))
        for dataset, variant in (("ring8", "gan"), ("digits", "gan")):
            reason = str(rehearsal.fault(make_spec(dataset, variant, ["ours"], latent=2)))
            assert "'ours'" in reason
            assert says in reason

    def test_what_happens_in_one_of_many_updates_is_tried(self, plugin: Any) -> None:
        late = "loss + batch.judged_real.logits * self.scale if batch.every(7, 1) else loss"
        plugin(TRICK.format(hook="discriminator_objective", what=late))
        assert "'ours'" in str(rehearsal.fault(make_spec("ring8", "gan", ["ours"])))

    @pytest.mark.parametrize(
        "what",
        [
            "loss + batch.judged_real.logits.reshape(game.runs, 16, -1).mean((1, 2))",
            "loss + game.data.take(torch.arange(900)).double().mean() * 0",
            "loss + 0 * nn.GroupNorm(16, game.blueprint.discriminator.width)"
            "(torch.ones(2, game.blueprint.discriminator.width)).sum().detach()",
        ],
    )
    def test_what_needs_the_planned_batch_width_or_data_is_no_fault(
        self, plugin: Any, what: str
    ) -> None:
        plugin(TRICK.format(hook="discriminator_objective", what=what))
        assert rehearsal.fault(make_spec("ring8", "gan", ["ours"], batch=16, width=16)) is None

    def test_no_named_features(self, plugin: Any) -> None:
        plugin(NETWORK.format(layer="", features="{}"))
        assert rehearsal.fault(make_spec("ring8", "gan", network="ours")) is None
        spec = make_spec("ring8", "gan", ["feature-matching"], network="ours")
        reason = str(rehearsal.fault(spec))
        assert "feature-matching matches D's last named features, and D names none" in reason

    def test_whatever_else_a_part_raises(self, plugin: Any) -> None:
        plugin(TRICK.format(hook="generator_objective", what="loss + {}['missing']"))
        reason = rehearsal.fault(make_spec("ring8", "gan", ["ours"]))
        assert reason == "'ours' fails in `generator_objective`: KeyError: 'missing'"

    def test_every_problem_is_told_at_once_with_its_cells(self, plugin: Any) -> None:
        files = [
            plugin(VARIANT.format(**{**GOOD, "real": "logits / self.scale"})),
            plugin(TRICK.format(hook="generator_objective", what="loss.sum()")),
        ]
        specs = [
            make_spec(dataset, variant, laid_over, seed=seed)
            for dataset in ("ring8", "grid25")
            for variant, laid_over in (("ours", []), ("gan", ["ours"]), ("gan", []))
            for seed in (0, 1)
        ]
        with pytest.raises(GanbenchError) as caught:
            rehearsal.rehearse(specs, [str(file) for file in files])
        heading, *lines = str(caught.value).splitlines()
        assert heading == "2 problems, found before any training"
        assert "option 'scale' of 'ours' has the shape (runs,)" in lines[0]
        assert lines[0].endswith("(in ring8 × ours × none and 1 more cell)")
        assert "a loss of 'ours' has the shape ()" in lines[1]
        assert lines[1].endswith("(in ring8 × gan × ours and 1 more cell)")

    @pytest.mark.parametrize(
        ("ending", "says"),
        [
            ("__import__('os')._exit(7)", "ended with status 7"),
            ("__import__('os').abort()", "was killed by signal 6 (SIGABRT)"),
        ],
    )
    def test_what_ends_the_process_ends_no_other_cell(
        self, plugin: Any, ending: str, says: str
    ) -> None:
        files = [
            plugin(VARIANT.format(**{**GOOD, "real": ending})),
            plugin(TRICK.format(hook="generator_objective", what="loss.sum()")),
        ]
        specs = [
            make_spec("ring8", variant, laid_over)
            for variant, laid_over in (("ours", []), ("gan", ["ours"]), ("gan", []), ("lsgan", []))
        ]
        with pytest.raises(GanbenchError) as caught:
            rehearsal.rehearse(specs, [str(file) for file in files])
        _, first, second = str(caught.value).splitlines()
        assert first.strip() == (
            f"code of variant 'ours' ends the process that tries it, which {says}; let it raise an "
            "error instead (in ring8 × ours × none)"
        )
        assert "a loss of 'ours' has the shape ()" in second

    def test_a_plan_that_cannot_be_laid_is_a_fault_like_others(self, plugin: Any) -> None:
        text = TRICK.format(hook="discriminator_objective", what="loss")
        plugin(
            text + "\n    def build(self, blueprint: Any) -> Any:\n        return blueprint.none\n"
        )
        reason = str(rehearsal.fault(make_spec("ring8", "gan", ["ours"])))
        assert reason.startswith("'ours' failed when it was laid over: AttributeError")

    def test_leaving_is_a_fault_like_others(self, plugin: Any) -> None:
        plugin(TRICK.format(hook="generator_objective", what="__import__('sys').exit(3)"))
        assert rehearsal.fault(make_spec("ring8", "gan", ["ours"])) == (
            "'ours' fails in `generator_objective`: SystemExit: 3; let it raise an error instead"
        )

    def test_a_layer_that_leaves_is_named(self, plugin: Any) -> None:
        text = NETWORK.format(layer="", features="{'hidden': h}")
        plugin(text.replace("return self.output(z)", "raise SystemExit"))
        reason = rehearsal.fault(make_spec("ring8", "gan", network="ours"))
        assert reason == (
            "layer G of the networks fails: SystemExit: ; let it raise an error instead"
        )


class TestRehearsal:
    """What is tried, and what that leaves as it was."""

    @pytest.mark.parametrize("variant", variants.names())
    def test_built_in_variants_pass(self, variant: str) -> None:
        for dataset in ("ring8", "digits"):
            spec = make_spec(dataset, variant)
            if KINDS["network"].registry.get(spec.settings.network)().misfit(spec.dataset.shape):
                continue
            if not (variant.startswith("dcgan") and dataset == "ring8"):
                assert rehearsal.fault(spec) is None

    def test_odd_batches_and_packs_pass(self) -> None:
        for batch, m in ((2, 2), (3, None), (16, 16), (6, 3)):
            laid_over: list[Any] = [] if m is None else [("packing", {"m": m})]
            assert rehearsal.fault(make_spec("ring8", "gan", laid_over, batch=batch)) is None
        # Each of its generators normalises its own share of a batch, which is more than one.
        assert rehearsal.fault(make_spec("ring8", ("mad-gan", {"generators": 8}), batch=16)) is None

    @staticmethod
    def tried(*specs: RunSpec) -> list[int]:
        """How many cells each rehearsal of a plan stands for."""
        return [len(cells) for cells in rehearsal.kinds(specs).values()]

    def test_cells_that_differ_in_nothing_that_matters_are_tried_once(self) -> None:
        first = make_spec("mnist", "gan")
        alike = [
            make_spec("fashion-mnist", "gan", steps=7, evaluate_every=3),
            make_spec("mnist", "gan", lr_g=1e-5, seed=4),
        ]
        assert self.tried(first, *alike) == [2]  # seeds are no cells
        others = [
            make_spec("cifar10", "gan"),
            make_spec("digits", "gan"),
            make_spec("mnist", "lsgan"),
            make_spec("mnist", "gan", ["ema"]),
            make_spec("mnist", "gan", [("sampling", {"up": "nearest"})]),
            make_spec("mnist", "gan", batch=6),
            make_spec("mnist", "gan", width=4),
            make_spec("mnist", "gan", latent=6),
            make_spec("mnist", "gan", network="mlp"),
            make_spec("mnist", "gan", optimizer="rmsprop"),
            make_spec("mnist", "gan", precision="float64"),
        ]
        assert self.tried(first, *others) == [1] * (1 + len(others))

    def test_each_recipe_and_each_pair_of_networks_is_tried_on_data_of_every_kind(self) -> None:
        def cells(*tricks: str) -> list[RunSpec]:
            return [make_spec(data, "dcgan", tricks) for data in ("mnist", "cifar10")]

        # The networks of `ema` are those of the baseline, which has been tried everywhere.
        assert self.tried(*cells(), *cells("ema")) == [1, 1, 2]
        # Those of `patchgan` are others, and what has not been tried is.
        assert self.tried(*cells(), *cells("patchgan")) == [1] * 4
        assert self.tried(*cells("ema"), *cells()) == [1, 1, 2]
        # Points are no images.
        points = [make_spec("ring8", "gan", tricks) for tricks in ([], ["ema"])]
        images = [make_spec("mnist", "gan", tricks) for tricks in ([], ["ema"])]
        assert self.tried(*images, *points) == [1] * 4

    def test_each_rehearsal_begins_with_untrained_networks(self) -> None:
        shared = rehearsal.Networks()
        runs = [make_spec("digits", "dcgan", seed=seed) for seed in (1, 2)]
        G, D = shared.of(runs)
        first = [stack.state(run) for stack in (G, D) for run in (0, 1)]
        rehearsal.play(runs[0], networks=shared)
        with torch.no_grad():
            G.theta.zero_()
        again = [stack.state(run) for stack in shared.of(runs) for run in (0, 1)]
        for before, after in zip(first, again, strict=True):
            assert before.keys() == after.keys()
            assert all(torch.equal(before[name], after[name]) for name in before)

    def test_many_cells_are_shared_by_processes(self, monkeypatch: pytest.MonkeyPatch) -> None:
        shares = []
        answers = rehearsal.EachInChild

        def noted(function: Any, items: Any, plugins: Any) -> Any:
            shares.append(len(items))
            return answers(function, items, plugins)

        monkeypatch.setattr(rehearsal, "EachInChild", noted)
        monkeypatch.setattr(rehearsal, "cores", lambda: 2)
        specs = [make_spec("ring8", "gan", latent=latent) for latent in range(1, 32)]
        rehearsal.rehearse(specs)
        assert shares == [20, 11]

    def test_nothing_random_and_no_setting_of_pytorch_is_moved(self) -> None:
        torch.manual_seed(1)
        before, threads = torch.get_rng_state(), torch.get_num_threads()
        assert rehearsal.Rehearsals()(make_spec("digits", "dcgan", ["ada"])) is None
        assert torch.equal(torch.get_rng_state(), before)
        assert torch.get_num_threads() == threads


def ganbench(*arguments: str, cwd: Path) -> "subprocess.CompletedProcess[str]":
    """Run a command in a folder."""
    program = [sys.executable, "-m", "harness.cli", *arguments]
    root = str(Path(__file__).parents[2])
    environment = {**os.environ, "PYTHONPATH": root, "XDG_CACHE_HOME": str(cwd / "cache")}
    return subprocess.run(
        program, cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )


class TestCommands:
    """A refused command says why and leaves nothing."""

    def suite(self, folder: Path, variant: str) -> Path:
        path = folder / "mine.yaml"
        path.write_text(
            f"suite: mine\nsummary: A loss of my own\nseeds: 2\ndatasets: [ring8]\n"
            f"variants: [gan, {variant}]\n"
            "settings: {steps: 20, batch: 16, evaluate_every: 5, evaluation_samples: 100}\n"
        )
        return path

    @pytest.mark.parametrize("command", [["run"], ["run", "--dry-run"], ["tune", "--trials", "2"]])
    def test_what_cannot_train_is_refused_by_each(
        self, command: list[str], plugin: Any, tmp_path: Path
    ) -> None:
        path = plugin(VARIANT.format(**{**GOOD, "real": "logits / self.scale"}))
        suite = self.suite(tmp_path, "ours")
        done = ganbench(*command, str(suite), "--plugin", str(path), cwd=tmp_path)
        assert done.returncode == ExitStatus.BAD_INPUT
        assert "write column(self.scale)" in done.stderr
        assert not (tmp_path / "results").exists()

    @pytest.mark.parametrize("dry", [[], ["--dry-run"]])
    def test_plugins_that_end_their_process_are_bad_input(
        self, dry: list[str], plugin: Any, tmp_path: Path
    ) -> None:
        endings = {
            "leaves": "__import__('sys').exit(0)",
            "ends": "__import__('os')._exit(0)",
            "crashes": "__import__('ctypes').string_at(0)",
        }
        made = [
            VARIANT.format(**{**GOOD, "real": ending}).replace("ours", name).replace("Ours", name)
            for name, ending in endings.items()
        ]
        path = plugin("".join(made))
        suite = self.suite(tmp_path, ", ".join(endings))
        done = ganbench("run", *dry, str(suite), "--plugin", str(path), cwd=tmp_path)
        assert done.returncode == ExitStatus.BAD_INPUT
        said = " ".join(done.stderr.split())
        remedy = "let it raise an error instead (in ring8 × "
        assert "3 problems, found before any training" in said
        assert f"'leaves' fails in `real_loss`: SystemExit: 0; {remedy}leaves × none)" in said
        assert f"which ended with status 0; {remedy}ends × none)" in said
        assert f"which was killed by signal 11 (SIGSEGV); {remedy}crashes × none)" in said
        assert not (tmp_path / "results").exists()

    @pytest.mark.parametrize(
        ("hook", "says"),
        [
            ("build(self, blueprint)", "'ours' failed when it was laid over: SystemExit(3)"),
            ("schedule(self, schedule)", "'ours' failed when it was laid over: SystemExit(3)"),
            ("inapplicable(self, context)", "'ours' failed when asked whether it applies"),
        ],
    )
    def test_a_part_that_leaves_when_it_is_asked_is_named(
        self, hook: str, says: str, plugin: Any, tmp_path: Path
    ) -> None:
        text = VARIANT.format(**GOOD) + f"\n    def {hook}: raise SystemExit(3)\n"
        path = plugin(text)
        suite = load_suite(str(self.suite(tmp_path, "ours")))
        with pytest.raises(GanbenchError) as caught:
            expand(suite, plugins=[str(path)])
        assert says in str(caught.value)

    def test_an_unknown_part_names_the_option_that_brings_it(self, tmp_path: Path) -> None:
        done = ganbench("run", str(self.suite(tmp_path, "ours")), cwd=tmp_path)
        assert done.returncode == ExitStatus.BAD_INPUT
        assert "give the file that registers it with --plugin" in done.stderr
        assert not (tmp_path / "results").exists()

    def test_what_was_there_before_stays(self, plugin: Any, tmp_path: Path) -> None:
        path = plugin(VARIANT.format(**{**GOOD, "real": "logits / self.scale"}))
        kept = tmp_path / "results" / "mine" / "note.txt"
        kept.parent.mkdir(parents=True)
        kept.write_text("mine")
        suite = self.suite(tmp_path, "ours")
        done = ganbench("run", str(suite), "--plugin", str(path), cwd=tmp_path)
        assert done.returncode == ExitStatus.BAD_INPUT
        assert kept.read_text() == "mine"
        assert not (kept.parent / "suite.json").exists()
