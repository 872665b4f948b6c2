"""`--check`: builds every training of a sweep on the meta device, runs it forward and back, and prints its memory.

On the meta device tensors have shapes and no memory: a full-scale model is built, its loss computed and differentiated
in a second. Mistakes in shapes show here and not on a cluster.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from rich.box import SIMPLE
from rich.table import Table
from torch import Tensor

from dfm_core.compute import model_cost, training_flops
from dfm_core.config import ExperimentConfig
from dfm_core.config.dataset_card import card_of
from dfm_core.decompositions import build_decomposition
from dfm_core.decompositions.learned import initial_pyramid
from dfm_core.models.velocity import VelocityModel
from dfm_core.paradigms import Batch, build_paradigm
from orchestration.common.console import make_console
from orchestration.config.workers import WorkersConfig
from orchestration.plan.plan import Plan
from orchestration.tasks.task import Task, TrainTask

_GIB = 2**30
_FP32 = 4
BF16_ACTIVATIONS = 0.59
"""Activations kept under bf16 autocast, in bytes, against fp32: matrix products keep half, norms and the residual
stream the whole. Measured on small models
(tests/orchestration/commands/test_check_models.py); autocast's bf16 weights come on top."""
_BF16 = 2


@dataclass(frozen=True)
class TrainingFootprint:
    """Memory and compute that one training needs of each worker."""

    num_parameters: int
    flops_per_step: int
    state_bytes: int
    """Weights, gradients, moments and average that one worker holds at the ZeRO stage."""
    activation_bytes: int
    """Activations kept for the backward pass of one micro-batch."""


def check(plan: Plan) -> None:
    """Build and measure every training of a plan; print a table.

    Raises: any error of building or running a model: a mistake of ours that the config's rules should have found.
    """
    workers, console = plan.spec.runtime.workers, make_console()
    table = Table(title=f"{plan.spec.name}: every training on the meta device", title_justify="left", box=SIMPLE)
    table.add_column("training", overflow="fold")
    for name in ("parameters", "FLOPs a step", "FLOPs in all", "state GiB", "activations GiB"):
        table.add_column(name, justify="right")
    for task in plan.of_kind(TrainTask):
        footprint = footprint_of(task.config, workers)
        table.add_row(
            _name(plan, task),
            f"{footprint.num_parameters:,}",
            f"{footprint.flops_per_step:.4g}",
            f"{task.flops:.4g}",
            f"{footprint.state_bytes / _GIB:.2f}",
            f"{footprint.activation_bytes / _GIB:.2f}",
        )
    console.print(table)
    console.print(
        f"GiB are for each of {workers.num_workers} workers at ZeRO stage {workers.zero_stage}; activations for one "
        f"micro-batch, {'computed anew' if workers.activation_checkpointing else 'kept'} in the backward pass.",
        markup=False,
    )


def footprint_of(config: ExperimentConfig, workers: WorkersConfig) -> TrainingFootprint:
    """Run one training forward and back on the meta device with a worker's micro-batch."""
    shape = card_of(config.data).shape
    micro = workers.micro_batch(config.training.batch_size)
    weights = initial_pyramid(config.decomposition, shape.channels) if config.decomposition.name == "learned" else None
    ones = (1.0,) * config.num_stages
    with torch.device("meta"):
        decomposition = build_decomposition(config.decomposition, weights)
        model = VelocityModel(config, shape, data_std=ones)
        if workers.activation_checkpointing:
            model.use_activation_checkpointing()
    labels = torch.zeros(micro, dtype=torch.int64, device="meta")
    images = torch.empty(micro, *shape.of_scale(shape.channels, config.decomposition.resolutions[-1]), device="meta")
    batch = Batch(images, labels, range(micro))
    with saved_bytes(model) as saved:
        build_paradigm(config, decomposition, ones).loss(model, batch).loss.backward()  # type: ignore[no-untyped-call]
    missing = [name for name, parameter in model.named_parameters() if parameter.grad is None]
    assert not missing, f"no gradient reaches {', '.join(missing)}"
    cost = model_cost(config, shape)
    counted = sum(parameter.numel() for parameter in model.parameters())
    assert counted == cost.num_parameters, f"{counted} parameters, not {cost.num_parameters} as planned"
    kept = sum(saved)
    if config.training.precision == "bf16":
        kept = round(BF16_ACTIVATIONS * kept) + _BF16 * counted
    return TrainingFootprint(
        counted,
        training_flops(config, cost, 1),
        state_bytes(counted, workers),
        kept,
    )


def state_bytes(num_parameters: int, workers: WorkersConfig) -> int:
    """Return the bytes of fp32 weights and gradients, two moments and the average, sharded as the ZeRO stage says."""
    size, shards = num_parameters * _FP32, workers.num_workers
    weights = size // shards if workers.zero_stage == 3 else size
    gradients = size // shards if workers.zero_stage >= 2 else size
    return weights + gradients + 3 * size // shards


@contextmanager
def saved_bytes(model: VelocityModel) -> Iterator[list[int]]:
    """Collect the bytes of each storage that autograd keeps for the backward pass, weights left out."""
    seen = {parameter.untyped_storage()._cdata for parameter in model.parameters()}  # noqa: SLF001  the storage's identity
    sizes: list[int] = []
    kept: list[Tensor] = []  # meta tensors cost nothing, and an identity must not be given away twice

    def pack(tensor: Tensor) -> Tensor:
        identity = tensor.untyped_storage()._cdata  # noqa: SLF001
        if identity not in seen:
            seen.add(identity)
            kept.append(tensor)
            sizes.append(tensor.untyped_storage().nbytes())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        yield sizes


def _name(plan: Plan, task: Task) -> str:
    users = plan.users(task.digest)
    shared = f" and {len(users) - 1} more" if len(users) > 1 else ""
    return f"{users[0]}{shared}: {task.title}"
