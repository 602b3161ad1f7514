"""The suites that follow publications: what they ask for, and that their training works."""

import pytest
import torch

from harness.datasets.torchvision import CIFAR10
from harness.errors import AbsentDataError, DataError
from harness.jobs.cohort import JobOptions
from harness.jobs.job import Job
from harness.parts import all_parts, schedule_of
from harness.parts.blueprint import blueprint_of
from harness.planning.checks import check_data
from harness.spec import RunSpec
from harness.store.folders import Store
from harness.store.reading import read_run
from harness.suite.load import load_suite
from harness.suite.matrix import Matrix, expand
from harness.testing.cells import CPU
from tests.unit.published_files import cifar_files, pin, write

Key = tuple[str, str, str]


def cells(found: Matrix) -> dict[Key, RunSpec]:
    """Return one run of every cell by its labels."""
    return {
        (run.dataset, run.variant, run.tricks): spec
        for run, spec in zip(found.plan.runs, found.specs, strict=True)
    }


class TestModeCoverage:
    """PacGAN's settings."""

    def test_mixtures(self):
        found = expand(load_suite("mode-coverage"))
        assert {spec.seed for spec in found.specs} == set(range(10))
        by_cell = cells(found)
        for dataset in ("ring8(points=100000)", "grid25(points=100000)"):
            for trick, batch in {
                "none": 100, "packing": 200, "packing(m=3)": 300, "packing(m=4)": 400,
                "unrolled": 100,
            }.items():  # fmt: skip
                spec = by_cell[dataset, "gan-exchanged", trick]
                asked = spec.settings
                assert spec.dataset.options == {"points": 100_000}
                assert (asked.steps, asked.batch, asked.latent) == (400_000, batch, 2)
                assert (asked.network, asked.width) == ("pacgan2d", 200)
                assert (asked.optimizer, asked.lr_g, asked.lr_d) == ("adam", 1e-4, 1e-4)
                assert (asked.beta1, asked.beta2) == (0.8, 0.999)
                assert asked.evaluation_samples == 2500
                pack = blueprint_of(spec).discriminator.pack
                assert asked.batch == pack * 100
            others = {key[1] for key in by_cell if key[0] == dataset}
            assert others == {"gan-exchanged", "wgan-gp(penalty_weight=0.1)", "rsgan"}

    def test_stacked_digits(self):
        by_cell = cells(expand(load_suite("mode-coverage")))
        mine = {key: spec for key, spec in by_cell.items() if key[1] == "dcgan"}
        assert len(mine) == 5
        for spec in mine.values():
            asked = spec.settings
            assert spec.dataset.id == "stacked-mnist"
            assert asked.batch == 64 * blueprint_of(spec).discriminator.pack
            assert (asked.network, asked.latent) == ("dcgan32", 100)
            # Fifty epochs of 128,000 images in batches of 64.
            assert asked.steps * 64 == 50 * 128_000
            assert (asked.lr_g, asked.lr_d, asked.beta1) == (2e-4, 2e-4, 0.5)
            assert asked.evaluation_samples == 26_000
            parts = all_parts(spec)
            schedule = schedule_of(parts)
            assert (schedule.d, schedule.g) == (1, 2)
            z = torch.linspace(-4, 4, 9)[None, None]
            for part in parts:
                z = part.latents(z)
            assert z.abs().max() < 1

    def test_the_profile_for_a_cpu_needs_no_files(self, tmp_path):
        found = expand(load_suite("mode-coverage"), profile="cpu")
        check_data(found.specs, tmp_path)


class TestCIFAR10:
    """The reference ladder."""

    def test_settings(self):
        by_variant = {key[1]: spec for key, spec in cells(expand(load_suite("cifar10"))).items()}
        convolutional = {"wgan(d_steps=1, clip=0.1, boost=false)", "wgan-gp(d_steps=1)",
                         "sngan(g_batch=2)"}  # fmt: skip
        residual = {"wgan-gp", "sngan(d_steps=5, g_batch=2)"}
        assert by_variant.keys() == {"dcgan", *convolutional, *residual}
        for variant, spec in by_variant.items():
            asked = spec.settings
            on_resnet = variant in residual
            network = "resnet32" if on_resnet else "dcgan32" if variant == "dcgan" else "cnn32"
            assert (asked.network, asked.batch) == (network, 64 if on_resnet else 128)
            assert schedule_of(all_parts(spec)).totals(10) == (50 if on_resnet else 10, 10)
            assert (asked.steps, asked.lr_g, asked.lr_d) == (100_000, 2e-4, 2e-4)
            assert (asked.optimizer, asked.beta2) == ("adam", 0.9)
            assert asked.beta1 == (0.5 if variant == "dcgan" else 0.0)
            assert (asked.extractor, asked.evaluation_samples) == ("inception-v3-compat", 50_000)
            assert asked.reference == "train"
            assert [trick.id for trick in spec.tricks] == ["lr-decay"]

    def test_what_is_missing_is_said_at_once(self, tmp_path, monkeypatch):
        monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
        with pytest.raises(DataError) as caught:
            check_data(expand(load_suite("cifar10")).specs, tmp_path / "root")
        message = str(caught.value)
        assert message.startswith("3 problems\n")
        assert "data_batch_5 not found" in message and "test_batch not found" in message
        assert "put it at" in message and "weights-inception" in message
        assert "ganbench data fetch cifar10" in message

    def test_one_thing_that_is_missing_is_itself(self, tmp_path, monkeypatch):
        files = cifar_files()
        pin(monkeypatch, CIFAR10, files)
        write(tmp_path, {name: data for name, data in files.items() if "test" not in name})
        specs = expand(load_suite("cifar10"), profile="try").specs
        with pytest.raises(AbsentDataError, match=r"^data set 'cifar10': \S*test_batch not found"):
            check_data(specs, tmp_path)

    @pytest.mark.parametrize(
        "variants",
        [
            ("dcgan", "sngan(g_batch=2)"),
            pytest.param(
                ("wgan", "wgan-gp", "sngan(d_steps=5, g_batch=2)"), marks=pytest.mark.slow
            ),
        ],
    )
    def test_its_cells_train(self, variants, tmp_path, monkeypatch):
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        files = cifar_files(count=16)
        root = tmp_path / "root"
        write(root, files)
        pin(monkeypatch, CIFAR10, files)
        found = expand(load_suite("cifar10"), profile="try", only={"variant": variants})
        check_data(found.specs, root)
        store = Store(tmp_path / "results")
        chosen = [spec for spec in found.specs if spec.id in found.selected]
        assert len(chosen) >= len(variants)
        for spec in chosen:
            assert Job(store, CPU, JobOptions(root)).train([spec]) == 0
            record = read_run(store.folder(spec))
            assert record.outcome is not None and record.outcome.step == 3
            primary = record.primary
            assert primary is not None and primary.name.startswith("fd[thumbnail@")
            assert primary.name.endswith("@64/train")
            steps, values = record.curve(primary.name)
            assert steps == [0, 1, 2, 3]
            assert len(set(values)) > 1
