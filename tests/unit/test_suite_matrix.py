"""From a suite to its runs: cells, settings, skips, labels, selection, identity."""

from __future__ import annotations

import time
from typing import Any

import pytest

from harness.errors import GanbenchError, SuiteError
from harness.parts import Context, Trick, Variant, tricks, variants
from harness.spec import Settings
from harness.suite.load import read_suite
from harness.suite.matrix import Matrix, expand

HEAD = "suite: mine\ndatasets: [ring8]\nvariants: [gan]\nseeds: 1\n"


def matrix(text: str, **options: Any) -> Matrix:
    return expand(read_suite(text.encode(), "mine.yaml"), **options)


def cells(found: Matrix) -> list[str]:
    labels = [f"{run.dataset} × {run.variant} × {run.tricks}" for run in found.plan.runs]
    return list(dict.fromkeys(labels))


def skipped(found: Matrix) -> dict[str, str]:
    return {f"{s.dataset} × {s.variant} × {s.tricks}": s.reason for s in found.plan.skipped}


def settings(text: str, **options: Any) -> Settings:
    (spec,) = matrix(text, **options).specs
    return spec.settings


def problem(text: str, **options: Any) -> tuple[str, int | None, str]:
    with pytest.raises(SuiteError) as caught:
        matrix(text, **options)
    assert len(caught.value.problems) == 1, str(caught.value)
    found = caught.value.problems[0]
    return found.path, found.line, found.message


def test_runs_come_in_the_order_of_the_file() -> None:
    found = matrix(
        "suite: mine\ndatasets: [grid25, ring8]\nvariants: [wgan, gan]\n"
        "tricks: [dropout-g, none]\nseeds: [7, 1]\n"
    )
    assert cells(found) == [
        f"{dataset} × {variant} × {trick}"
        for dataset in ("grid25", "ring8")
        for variant in ("wgan", "gan")
        for trick in ("dropout-g", "none")
    ]
    assert [run.seed for run in found.plan.runs[:3]] == [7, 1, 7]
    assert len(found.specs) == 16
    assert found.selected == {spec.id for spec in found.specs}


def test_plan_and_specs_agree() -> None:
    found = matrix(HEAD + "tricks: [none, [dropout-g, {id: update-ratio, d: 5}]]\n")
    for spec, run in zip(found.specs, found.plan.runs, strict=True):
        assert (run.id, run.folder, run.seed) == (spec.id, spec.slug, spec.seed)
    assert found.plan.runs[1].tricks == "dropout-g + update-ratio(d=5)"
    assert [trick.id for trick in found.specs[1].tricks] == ["dropout-g", "update-ratio"]


def test_every_default_is_written_out() -> None:
    (spec,) = matrix("suite: a\ndatasets: [digits]\nvariants: [wgan]\nseeds: [3]\n").specs
    assert spec.variant.options == {"d_steps": 5, "clip": 0.01, "boost": True}
    found = spec.settings
    recipe = variants.get("wgan").recipe
    assert (found.optimizer, found.lr_g, found.lr_d) == ("rmsprop", recipe.lr_g, recipe.lr_d)
    assert (found.network, found.width, found.latent) == ("dcgan16", 16, 100)
    assert (found.steps, found.evaluate_every, found.log_every) == (2000, 200, 50)
    assert (found.extractor, found.reference) == ("digits-cnn", "train")
    assert spec.dataset.fingerprint
    assert spec.metrics


def test_intervals_follow_from_the_steps() -> None:
    found = settings(HEAD + "settings: {steps: 41}\n")
    assert (found.evaluate_every, found.log_every) == (5, 2)
    assert settings(HEAD + "settings: {steps: 3}\n").evaluate_every == 1


def test_a_later_override_wins_and_only_where_it_applies() -> None:
    text = (
        "suite: mine\ndatasets: [ring8, grid25]\nvariants: [gan, lsgan]\nseeds: 1\n"
        "tricks: [none, [dropout-g, feature-matching]]\n"
        "settings: {steps: 10, batch: 11}\n"
        "overrides:\n"
        "  - {when: {dataset: ring8}, settings: {steps: 20}}\n"
        "  - {when: {variant: [lsgan, gan], trick: dropout-g}, settings: {steps: 30}}\n"
        "  - {when: {dataset: ring8, variant: gan, trick: none}, settings: {lr_g: 1e-2}}\n"
    )
    found = matrix(text)
    by_cell = {
        f"{run.dataset} {run.variant} {run.tricks}": spec.settings
        for run, spec in zip(found.plan.runs, found.specs, strict=True)
    }
    both = "dropout-g + feature-matching"
    assert by_cell["ring8 gan none"].steps == 20
    assert by_cell["grid25 gan none"].steps == 10
    assert by_cell[f"ring8 lsgan {both}"].steps == 30
    assert by_cell[f"grid25 gan {both}"].steps == 30
    assert {s.lr_g for name, s in by_cell.items() if name != "ring8 gan none"} == {2e-4}
    assert by_cell["ring8 gan none"].lr_g == 1e-2
    assert {s.batch for s in by_cell.values()} == {11}


def test_a_profile_lies_over_everything() -> None:
    text = HEAD + (
        "settings: {steps: 10, width: 9}\n"
        "overrides: [{when: {dataset: ring8}, settings: {steps: 20, batch: 20}}]\n"
        "profiles:\n"
        "  cpu: {settings: {steps: 30}, seeds: [5], variants: [lsgan]}\n"
        "  far: {overrides: [{when: {dataset: ring8}, settings: {batch: 40}}]}\n"
    )
    (spec,) = matrix(text, profile="cpu").specs
    assert (spec.settings.steps, spec.settings.batch, spec.settings.width) == (30, 20, 9)
    assert (spec.seed, spec.variant.id) == (5, "lsgan")
    assert matrix(text, profile="cpu").plan.profile == "cpu"
    assert settings(text, profile="far").batch == 40
    assert settings(text).steps == 20
    with pytest.raises(GanbenchError, match="did you mean 'cpu'"):
        matrix(text, profile="cpus")


def test_profile_problems_have_their_lines() -> None:
    text = HEAD + "profiles:\n  cpu:\n    settings: {steps: 10, evaluate_every: 50}\n"
    assert matrix(text).specs
    path, line, message = problem(text, profile="cpu")
    assert (path, line) == ("profiles.cpu.settings.evaluate_every", 7)
    assert "50 is more than the 10 steps (profiles.cpu.settings.steps)" in message


def test_seeds_can_be_replaced() -> None:
    found = matrix(HEAD, seeds=3)
    assert [spec.seed for spec in found.specs] == [0, 1, 2]
    assert len(matrix("suite: a\ndatasets: [ring8]\nvariants: [gan]").specs) == 10
    with pytest.raises(GanbenchError, match="at least one seed"):
        matrix(HEAD, seeds=0)


@pytest.mark.parametrize(
    ("trick", "label"),
    [
        ("update-ratio", "update-ratio"),
        ("{id: update-ratio, d: 5, g: 1}", "update-ratio(d=5)"),
        ("{id: update-ratio, d: 5, g: 3}", "update-ratio(d=5, g=3)"),
        ("{id: label-smoothing, form: one-sided}", "label-smoothing(form=one-sided)"),
        ("{id: label-smoothing, real_low: 0.7}", "label-smoothing(real_low=0.7)"),
        ("{id: dropout-g, at_test: true, p: 0.25}", "dropout-g(p=0.25, at_test=true)"),
        ("{id: dropout-g, layers: [hidden1]}", 'dropout-g(layers=["hidden1"])'),
        ("[dropout-g, feature-matching]", "dropout-g + feature-matching"),
    ],
)
def test_labels_show_what_differs_from_the_defaults(trick: str, label: str) -> None:
    assert matrix(HEAD + f"tricks: [{trick}]\n").plan.runs[0].tricks == label


def test_cells_that_make_no_sense_are_skipped_with_their_reason() -> None:
    found = matrix(
        "suite: mine\ndatasets: [ring8, digits]\nvariants: [gan, dcgan, wgan-gp]\nseeds: 1\n"
        "tricks: [none, label-smoothing, patchgan,\n"
        "  {id: update-ratio, d: 5}, {id: dropout-g, layers: [nose]}]\n"
    )
    reasons = skipped(found)
    assert "no target" in reasons["digits × wgan-gp × label-smoothing"]
    assert "images" in reasons["ring8 × gan × patchgan"]
    assert "convolution" in reasons["ring8 × dcgan × none"]
    assert "already updates 5:1" in reasons["ring8 × wgan-gp × update-ratio(d=5)"]
    assert "hidden1" in reasons['ring8 × gan × dropout-g(layers=["nose"])']
    assert "mlp-small has none" in reasons["digits × gan × patchgan"]
    assert "digits × dcgan × patchgan" not in reasons
    assert len(reasons) + len(cells(found)) == 2 * 3 * 5


def test_a_trick_twice_in_a_combination_is_refused() -> None:
    path, line, message = problem(HEAD + "tricks: [none, [dropout-g, dropout-g]]\n")
    assert (path, line) == ("tricks[1][1]", 5)
    assert message == "the combination has dropout-g twice"


@pytest.mark.parametrize(
    ("optimizer", "decays"),
    [("adam", (0.5, 0.999)), ("rmsprop", (0.0, 0.99)), ("sgd", (0.0, 0.0))],
)
def test_an_optimizer_has_its_own_decay_rates(optimizer: str, decays: tuple[float, float]) -> None:
    for variant in ("gan", "wgan"):
        text = HEAD.replace("variants: [gan]", f"variants: [{variant}]")
        found = settings(text + f"settings: {{optimizer: {optimizer}}}\n")
        assert (found.beta1, found.beta2) == decays


def test_a_recipe_keeps_its_own_decay_rates() -> None:
    text = HEAD.replace("variants: [gan]", "variants: [wgan-gp]")
    assert settings(text + "settings: {optimizer: adam}\n").beta2 == 0.9


def test_networks_that_do_not_fit_are_skipped() -> None:
    text = "suite: mine\ndatasets: [ring8, digits]\nvariants: [gan]\nseeds: 1\n"
    found = matrix(text + "settings: {network: dcgan}\n")
    assert skipped(found) == {
        "ring8 × gan × none": "dcgan comes as dcgan16, dcgan32, dcgan64; none of them makes points"
    }
    assert found.specs[0].settings.network == "dcgan16"
    found = matrix(text + "settings: {network: toy2d}\n")
    assert list(skipped(found)) == ["digits × gan × none"]


def test_a_suite_without_any_cell_left_is_refused() -> None:
    _, _, message = problem(HEAD + "tricks: [patchgan]\n")
    assert "all 1 cells are skipped, such as ring8 × gan × patchgan: patches need" in message


@pytest.mark.parametrize(
    ("given_settings", "path", "words"),
    [
        ("{network: dcgn}", "settings.network", "unknown network 'dcgn' (did you mean 'dcgan'?)"),
        ("{network: patch}", "settings.network", "has no generator"),
        ("{extractor: digits-cn}", "settings.extractor", "use 'data'"),
        ("{batch: 60000}", "settings.batch", "60000 is more than the 50000 training examples"),
        ("{steps: 5, evaluate_every: 6}", "settings.evaluate_every", "more than the 5 steps"),
        ("{steps: 5, log_every: 6}", "settings.log_every", "more than the 5 steps"),
        ("{steps: 20, evaluate_every: 10}", "settings.evaluate_every", "collapse takes 3 evalu"),
        ("{steps: 20, evaluate_every: 10}", "settings.evaluate_every", "give at most 6"),
        ("{steps: 2}", "settings.steps", "give at least 3 steps"),
        ("{optimizer: rmsprop, beta1: 0.5}", "settings.beta1", "rmsprop has no beta1"),
        ("{optimizer: sgd, beta2: 0.5}", "settings.beta2", "sgd has no beta2"),
    ],
)
def test_settings_that_cannot_be_meant(given_settings: str, path: str, words: str) -> None:
    found_path, line, message = problem(HEAD + f"settings: {given_settings}\n")
    assert (found_path, line) == (path, 5)
    assert words in message


def test_three_evaluations_are_enough() -> None:
    assert settings(HEAD + "settings: {steps: 20, evaluate_every: 9}\n").evaluate_every == 9


def test_images_are_measured_by_the_gridful_at_least() -> None:
    text = "suite: mine\ndatasets: [digits]\nvariants: [lsgan]\nseeds: 1\n"
    _, _, message = problem(text + "settings: {evaluation_samples: 63}\n")
    assert message == "63 images are too few to measure; give at least 64"


def test_a_batch_is_checked_against_files_that_are_not_there() -> None:
    text = "suite: mine\ndatasets: [mnist]\nvariants: [lsgan]\nseeds: 1\nsettings: {batch: 60001}\n"
    _, _, message = problem(text)
    assert "60001 is more than the 60000 training examples" in message


def test_a_problem_of_many_cells_is_listed_once_where_it_was_given() -> None:
    text = (
        "suite: mine\ndatasets: [digits]\nvariants: [gan, lsgan]\nseeds: 1\n"
        "tricks: [none, dropout-g]\noverrides:\n"
        "  - {when: {dataset: digits}, settings: {extractor: digts-cnn}}\n"
    )
    path, line, message = problem(text)
    assert (path, line) == ("overrides[0].settings.extractor", 7)
    assert "did you mean 'digits-cnn'" in message


def test_several_wrong_settings_are_listed_together() -> None:
    with pytest.raises(SuiteError) as caught:
        matrix(HEAD + "settings: {batch: 60000, steps: 5, evaluate_every: 6, extractor: x}\n")
    assert len(caught.value.problems) == 3


def test_excluded_cells_are_skipped_and_said_to_be() -> None:
    found = matrix(
        "suite: mine\ndatasets: [ring8, grid25]\nvariants: [gan, lsgan]\nseeds: 1\n"
        "tricks: [none, dropout-g, {id: update-ratio, d: 5}]\n"
        "exclude:\n  - {dataset: ring8, trick: [none, update-ratio(d=5)]}\n  - {variant: lsgan}\n"
    )
    assert cells(found) == [
        "ring8 × gan × dropout-g",
        "grid25 × gan × none",
        "grid25 × gan × dropout-g",
        "grid25 × gan × update-ratio(d=5)",
    ]
    assert set(skipped(found).values()) == {"excluded by the suite"}
    assert len(skipped(found)) == 8


def test_included_cells_are_added() -> None:
    text = (
        "suite: mine\ndatasets: [ring8]\nvariants: [{id: wgan-gp, penalty_weight: 0.1}]\nseeds: 1\n"
        "tricks: [none, dropout-g]\nexclude: [{trick: dropout-g}]\ninclude:\n"
    )
    found = matrix(text + "  - {dataset: grid25}\n")
    assert cells(found) == [
        "ring8 × wgan-gp(penalty_weight=0.1) × none",
        "grid25 × wgan-gp(penalty_weight=0.1) × none",
        "grid25 × wgan-gp(penalty_weight=0.1) × dropout-g",
    ]
    found = matrix(text + "  - {variant: wgan-gp, trick: dropout-g}\n")
    assert cells(found)[1] == "ring8 × wgan-gp(penalty_weight=0.1) × dropout-g"
    assert not found.plan.skipped
    found = matrix(text + "  - {variant: gan, trick: [none, [dropout-g, feature-matching]]}\n")
    assert cells(found)[1:] == ["ring8 × gan × none", "ring8 × gan × dropout-g + feature-matching"]


def test_a_profile_takes_out_what_the_suite_includes() -> None:
    text = HEAD + (
        "include: [{dataset: digits, variant: [gan, lsgan]}]\n"
        "profiles:\n  small: {exclude: [{dataset: digits}], include: [{dataset: digits, "
        "variant: dcgan}]}\n  same: {seeds: 1}\n"
    )
    both = ["ring8 × gan × none", "digits × gan × none", "digits × lsgan × none"]
    assert cells(matrix(text)) == cells(matrix(text, profile="same")) == both
    small = matrix(text, profile="small")
    assert cells(small) == ["ring8 × gan × none", "digits × dcgan × none"]
    assert skipped(small) == dict.fromkeys(both[1:], "excluded by the suite")


def test_a_cell_cannot_be_there_twice() -> None:
    path, line, message = problem(HEAD + "include:\n  - {dataset: ring8, variant: gan}\n")
    assert (path, line) == ("include[0]", 6)
    assert "ring8 × gan × none is there twice" in message


@pytest.mark.parametrize(
    "change",
    [
        "seeds: 1000000000",
        "seeds: 100001",
        f"include: [{{variant: [{', '.join(f'{{id: wgan, d_steps: {i}}}' for i in range(1, 301))}]"
        "}]",
    ],
)
def test_too_many_runs_are_refused_before_any_is_made(change: str) -> None:
    text = "suite: mine\ndatasets: [ring8]\nvariants: [gan]\n" + change
    seeds = 400 if change.startswith("include") else None
    start = time.perf_counter()
    _, _, message = problem(text, seeds=seeds)
    assert time.perf_counter() - start < 5
    assert "at most 100,000" in message


def test_a_billion_cells_are_refused_quickly() -> None:
    critics = ", ".join(f"{{id: wgan-gp, penalty_weight: {i}}}" for i in range(1000))
    ratios = ", ".join(
        f"{{id: update-ratio, d: {d}, g: {g}}}" for d in range(1, 101) for g in range(1, 11)
    )
    start = time.perf_counter()
    _, _, message = problem(
        f"suite: a\ndatasets: [ring8]\nvariants: [{critics}]\ntricks: [{ratios}]\nseeds: 1000\n"
    )
    assert time.perf_counter() - start < 20
    assert "asks for 1,000,000,000 runs" in message


def test_a_part_that_fails_when_asked_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: Trick, context: Context) -> str | None:
        raise ZeroDivisionError("oops")

    monkeypatch.setattr(tricks.get("dropout-g"), "inapplicable", fail)
    with pytest.raises(GanbenchError, match=r"'dropout-g' failed .* ring8 × gan × dropout-g.*oops"):
        matrix(HEAD + "tricks: [none, dropout-g]\n")


def test_a_variant_without_a_network_for_the_data_is_skipped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gan: type[Variant] = variants.get("gan")
    monkeypatch.setattr(gan, "networks", {"images": "mlp-small"})
    text = "suite: mine\ndatasets: [ring8, digits]\nvariants: [gan]\n"
    assert skipped(matrix(text)) == {"ring8 × gan × none": "gan names no network for points"}


@pytest.mark.parametrize("hook", ["schedule", "build"])
@pytest.mark.parametrize("answer", [None, ZeroDivisionError("oops")])
def test_a_part_that_cannot_be_laid_over_is_named(
    hook: str, answer: Exception | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(self: object, given: object) -> None:
        if answer is not None:
            raise answer

    monkeypatch.setattr(tricks.get("feature-matching"), hook, failing)
    with pytest.raises(GanbenchError, match=r"'feature-matching' (failed when|must return)"):
        matrix(HEAD + "tricks: [none, feature-matching]\n")


class TestSettingsAsATrick:
    """Other settings in the place of a trick."""

    HEAD = "suite: mine\ndatasets: [ring8]\nvariants: [gan, wgan]\nseeds: 2\n"

    def test_they_win_over_every_rule_and_are_a_treatment_of_their_own(self) -> None:
        found = matrix(
            self.HEAD
            + "tricks: [none, {id: settings, lr_g: 1e-2}, [feature-matching, {id: settings, "
            + "optimizer: sgd}]]\nsettings: {lr_g: 1e-3}\n"
            + "overrides: [{when: {variant: gan}, settings: {lr_g: 1e-4}}]\n"
        )
        rates = {
            (run.variant, run.tricks): spec.settings.lr_g
            for run, spec in zip(found.plan.runs, found.specs, strict=True)
        }
        changed, both = "settings(lr_g=0.01)", "feature-matching + settings(optimizer=sgd)"
        assert rates == {
            ("gan", "none"): 1e-4,
            ("gan", changed): 1e-2,
            ("gan", both): 1e-4,
            ("wgan", "none"): 1e-3,
            ("wgan", changed): 1e-2,
            ("wgan", both): 1e-3,
        }
        by_id = {run.id: spec for run, spec in zip(found.plan.runs, found.specs, strict=True)}
        assert [trick.id for trick in by_id[found.plan.runs[4].id].tricks] == ["feature-matching"]
        sgd = [spec.settings for spec in found.specs if spec.tricks]
        assert {(s.optimizer, s.beta1, s.beta2) for s in sgd} == {("sgd", 0.0, 0.0)}

    def test_they_can_be_selected_and_matched(self) -> None:
        text = self.HEAD + "tricks: [none, {id: settings, lr_g: 1e-2}, {id: settings, lr_g: 0.1}]\n"
        only = {"tricks": ["settings(lr_g=0.1)"], "variant": ["gan"]}
        assert len(matrix(text, only=only).selected) == 2
        found = matrix(text + "exclude: [{variant: wgan, trick: settings}]\n")
        assert len(found.specs) == 8

    @pytest.mark.parametrize(
        ("entry", "words"),
        [
            ("{id: settings}", "must change a setting"),
            ("{id: settings, lr_q: 1}", "unknown setting 'lr_q' (did you mean 'lr_g'?)"),
            ("{id: settings, lr_g: -1}", "greater than 0"),
            ("[{id: settings, lr_g: 1}, {id: settings, lr_d: 1}]", "has settings twice"),
        ],
    )
    def test_what_is_wrong_is_said_once(self, entry: str, words: str) -> None:
        _, _, message = problem(self.HEAD + f"tricks: [none, {entry}]\n")
        assert words in message
