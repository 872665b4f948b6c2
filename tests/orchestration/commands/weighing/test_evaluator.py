"""The memory of an evaluator's GPU: sampler, autoencoder and feature networks at their batch."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, get_args

import pytest
import torch

from dfm_core.catalog.feature_networks import FeatureNetworkName
from dfm_core.config import DecompositionConfig, ExperimentConfig
from dfm_core.metrics.features.clip import vit_base_32
from dfm_core.metrics.features.dinov2 import vit_large
from dfm_core.metrics.features.lite0 import load_lite0_network
from dfm_core.models.velocity import VelocityModel
from orchestration.commands.weighing.activations import FusedAttention
from orchestration.commands.weighing.evaluator import NETWORK_BYTES, EvaluatorFootprint, evaluator_footprint
from orchestration.commands.weighing.held_bytes import HeldBytes
from tests.support.fake_cuda import FakeCuda, HostWaits
from tests.support.models import SHAPE, paradigm_of, with_values

GIB = 2**30
BATCH = 16
CONFIG = with_values(
    ExperimentConfig(decomposition=DecompositionConfig("laplacian", (16, 32))),
    {"model.size": "S", "model.patch_sizes": (1, 2), "training.precision": "bf16", "sampling.steps": (1, 1)},
)


def guided(guidance: float) -> ExperimentConfig:
    return replace(CONFIG, sampling=replace(CONFIG.sampling, guidance=guidance))


@pytest.fixture(scope="module")
def weighed() -> dict[float, int]:
    """Weighed before there is a fake GPU, by guidance."""
    return {guidance: evaluator_footprint(guided(guidance), BATCH, ()).peak_bytes() for guidance in (1.0, 1.5)}


@pytest.mark.parametrize("guidance", [1.0, 1.5])
def test_a_gpu_holds_what_is_weighed_of_a_sampler(
    guidance: float, weighed: dict[float, int], fake_cuda: tuple[FakeCuda, HostWaits]
) -> None:
    gpu, _ = fake_cuda
    config = guided(guidance)
    with HeldBytes("cuda") as held, torch.device("cuda"), torch.no_grad():
        model = VelocityModel(config, SHAPE, data_std=(1.0, 1.0)).eval()
        model.use_attention(FusedAttention.apply)
        labels = gpu.tensor(torch.zeros(BATCH, dtype=torch.int64))
        paradigm_of(config).sample(model, labels, range(BATCH), 0, config.sampling)
    assert weighed[guidance] == pytest.approx(held.peak, rel=0.05)


def vision_model(kind: str) -> Any:
    from transformers import CLIPVisionModel, Dinov2Model

    return Dinov2Model(vit_large(224)) if kind == "dinov2" else CLIPVisionModel(vit_base_32().vision_config)


@pytest.mark.parametrize("name", ["dinov2", "clip"])
def test_a_network_holds_what_the_table_says(name: FeatureNetworkName) -> None:
    with torch.no_grad(), torch.device("meta"):
        with HeldBytes("meta") as weights:
            model = vision_model(name).eval()
        with HeldBytes("meta") as held:
            model(torch.empty(BATCH, 3, 224, 224))
    of_weights, of_image = NETWORK_BYTES[name]
    assert held.peak / BATCH == pytest.approx(of_image, rel=0.1)
    if name == "dinov2":  # CLIP's file has the text's half, too
        assert weights.peak == pytest.approx(of_weights, rel=0.1)


def test_the_packaged_network_holds_what_the_table_says() -> None:
    network = load_lite0_network({})
    with torch.no_grad(), HeldBytes("cpu") as held:
        network(torch.zeros(BATCH, 3, 32, 32, dtype=torch.uint8))
    assert held.peak / BATCH == pytest.approx(NETWORK_BYTES["lite0"][1], rel=0.1)


def test_every_network_is_in_the_table() -> None:
    assert set(NETWORK_BYTES) == set(get_args(FeatureNetworkName))


def test_the_autoencoder_takes_half_of_what_is_free() -> None:
    weighed = EvaluatorFootprint(250, 3 * GIB, 9 * GIB, 512 * 512, {"dinov2": 5 * GIB})
    at_once = [weighed.decoded_at_once(memory * GIB) for memory in (8, 80, 4000)]
    assert weighed.resident_bytes / GIB == pytest.approx(3 + (1161 + 320) / 1024)
    assert at_once == [2, 50, 250]  # 0.75 GiB each
    assert weighed.peak_bytes() == weighed.resident_bytes + 9 * GIB
    assert replace(weighed, pixels=0).decoded_at_once(8 * GIB) == 250
