"""Compute and parameter accounting from formulas (numerics 5.2 and 11). Needs no torch: planning reads it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from dfm_core.config import MODEL_SIZES, ExperimentConfig
from dfm_core.data.catalog import DataShape
from dfm_core.flow.schedules import network_calls, sampling_schedule

_TIMESTEP_FEATURES = 256
_FLOPS_PER_MAC = 2
_STAGE_TOKEN_SHARE = 4
"""One in four of the parameter tokens that a sample attends to belongs to its stage (numerics 6)."""
_TRAIN_PASSES = 3
"""Forward, gradient of activations, gradient of weights."""


@dataclass(frozen=True)
class ModelCost:
    """Size of a model and of one forward pass for one sample."""

    num_parameters: int
    stage_macs: tuple[int, ...]
    """Multiply-accumulates of one sample whose active stage is q, [S]; all equal on a shared token grid."""
    num_tokens: tuple[int, ...]
    """Tokens of that sample, [S]."""


def model_cost(config: ExperimentConfig, shape: DataShape) -> ModelCost:
    """Parameters and multiply-accumulates of the transformer, exact for the layers it has.

    With N tokens, width D, depth L, S scales of patch p_s and C_s channels on grids of n_s tokens:
    MAC = L (12 N D^2 + 2 N^2 D + 6 D^2) + S (256 D + D^2) + sum_s (2 D^2 + 2 n_s p_s^2 C_s D),
    where a stage's own grid leaves out the scales after it (numerics 5.6).
    """
    size, stages, frames = MODEL_SIZES[config.model.size], config.num_stages, shape.frames or 1
    width, grids = size.width, [frames * side**2 for side in config.token_sides]
    values = patch_values(config, shape)
    per_stage = config.model.patch_grid == "per_stage"
    macs, tokens = [], []
    for stage in range(stages):
        used = range(stage + 1) if per_stage else range(stages)
        count = grids[stage]
        ends = sum(2 * width**2 + 2 * grids[s] * values[s] * width for s in used)
        embedders = stages * (_TIMESTEP_FEATURES * width + width**2)
        attention = 2 * count**2 * width
        macs.append(size.depth * (count * _token_macs(config) + attention + _sample_macs(config)) + embedders + ends)
        tokens.append(count)
    return ModelCost(_num_parameters(config, shape), tuple(macs), tuple(tokens))


def patch_values(config: ExperimentConfig, shape: DataShape) -> list[int]:
    """Numbers in a patch of each scale, [S]."""
    channels = config.decomposition.channels(shape.channels)
    return [count * patch**2 for count, patch in zip(channels, config.model.patch_sizes, strict=True)]


def _token_macs(config: ExperimentConfig) -> int:
    """Of a block's maps, for each token."""
    width = MODEL_SIZES[config.model.size].width
    if config.model.backbone == "tokenformer":
        attention = parameter_tokens(width, 3 * width) * 4 * width + parameter_tokens(width, width) * 2 * width
        return attention + 8 * width**2
    return 12 * width**2 + config.model.lora_rank * 16 * width


def _sample_macs(config: ExperimentConfig) -> int:
    """Of a block's modulation, for each sample."""
    width = MODEL_SIZES[config.model.size].width
    return 6 * width**2 + config.model.lora_rank * 7 * width


def _num_parameters(config: ExperimentConfig, shape: DataShape) -> int:
    """All weights; a kind that is specialised has one set more for each stage (numerics 6)."""
    size, stages, model = MODEL_SIZES[config.model.size], config.num_stages, config.model
    width, depth, values = size.width, size.depth, patch_values(config, shape)
    kinds = {
        "modulation": depth * (6 * width**2 + 6 * width) + stages * (2 * width**2 + 2 * width),
        "projection": sum(count * width + width + count * (width + 1) for count in values),
        "conditioning": stages * (width**2 + (_TIMESTEP_FEATURES + 2) * width)
        + (shape.num_classes + 1) * width
        + (stages * width if model.stage_embedding else 0),
        "attention": depth * (4 * width**2 + 4 * width),
        "mlp": depth * (8 * width**2 + 5 * width),
    }
    if model.backbone == "tokenformer":
        kinds["attention"] = depth * (
            4 * width * _stored_tokens(parameter_tokens(width, 3 * width), stages)
            + 2 * width * _stored_tokens(parameter_tokens(width, width), stages)
        )
        kinds["mlp"] = depth * 2 * width * _stored_tokens(4 * width, stages)
    copies = {kind: 1 + stages if model.specialization in (kind, "full") else 1 for kind in kinds}
    adapters = depth * stages * model.lora_rank * 23 * width
    return sum(count * copies[kind] for kind, count in kinds.items()) + adapters


def parameter_tokens(inputs: int, outputs: int) -> int:
    """Parameter tokens of a tokenformer that cost the FLOPs of a linear map: n (inputs + outputs) = inputs * outputs,
    rounded so that the stage's share is whole (numerics 6)."""
    share = _STAGE_TOKEN_SHARE
    return max(share, inputs * outputs // (inputs + outputs) // share * share)


def own_tokens(attended: int, stages: int) -> int:
    """Of the parameter tokens that a sample attends to, those of its stage alone; with one stage none."""
    return attended // _STAGE_TOKEN_SHARE if stages > 1 else 0


def _stored_tokens(attended: int, stages: int) -> int:
    """Parameter tokens held so that each stage attends to `attended`."""
    own = own_tokens(attended, stages)
    return attended - own + stages * own


def training_flops(config: ExperimentConfig, cost: ModelCost, num_steps: int) -> int:
    """Expected FLOPs of `num_steps` optimiser steps: 3 passes of 2 FLOPs a MAC, averaged over the drawn stages."""
    mean = sum(share * macs for share, macs in zip(config.stage_probabilities, cost.stage_macs, strict=True))
    return round(_FLOPS_PER_MAC * _TRAIN_PASSES * mean * config.training.batch_size * num_steps)


def num_evaluations(config: ExperimentConfig) -> int:
    """Network evaluations per generated image; guidance counts twice."""
    return sum(evaluations for _, evaluations in _calls(config))


def sampling_flops(config: ExperimentConfig, cost: ModelCost, num_samples: int) -> int:
    """FLOPs of generating `num_samples` images."""
    macs = sum(evaluations * cost.stage_macs[num_active - 1] for num_active, evaluations in _calls(config))
    return _FLOPS_PER_MAC * macs * num_samples


def _calls(config: ExperimentConfig) -> Iterator[tuple[int, int]]:
    """(active scales, evaluations) of every call of the network in sampling."""
    return network_calls(sampling_schedule(config, config.sampling), config.sampling)
