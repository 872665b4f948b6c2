"""The memory of a GPU in the trainings of the paper's tables, as `--check` weighs it, beside a count on a fake GPU."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from torch.utils._python_dispatch import _disable_current_modes

from dfm_core.config import ExperimentConfig
from dfm_core.config.dataset_card import card_of
from dfm_core.decompositions import build_decomposition
from dfm_core.models.registry import build_network
from dfm_core.paradigms import Batch, build_paradigm
from dfm_core.training.engine import MOMENTS, PlainEngine
from orchestration.commands.weighing.activations import FusedAttention
from orchestration.commands.weighing.held_bytes import HeldBytes
from orchestration.commands.weighing.training import footprint_of
from orchestration.config.workers import WorkersConfig
from orchestration.plan.plan import make_plan
from orchestration.spec.load import load_sweep
from orchestration.tasks.task import TrainTask
from tests.orchestration.conftest import ROOT
from tests.support.fake_cuda import FakeCuda, HostWaits

TABLES = ("table1", "table2_imagenet512", "table2_imagenet1024", "table2_kinetics512", "table4")


def trainings(table: str) -> Iterator[tuple[str, ExperimentConfig, WorkersConfig]]:
    """The trainings of a table, one of those that have the same network and batch."""
    spec = load_sweep(ROOT / "sweeps" / f"{table}.yaml", [])
    workers, seen = spec.runtime.workers, list[object]()
    for task in make_plan(spec).of_kind(TrainTask):
        config = task.config
        shapes = (config.paradigm, config.decomposition, config.model, config.training.batch_size, config.own_stages)
        if shapes not in seen:
            seen.append(shapes)
            micro = workers.micro_batch(config.training.batch_size)
            yield task.title, config, replace(workers, num_workers=1, micro_batch_size=micro)


def counted(gpu: FakeCuda, config: ExperimentConfig, workers: WorkersConfig) -> int:
    """Bytes at the peak of a step, in whose last micro-batch there are gradients of those before."""
    shape, ones = card_of(config.data).shape, (1.0,) * config.num_stages
    micro = workers.micro_batch(config.training.batch_size)
    sample = shape.of_scale(shape.channels, config.decomposition.resolutions[-1])
    paradigm = build_paradigm(config, build_decomposition(config.decomposition), ones)
    with _disable_current_modes():  # as on the host
        draws = paradigm.draw(range(micro), sample)
    with HeldBytes("cuda") as held, torch.device("cuda"):
        model = build_network(config, shape, ones)
        model.use_attention(FusedAttention.apply)
        if workers.activation_checkpointing:
            model.use_activation_checkpointing()
        engine = PlainEngine(model, config.training)
        for weight in model.parameters():
            weight.grad = torch.empty_like(weight) if weight.requires_grad else None
            engine._optimizer.state[weight] = {kind: torch.empty_like(weight) for kind in MOMENTS}
        images, labels = torch.empty(micro, *sample), torch.zeros(micro, dtype=torch.int64)
        batch = Batch(images, labels, range(micro), draws._each(gpu.tensor))
        engine.backward(paradigm.loss(engine.model, batch).loss)
    return held.peak


@pytest.mark.slow
@pytest.mark.parametrize("table", TABLES)
def test_a_gpu_holds_what_check_weighs(table: str, fake_cuda: tuple[FakeCuda, HostWaits]) -> None:
    """Less what DeepSpeed adds: the weights that it steps, and gradients that it sends; see `test_deepspeed_step`."""
    gpu, _ = fake_cuda
    ratios = {}
    for name, config, workers in trainings(table):
        with _disable_current_modes():
            weighed = footprint_of(config, workers)
        of_deepspeed = 4 * weighed.num_parameters + weighed.sent_bytes
        found = counted(gpu, config, workers)
        ratios[name] = (weighed.resident_bytes + weighed.activation_bytes - of_deepspeed) / found
        print(f"{table}: {name}: {found / 2**30:.2f} GiB, weighed {ratios[name]:.3f} of it")
    assert ratios
    assert {name: ratio for name, ratio in ratios.items() if abs(ratio - 1) > 0.1} == {}
