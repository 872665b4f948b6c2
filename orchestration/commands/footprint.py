"""Memory and compute of a training, weighed on the meta device, where tensors have shapes and no memory."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from dfm_core.compute import model_cost, training_flops
from dfm_core.config import ExperimentConfig
from dfm_core.config.dataset_card import card_of
from dfm_core.decompositions import build_decomposition
from dfm_core.decompositions.learned import initial_pyramid
from dfm_core.models.network import VelocityNetwork
from dfm_core.models.registry import build_network
from dfm_core.models.text_tables import ZeroTextTable
from dfm_core.paradigms import Batch, Paradigm, build_paradigm
from orchestration.config.workers import WorkersConfig
from orchestration.plan.executed_flops import executed_flops

_FP32, _BF16 = 4, 2
BF16_ACTIVATIONS = 0.59
"""Activations kept under bf16 autocast, in bytes, against fp32: matrix products keep half, norms and the residual
stream the whole. Measured on small models
(tests/orchestration/commands/test_check_models.py); autocast's bf16 weights come on top."""
_USABLE = 0.9
"""Share of a GPU's memory that tensors can fill: the rest is the driver's, the libraries' and lost between blocks."""
_DRAWN_SAMPLES = 4
_LIVE_PARAMETERS, _REDUCED_AT_ONCE = 10**9, 5 * 10**8
"""DeepSpeed's defaults for `stage3_max_live_parameters` and `reduce_bucket_size`."""


@dataclass(frozen=True)
class TrainingFootprint:
    """Memory and compute that one training needs of each worker."""

    num_parameters: int
    flops_per_step: int
    executed_flops_per_step: float
    """With what is computed anew, and encoders of captions."""
    encoder_bytes: int
    """Weights of an encoder of captions that runs in the worker."""
    state_bytes: int
    """Weights, gradients, moments and average that one worker holds at the ZeRO stage."""
    gathered_bytes: int
    """Weights that ZeRO-3 gathers for the layers at work; 0 at other stages."""
    weight_copy_bytes: int
    """Weights in bf16 that autocast keeps for the backward pass."""
    sample_bytes: int
    """Activations kept for the backward pass of one sample."""
    recomputed_bytes: int
    """Activations of a sample in one block, which activation checkpointing computes anew; 0 without it."""
    micro_batch: int
    draw_seconds: float
    """Time of one CPU for the noise and the other draws of a sample."""
    checkpoint_bytes: int
    """Size of a checkpoint: weights that are trained, their moments and the average, if one is kept."""

    @property
    def activation_bytes(self) -> int:
        """Bytes kept for the backward pass of one micro-batch."""
        return self.micro_batch * (self.sample_bytes + self.recomputed_bytes) + self.weight_copy_bytes

    def largest_micro_batch(self, memory_bytes: int, share: int) -> int:
        """Return the largest micro-batch that fits and divides a worker's share of the batch; 0: none fits."""
        held = self.state_bytes + self.gathered_bytes + self.weight_copy_bytes + self.encoder_bytes
        free = _USABLE * memory_bytes - held
        return max(
            (
                size
                for size in range(1, share + 1)
                if share % size == 0 and size * (self.sample_bytes + self.recomputed_bytes) <= free
            ),
            default=0,
        )


class FusedAttention(torch.autograd.Function):
    """Stands in for a flash kernel: keeps inputs, output and one number a row, no matrix of attention weights."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        output = torch.empty_like(query)
        ctx.save_for_backward(query, key, value, output, query.new_empty(query.shape[:-1], dtype=torch.float32))
        return output

    @staticmethod
    def backward(ctx: Any, *_gradients: Tensor) -> tuple[Tensor, ...]:
        return tuple(torch.empty_like(tensor) for tensor in ctx.saved_tensors[:3])


def footprint_of(config: ExperimentConfig, workers: WorkersConfig) -> TrainingFootprint:
    """Run one training forward and back on the meta device with a worker's micro-batch."""
    shape = card_of(config.data).shape
    micro, frugal = workers.micro_batch(config.training.batch_size), workers.activation_checkpointing
    weights = initial_pyramid(config.decomposition, shape.channels) if config.decomposition.name == "learned" else None
    ones = (1.0,) * config.num_stages
    with torch.device("meta"):
        decomposition = build_decomposition(config.decomposition, weights)
        model = build_network(config, shape, ones)
    model.use_attention(FusedAttention.apply)  # which the meta device lacks
    if config.model.described is not None:
        model.use_text(ZeroTextTable(config.data.text_length, *config.model.described.architecture.text_widths))
    sample = shape.of_scale(shape.channels, config.decomposition.resolutions[-1])
    labels, images = torch.zeros(micro, dtype=torch.int64, device="meta"), torch.empty(micro, *sample, device="meta")
    paradigm = build_paradigm(config, decomposition, ones)
    mixed = config.training.precision == "bf16"
    kept, recomputed = _kept_bytes(paradigm, model, Batch(images, labels, range(micro)), mixed=mixed, frugal=frugal)
    trained = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    missing = [name for name, parameter in trained.items() if parameter.grad is None]
    assert not missing, f"no gradient reaches {', '.join(missing)}"
    cost = model_cost(config, shape)
    counted = sum(parameter.numel() for parameter in model.parameters())
    assert counted == cost.num_parameters, f"{counted} parameters, not {cost.num_parameters} as planned"
    moving = sum(parameter.numel() for parameter in trained.values())
    assert moving == cost.num_trained, f"{moving} parameters are trained, not {cost.num_trained} as planned"
    blocks = [sum(p.numel() for p in block.parameters()) for block in model.blocks]
    # Recomputed blocks let go of their copies.
    copied = counted - sum(blocks) + max(blocks) if frugal else counted
    has_average = bool(config.training.ema_decay)
    captions = config.data.described and config.data.described.captions
    return TrainingFootprint(
        counted,
        flops := training_flops(config, cost, 1),
        executed_flops(config, flops, 1, workers),
        captions.encoder_bytes if captions else 0,
        state_bytes(counted, workers, moving, has_average=has_average),
        _gathered_bytes(counted, max(blocks)) if workers.zero_stage == 3 else 0,
        _BF16 * copied if mixed else 0,
        kept // micro,
        recomputed // micro,
        micro,
        _draw_seconds(paradigm, sample),
        _FP32 * moving * (4 if has_average else 3),
    )


def _gathered_bytes(num_parameters: int, block: int) -> int:
    """Return the bytes of weights that ZeRO-3 gathers at once, those of two blocks; of a model larger than its limits
    as many as these allow, and a bucket of gradients."""
    if num_parameters <= _LIVE_PARAMETERS:
        return 2 * block * _FP32
    return (_LIVE_PARAMETERS + _REDUCED_AT_ONCE) * _FP32


def _kept_bytes(
    paradigm: Paradigm, model: VelocityNetwork, batch: Batch, *, mixed: bool, frugal: bool
) -> tuple[int, int]:
    """Return the bytes kept for the backward pass, and those of the one block that is computed anew at a time."""
    with saved_bytes(model) as saved, _by_block(model, saved) as per_block:
        paradigm.loss(model, batch).loss.backward()  # type: ignore[no-untyped-call]
    factor = BF16_ACTIVATIONS if mixed else 1.0
    whole = round(factor * sum(saved))
    if not frugal:
        return whole, 0
    # Of equal blocks the mean, to which what surrounds them adds a little.
    largest = max(round(factor * max(per_block)), whole // len(model.blocks))
    model.use_activation_checkpointing()
    with saved_bytes(model) as inputs:  # of the blocks, which are fp32
        paradigm.loss(model, batch)
    # FLUX's tokens are bf16 under autocast, from its first map on; the diffusion transformer's stay fp32.
    half = mixed and model.reads_text
    return sum(inputs) // (2 if half else 1), largest


@contextmanager
def _by_block(model: VelocityNetwork, saved: Sequence[int]) -> Iterator[list[int]]:
    """Collect the sums of what is added to `saved` while each block runs forward."""
    sums: list[int] = []
    began: list[int] = []
    hooks = [block.register_forward_pre_hook(lambda *_: began.append(len(saved))) for block in model.blocks]
    hooks += [block.register_forward_hook(lambda *_: sums.append(sum(saved[began.pop() :]))) for block in model.blocks]
    try:
        yield sums
    finally:
        for hook in hooks:
            hook.remove()


def _draw_seconds(paradigm: Paradigm, sample: tuple[int, ...]) -> float:
    began = time.process_time()
    paradigm.draw(range(_DRAWN_SAMPLES), sample)
    return (time.process_time() - began) / _DRAWN_SAMPLES


def state_bytes(
    num_parameters: int, workers: WorkersConfig, num_trained: int | None = None, *, has_average: bool = True
) -> int:
    """Return the bytes of fp32 weights and gradients, two moments and the average, sharded as the ZeRO stage says.

    Args: num_trained: parameters that have gradients and moments; None: all.
    """
    size, shards = num_parameters * _FP32, workers.num_workers
    moving = size if num_trained is None else num_trained * _FP32
    weights = size // shards if workers.zero_stage == 3 else size
    gradients = moving // shards if workers.zero_stage >= 2 else moving
    return weights + gradients + (3 if has_average else 2) * moving // shards


@contextmanager
def saved_bytes(model: VelocityNetwork) -> Iterator[list[int]]:
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
