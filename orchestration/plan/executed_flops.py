"""FLOPs that accelerators run for a training, beside those that tables count and equal compute is made of."""

from __future__ import annotations

from dfm_core.compute import train_passes
from dfm_core.config import ExperimentConfig
from orchestration.config.workers import WorkersConfig

_FLOPS_PER_WEIGHT = 2
"""FLOPs of a forward pass, for each token."""


def executed_flops(config: ExperimentConfig, flops: float, num_steps: int, workers: WorkersConfig) -> float:
    """Return the FLOPs that a training's workers run: activation checkpointing makes one more forward pass, and the
    encoder of captions may run beside.

    Args: flops: of the model in these steps, by the formulas.
    """
    passes = train_passes(config.training)
    share = (passes + 1) / passes if workers.activation_checkpointing else 1.0
    return share * flops + encoding_flops(config, config.training.batch_size * num_steps)


def encoding_flops(config: ExperimentConfig, num_captions: int) -> float:
    """Return the FLOPs of encoding captions where they are read; 0 where their encodings are stored."""
    captions = config.data.described and config.data.described.captions
    return num_captions * caption_flops(config) if captions and captions.in_workers else 0.0


def caption_flops(config: ExperimentConfig) -> float:
    """Return the FLOPs of encoding one caption; 0 if its encoder is not described."""
    captions = config.data.described and config.data.described.captions
    weights = captions.encoder_weights if captions else 0
    return float(_FLOPS_PER_WEIGHT * weights * config.data.text_length)
