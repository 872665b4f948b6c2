"""Memory and compute of a training, weighed on the meta device, where tensors have shapes and no memory."""

from __future__ import annotations

import time
from dataclasses import dataclass
from math import prod

import torch

from dfm_core.compute import model_cost, training_flops
from dfm_core.config import ExperimentConfig
from dfm_core.config.dataset_card import card_of
from dfm_core.decompositions import build_decomposition
from dfm_core.decompositions.learned import initial_pyramid
from dfm_core.models.registry import build_network
from dfm_core.models.text_tables import ZeroTextTable
from dfm_core.paradigms import Batch, Paradigm, build_paradigm
from orchestration.commands.weighing.activations import FusedAttention, kept_bytes
from orchestration.commands.weighing.sharded_state import gathered_bytes, sent_bytes, state_bytes
from orchestration.config.workers import WorkersConfig
from orchestration.plan.executed_flops import executed_flops

_FP32, _BF16 = 4, 2
_USABLE = 0.9
"""Share of a GPU's memory that tensors can fill: the rest is the driver's, the libraries' and lost between blocks."""
_DRAWN_SAMPLES = 4


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
    sent_bytes: int
    """Buffers of gradients on their way to other workers."""
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
    input_bytes: int
    """Bytes of a sample and its draws on the host."""
    checkpoint_bytes: int
    """Size of a checkpoint: weights that are trained, their moments and the average, if one is kept."""

    @property
    def resident_bytes(self) -> int:
        """Bytes that a worker holds whatever its micro-batch, autocast's copies left out."""
        return self.state_bytes + self.sent_bytes + self.gathered_bytes + self.encoder_bytes

    @property
    def activation_bytes(self) -> int:
        """Bytes kept for the backward pass of one micro-batch."""
        return self.micro_batch * (self.sample_bytes + self.recomputed_bytes) + self.weight_copy_bytes

    def largest_micro_batch(self, memory_bytes: int, share: int) -> int:
        """Return the largest micro-batch that fits and divides a worker's share of the batch; 0: none fits."""
        free = _USABLE * memory_bytes - self.resident_bytes - self.weight_copy_bytes
        return max(
            (
                size
                for size in range(1, share + 1)
                if share % size == 0 and size * (self.sample_bytes + self.recomputed_bytes) <= free
            ),
            default=0,
        )


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
    kept, recomputed = kept_bytes(paradigm, model, Batch(images, labels, range(micro)), mixed=mixed, frugal=frugal)
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
        sent_bytes(moving, workers),
        gathered_bytes(counted) if workers.zero_stage == 3 else 0,
        _BF16 * copied if mixed else 0,
        kept // micro,
        recomputed // micro,
        micro,
        *_drawn(paradigm, sample),
        _FP32 * moving * (4 if has_average else 3),
    )


def _drawn(paradigm: Paradigm, sample: tuple[int, ...]) -> tuple[float, int]:
    """Return the seconds that the draws of a sample take, and the bytes of both."""
    began = time.process_time()
    draws = paradigm.draw(range(_DRAWN_SAMPLES), sample)
    seconds = time.process_time() - began
    num_bytes = sum(noise.nbytes for noise in draws.noises) // _DRAWN_SAMPLES + _FP32 * prod(sample)
    return seconds / _DRAWN_SAMPLES, num_bytes
