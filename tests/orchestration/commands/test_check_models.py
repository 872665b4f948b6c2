"""`--check`: models on the meta device, counted and weighed; its constant for bf16 measured on real ones."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import _disable_current_modes

from dfm_core.catalog.datasets import DATASETS, DataShape
from dfm_core.catalog.flux import FluxArchitecture
from dfm_core.compute import model_cost
from dfm_core.config import ExperimentConfig, ModelConfig, TrainingConfig
from dfm_core.config.choices import ModelSize
from dfm_core.config.data import CaptionsDescription, DataDescription
from dfm_core.config.model import BackboneDescription
from dfm_core.config.training import AdapterConfig
from dfm_core.data.image_dataset import load_dataset
from dfm_core.decompositions import build_decomposition
from dfm_core.models.velocity import VelocityModel
from dfm_core.paradigms import build_paradigm
from dfm_core.training.state import build_model
from orchestration.commands.weighing.activations import FusedAttention, saved_bytes
from orchestration.commands.weighing.sharded_state import state_bytes
from orchestration.commands.weighing.training import footprint_of
from orchestration.config.workers import WorkersConfig
from tests.orchestration.conftest import ROOT
from tests.orchestration.test_sweep import sweep
from tests.support.fake_cuda import FakeCuda, HostWaits
from tests.support.flux import tiny_flux
from tests.support.models import paradigm_of, random_dataset, training_batch, with_values

CONFIG = ExperimentConfig(model=ModelConfig(size="micro"), training=TrainingConfig(batch_size=8))
ONE_WORKER = WorkersConfig(num_workers=1)
SHAPE = DATASETS["fashion_mnist"].shape


def bytes_on_a_cpu(config: ExperimentConfig) -> int:
    """What the backward pass of a real model on real images keeps."""
    std, decomposition = (1.0, 1.0), build_decomposition(config.decomposition)
    model, paradigm = build_model(config, SHAPE, std), build_paradigm(config, decomposition, std)
    batch = training_batch(config, load_dataset("fashion_mnist", "train"), range(8))
    with saved_bytes(model) as sizes:
        paradigm.loss(model, batch)
    return sum(sizes)


def test_the_meta_device_weighs_what_a_cpu_keeps() -> None:
    # CPUs keep a little more or less in attention than the meta device's rule for it.
    assert footprint_of(CONFIG, ONE_WORKER).activation_bytes == pytest.approx(bytes_on_a_cpu(CONFIG), rel=0.05)


@pytest.mark.parametrize("size", ["micro", "S"])
def test_bf16_keeps_what_was_measured(size: ModelSize) -> None:
    mixed = replace(CONFIG, model=ModelConfig(size=size), training=replace(CONFIG.training, precision="bf16"))
    assert footprint_of(mixed, ONE_WORKER).activation_bytes == pytest.approx(bytes_on_a_cpu(mixed), rel=0.1)


@pytest.mark.parametrize("frugal", [False, True])
def test_a_gpu_keeps_what_is_weighed(frugal: bool, fake_cuda: tuple[FakeCuda, HostWaits]) -> None:
    gpu, _ = fake_cuda
    config = replace(CONFIG, model=ModelConfig(size="S"), training=replace(CONFIG.training, precision="bf16"))
    workers = replace(ONE_WORKER, activation_checkpointing=frugal)
    with torch.device("cuda"):
        model = VelocityModel(config, SHAPE, data_std=(1.0, 1.0))
    model.use_attention(FusedAttention.apply)
    if frugal:
        model.use_activation_checkpointing()
    paradigm = paradigm_of(config)
    batch = gpu.batch(training_batch(config, random_dataset(8, 32), range(8)), paradigm.draw)
    with saved_bytes(model) as sizes:
        paradigm.loss(model, batch)
    with _disable_current_modes():
        weighed = footprint_of(config, workers)
    # Recomputed blocks keep no copies of their weights; those are held while a block is at work.
    held = 0 if frugal else weighed.weight_copy_bytes
    assert weighed.sample_bytes * 8 + held == pytest.approx(sum(sizes), rel=0.1)


def test_the_largest_micro_batch_fits_and_divides_a_workers_share() -> None:
    weighed = footprint_of(CONFIG, ONE_WORKER)
    room = (weighed.resident_bytes + 5 * weighed.sample_bytes) / 0.9
    assert weighed.largest_micro_batch(int(room) + 1, 8) == 4
    assert weighed.largest_micro_batch(weighed.resident_bytes, 8) == 0


def test_parameters_and_flops_are_those_of_the_plan() -> None:
    weighed, cost = footprint_of(CONFIG, ONE_WORKER), model_cost(CONFIG, SHAPE)
    assert weighed.num_parameters == cost.num_parameters
    assert weighed.flops_per_step == 6 * cost.stage_macs[0] * 8


def test_activation_checkpointing_keeps_less() -> None:
    deep = replace(CONFIG, model=replace(CONFIG.model, size="S"))
    kept = footprint_of(deep, ONE_WORKER).activation_bytes
    assert footprint_of(deep, replace(ONE_WORKER, activation_checkpointing=True)).activation_bytes < kept / 4


@pytest.mark.parametrize(("stage", "values"), [(1, 2 + 4 / 4), (2, 1 + 6 / 4), (3, 6 / 4)])
def test_zero_stages_shard_what_they_say(stage: int, values: float) -> None:
    workers = WorkersConfig(num_workers=4, zero_stage=stage)  # type: ignore[arg-type]
    assert state_bytes(1_000_000, workers) == 4_000_000 * values


def test_every_row_of_table_1_small_passes_on_the_command_line() -> None:
    done = sweep(str(ROOT / "sweeps" / "table1_small.yaml"), "--check")
    assert done.returncode == 0, done.stderr
    assert "every training on the meta device" in done.stdout
    assert "d_parameter_specialization / specialization=full" in done.stdout


def test_a_full_scale_sweep_is_checked_without_its_data_and_says_what_it_lacks() -> None:
    rows = "parts={p: {rows: {full: {model.specialization: full}}}}"
    done = sweep(str(ROOT / "sweeps" / "table1.yaml"), rows, "workers.micro_batch_size=2", "--check")
    assert done.returncode == 0, done.stderr
    assert "397,119,984" in done.stdout
    assert "An evaluator's GPU at 250 samples (workers.evaluation_batch_size): sampler 1.5 GiB" in done.stdout
    assert "It cannot run here yet:" in done.stdout
    refused = sweep(str(ROOT / "sweeps" / "table1.yaml"), rows)
    assert refused.returncode == 2
    assert "imagenet512_flux" in refused.stderr
    assert "dinov2_vitl14_pretrain.pth from the project facebookresearch/dinov2" in refused.stderr
    assert "Traceback" not in refused.stderr


def flux_config(stages: int, values: dict[str, Any] | None = None) -> ExperimentConfig:
    """FLUX.1-dev at 1024 px as FLUX.md plans it, batch 192."""
    own = {
        "decomposition.resolutions": (64, 128) if stages == 2 else (128,),
        "model.described": BackboneDescription("flux:dev", FluxArchitecture()),
        "data.described": DataDescription("x", "flux:x", (), 10, 5, "y", 128, 16),
        "data.text_length": 512,
        "training.batch_size": 192,
        "training.ema_decay": 0.0,
        "training.precision": "bf16",
    }
    return tiny_flux(stages, {**own, **(values or {})})


EIGHT_GPUS = WorkersConfig(num_workers=8, zero_stage=3, micro_batch_size=4, activation_checkpointing=True)


def test_flux_dev_is_weighed_as_its_plan_says() -> None:
    """22.2 GiB of weights, gradients and moments a GPU of 8, and the 5.5 that the optimiser steps; 1.6 GiB kept a
    sample, 143 GB a checkpoint."""
    weighed = footprint_of(flux_config(1), EIGHT_GPUS)
    assert weighed.state_bytes / 2**30 == pytest.approx(22.2 + 5.5, abs=0.05)
    assert weighed.sample_bytes / 2**30 == pytest.approx(1.6, abs=0.05)
    assert weighed.checkpoint_bytes / 1e9 == pytest.approx(143, abs=0.5)
    assert weighed.gathered_bytes / 2**30 == pytest.approx(3.9, abs=0.05)
    assert weighed.sent_bytes / 2**30 == pytest.approx(0.19, abs=0.01)
    assert weighed.flops_per_step == 6 * 192 * FluxArchitecture().macs(4096, 512, 1)
    # All of it once more, and nothing for captions that are stored.
    assert weighed.executed_flops_per_step == pytest.approx(weighed.flops_per_step * 4 / 3)
    assert weighed.encoder_bytes == 0
    # FLUX.md counts 2.7 GiB: with 24 x 4608 x 4608 fp32 weights of attention, 1.9 GiB, which flash kernels never keep.
    assert weighed.recomputed_bytes / 2**30 == pytest.approx(0.75, abs=0.05)


def test_an_encoder_of_captions_in_the_workers_is_weighed() -> None:
    captions = CaptionsDescription(16, "x:bf16", 4096, 768, encoder_weights=4_762_310_656, in_workers=True)
    described = DataDescription("x", "flux:x", (), 10, 5, "y", 128, 16, captions=captions)
    stored, live = flux_config(1), flux_config(1, {"data.described": described, "data.sides": (1024,)})
    weighed, before = footprint_of(live, EIGHT_GPUS), footprint_of(stored, EIGHT_GPUS)
    assert weighed.encoder_bytes / 1e9 == pytest.approx(9.5, abs=0.05)
    assert weighed.flops_per_step == before.flops_per_step
    more = (weighed.executed_flops_per_step - before.executed_flops_per_step) / weighed.flops_per_step
    assert more == pytest.approx(0.022, abs=0.001)  # of 512 px, 0.076
    assert [one.largest_micro_batch(40 * 2**30, 24) for one in (before, weighed)] == [1, 0]


@pytest.mark.parametrize(
    ("values", "trained"),
    [
        ({"training.trainable": "projections"}, 64 * 3072 + 3072 + 64 * 3073),
        ({"training.adapter": AdapterConfig(rank=2)}, None),
    ],
    ids=["projections", "adapter"],
)
def test_what_is_frozen_has_neither_gradients_nor_moments(values: dict[str, Any], trained: int | None) -> None:
    config = with_values(tiny_flux(1), {**values, "data.described": DataDescription("x", "k", (), 9, 5, "y", 8, 4)})
    weighed = footprint_of(config, ONE_WORKER)
    whole = footprint_of(replace(config, training=tiny_flux(1).training), ONE_WORKER)
    assert weighed.state_bytes < whole.state_bytes / 2
    assert weighed.checkpoint_bytes < whole.checkpoint_bytes / 2
    if trained is not None:
        cost = model_cost(flux_config(1, values), DataShape(16, 0))
        assert cost.num_trained == trained
