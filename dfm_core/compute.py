"""Compute and parameter accounting from formulas (numerics 5.2 and 11). Needs no torch: planning reads it."""

from __future__ import annotations

from dataclasses import dataclass

from dfm_core.config import MODEL_SIZES, ExperimentConfig

_TIMESTEP_FEATURES = 256
_FLOPS_PER_MAC = 2
_TRAIN_PASSES = 3
"""Forward, gradient of activations, gradient of weights."""


@dataclass(frozen=True)
class ModelCost:
    """Size of a model and of one forward pass for one sample."""

    num_parameters: int
    forward_macs: int
    num_tokens: int


def model_cost(config: ExperimentConfig, channels: int, num_classes: int) -> ModelCost:
    """Parameters and multiply-accumulates of the transformer, exact for the layers it has.

    With N tokens, width D, depth L, S scales of patch p_s and C channels:
    MAC = L (12 N D^2 + 2 N^2 D + 6 D^2) + S (256 D + D^2) + S 2 D^2 + 2 sum_s N p_s^2 C D.
    """
    size, patches = MODEL_SIZES[config.model.size], config.model.patch_sizes
    width, stages = size.width, len(patches)
    tokens = (config.decomposition.resolutions[0] // patches[0]) ** 2
    patch_values = sum(patch * patch * channels for patch in patches)
    macs = (
        size.depth * (12 * tokens * width**2 + 2 * tokens**2 * width + 6 * width**2)
        + stages * (_TIMESTEP_FEATURES * width + width**2)
        + stages * 2 * width**2
        + 2 * tokens * patch_values * width
    )
    parameters = (
        size.depth * (18 * width**2 + 15 * width)
        + stages * (width**2 + (_TIMESTEP_FEATURES + 2) * width)
        + (num_classes + 1) * width
        + (stages * width if config.model.stage_embedding else 0)
        + patch_values * width
        + stages * width
        + stages * (2 * width**2 + 2 * width)
        + patch_values * (width + 1)
    )
    return ModelCost(parameters, macs, tokens)


def training_flops(config: ExperimentConfig, cost: ModelCost, num_steps: int) -> int:
    """FLOPs of `num_steps` optimiser steps: 3 passes of 2 FLOPs a MAC."""
    return _FLOPS_PER_MAC * _TRAIN_PASSES * cost.forward_macs * config.training.batch_size * num_steps


def num_evaluations(config: ExperimentConfig) -> int:
    """Network evaluations per generated image; guidance counts twice."""
    return sum(config.sampling.steps) * (1 if config.sampling.guidance == 1.0 else 2)


def sampling_flops(config: ExperimentConfig, cost: ModelCost, num_samples: int) -> int:
    """FLOPs of generating `num_samples` images."""
    return _FLOPS_PER_MAC * cost.forward_macs * num_evaluations(config) * num_samples
