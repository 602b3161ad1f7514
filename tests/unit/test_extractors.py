"""Extractors: shipped weights are what their records say, and nothing else is accepted."""

import hashlib
import json
import os
import socket
import sys
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load, save

from harness.datasets.base import Examples, datasets
from harness.datasets.digits import Digits
from harness.errors import DataError
from harness.metrics.applicable import require
from harness.metrics.extractors import classifiers, train
from harness.metrics.extractors.base import extractors
from harness.metrics.extractors.classifiers import DigitsClassifier, MNISTClassifier
from harness.metrics.extractors.inception import FID_LABEL, FILE, InceptionV3
from harness.metrics.extractors.stacked import StackedDigitsClassifier
from harness.planning.checks import check_data
from harness.testing.specs import make_spec

CPU = torch.device("cpu")
SHIPPED = [DigitsClassifier, MNISTClassifier]
LEAST = {DigitsClassifier: 0.985, MNISTClassifier: 0.995}
"""Accuracy below which a classifier is no measure."""


def accuracy(extractor, examples) -> float:
    _, logits = extractor.features(examples.values)
    return (logits.argmax(1) == examples.labels).double().mean().item()


class TestShipped:
    @pytest.mark.parametrize("cls", SHIPPED)
    def test_record_is_true_of_the_file(self, cls):
        record = cls.record()
        data = cls.weights_file().read_bytes()
        assert record["sha256"] == hashlib.sha256(data).hexdigest() == cls.weights_sha256()
        assert record["bytes"] == len(data) < 2**20
        (dataset,) = cls.classifies
        assert record["data"] == {
            "id": dataset,
            "fingerprint": datasets.get(dataset)().fingerprint(),
        }
        assert cls.label() == f"{cls.id}@{record['sha256'][:8]}"
        cls.require()

    @pytest.mark.parametrize("cls", SHIPPED)
    @pytest.mark.parametrize("split", ["validation", "test"])
    def test_accuracy_is_the_recorded_one(self, cls, split):
        dataset = datasets.get(cls.classifies[0])()
        root = os.environ.get("GANBENCH_DATA")
        if dataset.needs_root and not root:
            pytest.skip(f"{dataset.id} is not here; GANBENCH_DATA names no folder with it")
        measured = accuracy(cls.load(CPU), dataset.load(split, Path(root) if root else None))
        assert measured == pytest.approx(cls.record()[f"{split}_accuracy"], abs=4e-4)
        assert measured >= LEAST[cls]

    def test_accuracies_are_good_enough_to_measure_with(self):
        for cls, least in LEAST.items():
            assert cls.record()["test_accuracy"] >= least

    @pytest.mark.parametrize("cls", SHIPPED)
    def test_the_epoch_was_chosen_on_held_out_training_images(self, cls):
        record = cls.record()
        plan = train.PLANS[cls.classifies[0]]
        assert record["plan"] == asdict(plan)
        assert plan.held_out > 0 and 1 <= record["epoch"] <= plan.epochs
        assert {"held_out_accuracy", "validation_accuracy", "test_accuracy"} < record.keys()

    @pytest.mark.parametrize(
        ("cls", "size", "width"), [(SHIPPED[0], 16, 64), (SHIPPED[1], 32, 128)]
    )
    def test_shapes_and_types(self, cls, size, width):
        images = torch.randint(256, (3, 1, size, size), dtype=torch.uint8)
        features, logits = cls.load(CPU).features(images)
        assert features.shape == (3, width)
        assert logits.shape == (3, 10)
        assert features.dtype == logits.dtype == torch.float64
        assert not features.requires_grad
        assert (features >= 0).all()

    def test_images_do_not_see_one_another(self):
        extractor = DigitsClassifier.load(CPU)
        images = datasets.get("digits")().load("test").values[:40]
        features, logits = extractor.features(images)
        for batch in (1, 7, 40):
            other = extractor.features(images, batch)
            assert torch.allclose(other[0], features, atol=1e-5)
            assert torch.allclose(other[1], logits, atol=1e-4)
        alone, _ = extractor.features(images[5:6])
        assert torch.allclose(alone[0], features[5], atol=1e-5)

    def test_no_images_is_no_features(self):
        features, logits = DigitsClassifier.load(CPU).features(
            torch.zeros(0, 1, 16, 16, dtype=torch.uint8)
        )
        assert (features.shape, logits.shape) == ((0, 64), (0, 10))

    def test_evaluation_mode_is_asserted(self):
        extractor = DigitsClassifier.load(CPU)
        assert not any(module.training for module in extractor.network.modules())
        assert not any(p.requires_grad for p in extractor.network.parameters())
        extractor.network.train()
        with pytest.raises(RuntimeError, match="'digits-cnn' is in training mode"):
            extractor.features(torch.zeros(1, 1, 16, 16, dtype=torch.uint8))


class TestStacked:
    def test_each_channel_is_seen_alone_and_the_class_is_read_off_the_three(self):
        single, stacked = DigitsClassifier.load(CPU), StackedDigitsClassifier.load(CPU)
        images = datasets.get("digits")().load("test").values[:30]
        stacks = images.reshape(10, 3, 16, 16)
        features, logits = stacked.features(stacks)
        ones, tens = single.features(images)
        assert features.shape == (10, 192)
        assert torch.allclose(features, ones.reshape(10, 192), atol=1e-5)
        chances = tens.softmax(1)
        for i in range(10):
            for label in (0, 7, 85, 123, 999):
                a, b, c = label // 100, label // 10 % 10, label % 10
                product = chances[3 * i, a] * chances[3 * i + 1, b] * chances[3 * i + 2, c]
                assert logits[i, label].item() == pytest.approx(product.log().item(), abs=1e-3)
        assert torch.allclose(logits.exp().sum(1), torch.ones(10, dtype=torch.float64), atol=1e-5)

    def test_it_tells_nearly_every_class(self):
        examples = datasets.get("stacked-digits")().load("test")
        some = Examples(examples.values[:2000], examples.labels[:2000])
        share = accuracy(StackedDigitsClassifier.load(CPU), some)
        assert share == pytest.approx(DigitsClassifier.record()["test_accuracy"] ** 3, abs=0.02)

    def test_no_images_is_no_features(self):
        features, logits = StackedDigitsClassifier.load(CPU).features(
            torch.zeros(0, 3, 16, 16, dtype=torch.uint8)
        )
        assert (features.shape, logits.shape) == ((0, 192), (0, 1000))

    def test_it_is_named_by_the_single_weights(self):
        assert StackedDigitsClassifier.label() == (
            f"stacked-digits-cnn@{DigitsClassifier.weights_sha256()[:8]}"
        )
        StackedDigitsClassifier.require()


class TestDamage:
    @pytest.fixture
    def folder(self, tmp_path, monkeypatch):
        for suffix in ("json", "safetensors"):
            name = f"digits-cnn.{suffix}"
            (tmp_path / name).write_bytes((classifiers.WEIGHTS / name).read_bytes())
        monkeypatch.setattr(classifiers, "WEIGHTS", tmp_path)
        return tmp_path

    def test_changed_weights_are_refused_with_both_hashes(self, folder):
        file = folder / "digits-cnn.safetensors"
        data = bytearray(file.read_bytes())
        data[-1] ^= 1
        file.write_bytes(data)
        actual = hashlib.sha256(data).hexdigest()
        expected = DigitsClassifier.weights_sha256()
        with pytest.raises(DataError) as caught:
            DigitsClassifier.load(CPU)
        for part in (str(file), actual, expected, "install ganbench again"):
            assert part in str(caught.value)

    def test_absent_weights_are_named(self, folder):
        (folder / "digits-cnn.safetensors").unlink()
        with pytest.raises(DataError, match=r"digits-cnn\.safetensors is missing"):
            DigitsClassifier.require()
        with pytest.raises(
            DataError, match=r"cannot read .*digits-cnn\.safetensors \(No such file"
        ):
            DigitsClassifier.load(CPU)

    def test_absent_or_damaged_record_is_named(self, folder):
        (folder / "digits-cnn.json").write_text("{")
        with pytest.raises(DataError, match=r"digits-cnn\.json is damaged"):
            DigitsClassifier.label()
        (folder / "digits-cnn.json").unlink()
        with pytest.raises(DataError, match=r"cannot read .*digits-cnn\.json"):
            DigitsClassifier.require()

    @pytest.mark.parametrize("fault", ["not safetensors", "another network"])
    def test_weights_that_do_not_fit_are_refused(self, fault, folder):
        state = load((folder / "digits-cnn.safetensors").read_bytes())
        del state["head.bias"]
        data = b"x" * 100 if fault == "not safetensors" else save(state)
        (folder / "digits-cnn.safetensors").write_bytes(data)
        (folder / "digits-cnn.json").write_text(
            json.dumps({"sha256": hashlib.sha256(data).hexdigest()})
        )
        with pytest.raises(DataError, match=r"does not fit 'digits-cnn'"):
            DigitsClassifier.load(CPU)


class TestTraining:
    plan = replace(train.PLANS["digits"], epochs=2)

    def test_script_writes_weights_that_load_and_a_record_that_is_true(
        self, tmp_path, monkeypatch, capsys
    ):
        monkeypatch.setitem(train.PLANS, "digits", self.plan)
        read = Digits.read
        seen = []

        def watched(dataset, split, root=None):
            seen.append(split)
            return read(dataset, split, root)

        monkeypatch.setattr(Digits, "read", watched)
        monkeypatch.setattr(sys, "argv", ["train", "digits", "--out", str(tmp_path)])
        train.main()
        # What it is trained and chosen on comes first; the others are looked at once, at the end.
        assert seen == ["train", "validation", "test"]
        first = (tmp_path / "digits-cnn.safetensors").read_bytes()
        monkeypatch.setattr(classifiers, "WEIGHTS", tmp_path)
        record = DigitsClassifier.record()
        test = datasets.get("digits")().load("test")
        assert accuracy(DigitsClassifier.load(CPU), test) == record["test_accuracy"]
        assert record["plan"]["epochs"] == 2
        assert record["epoch"] in (1, 2)
        assert "epoch 2: held-out" in capsys.readouterr().out
        train.main()
        assert (tmp_path / "digits-cnn.safetensors").read_bytes() == first

    def test_plans_name_what_they_train(self):
        for plan in train.PLANS.values():
            assert extractors.get(plan.extractor).classifies == (plan.dataset,)
            assert extractors.get(plan.extractor).record()["plan"]["extractor"] == plan.extractor

    def test_held_out_images_are_not_trained_on(self):
        examples = datasets.get("digits")().load("train")
        training, held_out = train.hold_out(examples, 150, seed=0)
        assert (len(training), len(held_out)) == (1047, 150)
        images = [
            {image.numpy().tobytes() for image in part.values} for part in (training, held_out)
        ]
        assert images[0] | images[1] == {image.numpy().tobytes() for image in examples.values}
        assert len(images[0] & images[1]) <= 1197 - len(images[0] | images[1])

    def test_distortion(self):
        images = datasets.get("digits")().load("train").values[:20]
        generator = torch.Generator().manual_seed(0)
        still = replace(self.plan, rotation=0, scaling=0, shift=0)
        assert torch.allclose(train.distorted(images, still, generator), images.float(), atol=0.01)
        moved = train.distorted(images, self.plan, generator)
        assert moved.shape == images.shape
        assert (moved - images).abs().mean() > 5
        assert moved.min() >= 0
        assert moved.max() <= 255.001


class TestInception:
    @pytest.fixture
    def hub(self, tmp_path, monkeypatch):
        monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
        return tmp_path / "hub" / "checkpoints"

    def test_its_label_alone_makes_an_fid(self):
        assert InceptionV3.label() == FID_LABEL
        assert FILE.endswith(f"-{InceptionV3.sha256_expected[:8]}.pth")

    def test_absent_weights_say_which_file_goes_where(self, hub, tmp_path):
        for use in (InceptionV3.require, lambda root: InceptionV3.load(CPU, root)):
            with pytest.raises(DataError) as caught:
                use(tmp_path / "data")
            message = str(caught.value)
            for part in (FILE, InceptionV3.sha256_expected, str(hub), str(tmp_path / "data")):
                assert part in message

    def test_wrong_weights_are_refused_before_they_are_unpickled(self, hub):
        hub.mkdir(parents=True)
        (hub / FILE).write_bytes(b"not these")
        actual = hashlib.sha256(b"not these").hexdigest()
        with pytest.raises(DataError, match=f"{actual}, expected {InceptionV3.sha256_expected}"):
            InceptionV3.load(CPU)

    def test_data_root_goes_before_the_hub(self, hub, tmp_path):
        hub.mkdir(parents=True)
        (hub / FILE).touch()
        assert InceptionV3.weights_file(tmp_path) == hub / FILE
        (tmp_path / FILE).touch()
        assert InceptionV3.weights_file(tmp_path) == tmp_path / FILE
        assert InceptionV3.weights_file() == hub / FILE

    def test_nothing_is_fetched(self, hub, tmp_path, monkeypatch):
        """Not even an address is looked up, whether the weights are absent or wrong."""

        def refuse(*args, **kwargs):
            raise AssertionError("the network was used")

        for name in ("socket", "create_connection", "getaddrinfo"):
            monkeypatch.setattr(socket, name, refuse)
        monkeypatch.setattr(torch.hub, "load_state_dict_from_url", refuse)
        monkeypatch.setattr(torch.hub, "download_url_to_file", refuse)
        with pytest.raises(DataError, match=rf"{FILE}.*put it at"):
            InceptionV3.load(CPU, tmp_path)
        with pytest.raises(DataError, match=rf"{FILE}.*put it at"):
            require(Coloured(), "inception-v3-compat", tmp_path)
        assert not hub.exists() and list(tmp_path.iterdir()) == []
        (tmp_path / FILE).write_bytes(b"not these")
        with pytest.raises(DataError, match="expected"):
            InceptionV3.load(CPU, tmp_path)

    def test_a_suite_says_so_before_it_trains_anything(self, hub):
        spec = make_spec("digits", "dcgan", extractor="inception-v3-compat")
        with pytest.raises(DataError, match=rf"{FILE} \(sha256 {InceptionV3.sha256_expected}\)"):
            check_data([spec], None)

    @pytest.mark.slow
    def test_real_architecture_with_random_weights(self, hub, monkeypatch):
        from torch_fidelity import calculate_metrics
        from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

        from harness.metrics.classifier_score import classifier_score

        path = "torch_fidelity.feature_extractor_inceptionv3.load_state_dict_from_url"
        with monkeypatch.context() as patch:
            patch.setattr(path, lambda *args, **kwargs: {})
            patch.setattr(FeatureExtractorInceptionV3, "load_state_dict", lambda self, state: None)
            torch.manual_seed(0)
            network = FeatureExtractorInceptionV3("inception-v3-compat", ["2048"])
        hub.mkdir(parents=True)
        torch.save(network.state_dict(), hub / FILE)
        digest = hashlib.sha256((hub / FILE).read_bytes()).hexdigest()
        monkeypatch.setattr(InceptionV3, "sha256_expected", digest)
        extractor = InceptionV3.load(CPU)
        assert extractor.label() != FID_LABEL

        images = torch.randint(256, (12, 3, 32, 32), dtype=torch.uint8)
        features, logits = extractor.features(images, batch=5)
        assert (features.shape, logits.shape) == ((12, 2048), (12, 1008))
        assert torch.allclose(features.float(), network(images)[0], atol=1e-5)
        expected = calculate_metrics(
            input1=Pictures(images),
            cuda=False,
            isc=True,
            feature_extractor="inception-v3-compat",
            feature_extractor_weights_path=str(hub / FILE),
            batch_size=7,
            save_cpu_ram=True,
            cache=False,
            verbose=False,
        )
        assert classifier_score(logits) == pytest.approx(expected["inception_score_mean"], rel=1e-6)
        grey = images[:1, :1]
        one, three = extractor.features(grey), extractor.features(grey.repeat(1, 3, 1, 1))
        assert torch.equal(one[0], three[0])


class Coloured(Digits):
    """Digits in three channels."""

    shape = (3, 16, 16)


class Pictures(torch.utils.data.Dataset):
    """A data set of uint8 tensors, which torch-fidelity accepts."""

    def __init__(self, images):
        self.images = images

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        return self.images[index]
