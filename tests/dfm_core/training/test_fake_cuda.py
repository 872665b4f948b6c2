"""Training and sampling on a fake GPU: every operation is on one device, and the host waits for none of them."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from dfm_core.config import DecompositionConfig, ExperimentConfig
from dfm_core.paradigms.dfm import DecomposableFlowMatching
from dfm_core.training.engine import PlainEngine
from tests.support.fake_cuda import CUDA, FakeCuda, HostWaits
from tests.support.models import (
    SAMPLED,
    paradigm_of,
    random_batch,
    random_model,
    random_sampler,
    tiny_cascade,
    tiny_dfm,
    tiny_flow_matching,
    tiny_pyramidal_flow,
)

GRIDS = {"model.patch_sizes": (2, 2), "model.patch_grid": "per_stage"}
CONFIGS = {
    "flow_matching": tiny_flow_matching(),
    "dfm": tiny_dfm(),
    "tied": tiny_dfm({"training.timesteps": "tied"}),
    "wavelet": tiny_dfm({"decomposition": DecompositionConfig("wavelet", (4, 8))}),
    "fourier": tiny_dfm({"decomposition": DecompositionConfig("fourier", (4, 8))}),
    "cosine": tiny_dfm({"decomposition": DecompositionConfig("cosine", (4, 8), block_size=4)}),
    "bands": SAMPLED["bands"],
    "sincos": tiny_dfm({"model.positions": "sincos"}),
    "tokenformer": tiny_dfm({"model.backbone": "tokenformer"}),
    "lora": tiny_dfm({"model.lora_rank": 4}),
    "grids": tiny_dfm(GRIDS),
    "grids_specialised": tiny_dfm({**GRIDS, "model.specialization": "full"}),
    "cascade_first": tiny_cascade(0),
    "cascade_second": tiny_cascade(1),
    "cascade_joined": tiny_cascade(1, {"cascade.condition_tokens": "joined"}),
    "pyramid": tiny_pyramidal_flow(),
    "pyramid_specialised": tiny_pyramidal_flow({"model.specialization": "full"}),
    **{
        name: tiny_dfm({"model.specialization": name})
        for name in ("modulation", "projection", "conditioning", "attention", "mlp", "full")
    },
}
Gpu = tuple[FakeCuda, HostWaits]


@pytest.mark.parametrize(
    ("name", "precision"),
    [*((name, "bf16") for name in CONFIGS), ("full", "fp32")],
)
def test_a_step_stays_on_the_gpu_and_waits_for_the_norm_alone(name: str, precision: str, fake_cuda: Gpu) -> None:
    gpu, waits = fake_cuda
    config = _with_precision(CONFIGS[name], precision)
    model, paradigm = gpu.module(random_model(config)), paradigm_of(config)
    engine = PlainEngine(model, config.training)
    batch = gpu.batch(random_batch(8), paradigm.draw)
    if isinstance(paradigm, DecomposableFlowMatching):
        paradigm.analyze(batch.images)  # its matrices are copied once
        waits.blocking_copies.clear()
    result = paradigm.loss(engine.model, batch)
    engine.backward(result.loss)
    assert (result.loss.device, result.loss.dtype) == (CUDA, torch.float32)
    for parameter in model.parameters():
        assert parameter.grad is not None
        assert (parameter.grad.device, parameter.grad.dtype) == (CUDA, torch.float32)
    assert waits.count == 0
    engine.step(1e-3)
    assert (waits.reads, waits.blocking_copies) == (["_local_scalar_dense"], [])


def _with_precision(config: ExperimentConfig, precision: str) -> ExperimentConfig:
    return replace(config, training=replace(config.training, precision=precision))


@pytest.mark.parametrize("name", SAMPLED)
def test_sampling_stays_on_the_gpu(name: str, fake_cuda: Gpu) -> None:
    gpu, waits = fake_cuda
    config = SAMPLED[name]
    model = gpu.module(random_sampler(config)).eval()
    labels = gpu.tensor(torch.tensor([0, 1, 2]))
    sampling = replace(config.sampling, steps=(1,) * config.num_stages, guidance=2.0, solver="heun")
    images = paradigm_of(config).sample(model, labels, range(3), 0, sampling).images
    assert (images.device, images.shape) == (CUDA, (3, 1, 8, 8))
    assert waits.reads == []
