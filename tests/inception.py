"""Makes weights for Inception's real architecture: random, seeded, and telling images apart."""

from __future__ import annotations

import hashlib
from pathlib import Path
from unittest import mock

import torch

from harness.metrics.extractors.inception import FILE


def write_random_weights(folder: Path) -> str:
    """Write the file into a folder under the name of the published one; return its SHA-256."""
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    fetch = "torch_fidelity.feature_extractor_inceptionv3.load_state_dict_from_url"
    with (
        mock.patch(fetch, return_value={}),
        mock.patch.object(FeatureExtractorInceptionV3, "load_state_dict"),
        torch.random.fork_rng(devices=[]),
    ):
        torch.manual_seed(0)
        state = FeatureExtractorInceptionV3("inception-v3-compat", ["2048"]).state_dict()
        for name, tensor in state.items():
            if tensor.dim() == 4:  # as PyTorch fills them, the signal would fade to 1e-8
                torch.nn.init.kaiming_normal_(tensor)
            elif name == "fc.weight":
                tensor.mul_(100)
    torch.save(state, folder / FILE)
    return hashlib.sha256((folder / FILE).read_bytes()).hexdigest()
