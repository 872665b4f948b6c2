"""The paths of a GPU on a GPU: `pytest -m gpu`. With DFM_GPU_REHEARSAL=1 the same tests run on the CPU."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from dfm_core.config import ExperimentConfig
from dfm_core.metrics.features.lite0 import load_lite0_network
from dfm_core.training.engine import PlainEngine
from dfm_core.training.loop import train
from dfm_core.training.steps import LoopPlan
from orchestration.config.workers import WorkersConfig, ZeroStage
from orchestration.training.deepspeed_engine import DeepSpeedEngine
from orchestration.training.worker_setup import use_kernels
from tests.dfm_core.training.test_fake_cuda import CONFIGS
from tests.support.models import (
    SAMPLED,
    paradigm_of,
    random_batch,
    random_dataset,
    random_model,
    random_sampler,
    tiny_dfm,
)

pytestmark = pytest.mark.gpu
PLAN = LoopPlan(until_step=4, micro_batch_size=4, log_every=1, save_at=frozenset())
MEMORY_BYTES = 2**20
"""Memory that may stay after a training: of caches."""


@pytest.fixture(scope="module")
def device() -> torch.device:
    if torch.cuda.is_available():
        return torch.device("cuda", torch.cuda.current_device())
    if os.environ.get("DFM_GPU_REHEARSAL") != "1":
        pytest.skip("needs a GPU")
    return torch.device("cpu")


@pytest.fixture(scope="module")
def group(device: torch.device, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A process group of one, as Ray Train would set it up."""
    os.environ.update(RANK="0", LOCAL_RANK="0", WORLD_SIZE="1", LOCAL_WORLD_SIZE="1")
    meeting = tmp_path_factory.mktemp("group") / "meeting"
    backend = "nccl" if device.type == "cuda" else "gloo"
    torch.distributed.init_process_group(backend, init_method=f"file://{meeting}", rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


def gradients(config: ExperimentConfig, device: torch.device) -> tuple[float, dict[str, Tensor]]:
    model, paradigm = random_model(config).to(device), paradigm_of(config)
    batch = random_batch(8)
    drawn = replace(batch, draws=paradigm.draw(batch.indices, (1, 8, 8)))
    loss = paradigm.loss(model, drawn.to(device)).loss
    loss.backward()
    return float(loss.detach()), {name: p.grad.cpu() for name, p in model.named_parameters() if p.grad is not None}


def curve(config: ExperimentConfig, device: torch.device) -> list[float]:
    engine = PlainEngine(random_model(config).to(device), config.training, 2)
    return [row["loss"] for row in train(config, paradigm_of(config), random_dataset(), engine, PLAN)]


@pytest.mark.parametrize("name", CONFIGS)
def test_a_gpu_finds_the_losses_and_gradients_of_a_cpu(name: str, device: torch.device) -> None:
    (loss, expected), (own_loss, own) = (gradients(CONFIGS[name], where) for where in (torch.device("cpu"), device))
    assert own_loss == pytest.approx(loss, rel=1e-5)
    for parameter, gradient in expected.items():
        torch.testing.assert_close(own[parameter], gradient, rtol=1e-3, atol=1e-5, msg=parameter)


@pytest.mark.parametrize("name", SAMPLED)
def test_a_gpu_samples_the_images_of_a_cpu(name: str, device: torch.device) -> None:
    config = SAMPLED[name]

    def sampled(where: torch.device) -> Tensor:
        model, labels = random_sampler(config).to(where).eval(), torch.tensor([0, 1, 2], device=where)
        return paradigm_of(config).sample(model, labels, range(3), 0, config.sampling).images.cpu()

    torch.testing.assert_close(sampled(device), sampled(torch.device("cpu")), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_compiled_blocks_compute_what_eager_ones_do(precision: str, device: torch.device) -> None:
    config, batch = tiny_dfm({"training.precision": precision}), random_batch(8)
    losses = []
    for compiles in (False, True):
        model = random_model(config).to(device)
        if compiles:
            model.compile_blocks()
        losses.append(float(paradigm_of(config).loss(model, batch.to(device)).loss))
    assert losses[1] == pytest.approx(losses[0], rel=1e-5 if precision == "fp32" else 1e-2)


def test_a_step_waits_for_the_gpu_once(device: torch.device) -> None:
    if device.type == "cpu":
        pytest.skip("a CPU is never waited for")
    config = tiny_dfm()
    engine, paradigm = PlainEngine(random_model(config).to(device), config.training), paradigm_of(config)
    batch = random_batch(8)
    pinned = replace(batch, draws=paradigm.draw(batch.indices, (1, 8, 8))).pinned()
    engine.backward(paradigm.loss(engine.model, pinned.to(device)).loss)
    engine.step(1e-3)
    torch.cuda.set_sync_debug_mode("error")
    try:
        engine.backward(paradigm.loss(engine.model, pinned.to(device)).loss)
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_a_pinned_batch_survives_the_reuse_of_its_memory(device: torch.device) -> None:
    if device.type == "cpu":
        pytest.skip("nothing is pinned for a CPU")
    copies = []
    for value in range(50):
        batch = replace(random_batch(8), images=torch.full((8, 16, 64, 64), float(value))).pinned()
        copies.append(batch.to(device).images)
        del batch  # its memory may be given to the next one at once
    assert [float(copy.min()) for copy in copies] == [float(copy.max()) for copy in copies] == list(range(50))


def test_three_trainings_in_one_process_return_to_the_memory_of_the_first(device: torch.device) -> None:
    held = []
    for _ in range(3):
        curve(tiny_dfm(), device)
        held.append(torch.cuda.memory_allocated() if device.type == "cuda" else 0)
    assert held[2] <= held[0] + MEMORY_BYTES


def test_deterministic_kernels_give_the_same_bits_again(device: torch.device) -> None:
    use_kernels(deterministic=True)
    try:
        config = tiny_dfm({"training.precision": "bf16"})
        assert curve(config, device) == curve(config, device)
    finally:
        use_kernels(deterministic=False)


@pytest.mark.usefixtures("group")
@pytest.mark.parametrize("stage", [1, 2, 3])
def test_deepspeed_trains_as_plain_torch_does(stage: ZeroStage, device: torch.device) -> None:
    config = tiny_dfm()
    workers = WorkersConfig(num_workers=1, zero_stage=stage, micro_batch_size=4)
    engine = DeepSpeedEngine(random_model(config), config.training, workers, device)
    rows = train(config, paradigm_of(config), random_dataset(), engine, PLAN)
    engine.close()
    assert [row["loss"] for row in rows] == pytest.approx(curve(config, device), rel=1e-4)


def test_a_feature_network_finds_the_features_of_a_cpu(device: torch.device) -> None:
    pixels = torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    expected = load_lite0_network({})(pixels)
    for name, rows in load_lite0_network({}).to(device)(pixels.to(device)).items():
        torch.testing.assert_close(rows.cpu(), expected[name], rtol=1e-3, atol=1e-3)


def test_an_image_of_512_pixels_is_decoded_within_the_memory(device: torch.device, tmp_path: Path) -> None:
    if device.type == "cpu":
        pytest.skip("sizes of a GPU")
    from dfm_core.autoencoders.registry import load_autoencoder
    from dfm_core.fitting_batches import AUTOENCODER_BYTES, FittingBatches
    from tests.support.tiny_autoencoders import save_flux

    autoencoder: Any = load_autoencoder(
        "flux", save_flux(tmp_path, block_out_channels=(128, 256, 512, 512), norm_num_groups=32, layers_per_block=2)
    )
    autoencoder.network.to(device)
    latents = torch.randn(64, 16, 64, 64, device=device)
    with torch.no_grad():
        parts = FittingBatches("flux", AUTOENCODER_BYTES).map(autoencoder.decode, latents, 512 * 512)
    assert sum(map(len, parts)) == 64
    assert torch.cuda.max_memory_allocated() < 0.7 * torch.cuda.get_device_properties(device).total_memory
