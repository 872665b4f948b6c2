"""Feature networks and autoencoders on a fake GPU: all of them stay on it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from dfm_core.autoencoders.registry import load_autoencoder
from dfm_core.data.image_dataset import to_pixels
from dfm_core.metrics.features.lite0 import load_lite0_network
from tests.support.fake_cuda import CUDA, FakeCuda, HostWaits
from tests.support.feature_standins import tiny_clip, tiny_dinov2
from tests.support.tiny_autoencoders import save_flux

Gpu = tuple[FakeCuda, HostWaits]
INPUTS = {"dinov2": "dfm_core.metrics.features.dinov2.fdd_input", "clip": "dfm_core.metrics.features.clip.clip_input"}
"""Functions that resize with Pillow, on the host."""
NETWORKS: dict[str, Callable[[], Any]] = {
    "lite0": lambda: load_lite0_network({}),
    "dinov2": tiny_dinov2,
    "clip": tiny_clip,
}


@pytest.fixture(params=NETWORKS)
def network(request: pytest.FixtureRequest) -> Any:
    """Made before the fake GPU, as its files are read on the host."""
    return NETWORKS[request.param]()


@pytest.fixture
def autoencoder(tmp_path: Path) -> Any:
    return load_autoencoder("flux", save_flux(tmp_path))


def test_a_feature_network_stays_on_the_gpu(network: Any, fake_cuda: Gpu, monkeypatch: pytest.MonkeyPatch) -> None:
    gpu, waits = fake_cuda
    if network.card.name in INPUTS:
        monkeypatch.setattr(INPUTS[network.card.name], lambda pixels: torch.zeros(len(pixels), 3, 224, 224))
    gpu.module(network._model)
    network._device = CUDA
    pixels = gpu.tensor(torch.zeros(3, 3, 32, 32, dtype=torch.uint8))
    with torch.no_grad():
        features = network(pixels)
    assert {rows.device for rows in features.values()} == {CUDA}
    assert len(waits.reads) <= len(features)  # the check for values that are not finite, once for each output


def test_an_autoencoder_stays_on_the_gpu_both_ways(autoencoder: Any, fake_cuda: Gpu) -> None:
    gpu, waits = fake_cuda
    gpu.module(autoencoder.network)
    with torch.no_grad():
        posterior = autoencoder.encode(gpu.tensor(torch.zeros(2, 3, 32, 32)))
        images = autoencoder.decode(posterior.mean)
    assert (posterior.mean.device, images.device, images.shape) == (CUDA, CUDA, (2, 3, 32, 32))
    assert waits.count == 0
    assert to_pixels(images.clamp(-1, 1)).device == CUDA
