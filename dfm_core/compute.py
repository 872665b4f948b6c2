"""Compute and parameter accounting from formulas (numerics 5.2 and 11). Needs no torch: planning reads it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from dfm_core.catalog.datasets import DataShape
from dfm_core.catalog.flux import FluxArchitecture
from dfm_core.config import EvaluationConfig, ExperimentConfig, SamplingConfig, TrainingConfig
from dfm_core.config.model import MODEL_SIZES
from dfm_core.flow.schedules import network_calls, sampling_legs
from dfm_core.flow.step_tree import StepTree
from dfm_core.wiring import StageWiring, Wiring, networks

_KEPT_COSTS = 4096
"""Sweeps of thousands of rows ask for the cost of a few models and samplings again and again."""
_USUAL_EVALUATION, _USUAL_SAMPLING, _USUAL_TRAINING = EvaluationConfig(), SamplingConfig(), TrainingConfig()
_TIMESTEP_FEATURES = 256
_FLOPS_PER_MAC = 2
_STAGE_TOKEN_SHARE = 4
"""One in four of the parameter tokens that a sample attends to belongs to its stage (numerics 6)."""
_TRAIN_PASSES = 3
"""Forward, gradient of activations, gradient of weights."""
_FROZEN_PASSES = 2
"""Forward and gradient of activations: nearly all weights stay as they are."""


@dataclass(frozen=True)
class ModelCost:
    """Size of a model and of one forward pass for one sample."""

    num_parameters: int
    stage_macs: tuple[int, ...]
    """Multiply-accumulates of one sample whose active stage is q, [S]; all equal for DFM on a shared token grid, 0 for
    stages that another network of a cascade serves."""
    num_tokens: tuple[int, ...]
    """Tokens of that sample, [S]."""
    num_trained: int
    """Parameters that a training moves."""


def model_cost(config: ExperimentConfig, shape: DataShape) -> ModelCost:
    """Parameters and multiply-accumulates of the transformer, exact for the layers it has.

    A stage that runs N tokens of width D through depth L, with T timestep embedders, and reads or predicts scales of
    patch p_s and C_s channels on grids of n_s tokens (`wiring`):
    MAC = L (12 N D^2 + 2 N^2 D + 6 D^2) + T (256 D + D^2) + sum_out (2 D^2 + n_s p_s^2 C_s D) + sum_in n_s p_s^2 C_s D.
    """
    own = config.own_stages
    shares = tuple((stage in own) / len(own) for stage in range(config.num_stages))
    training = replace(_of_model(config.training), stage_probabilities=shares)
    same = replace(config, seed=0, training=training, evaluation=_USUAL_EVALUATION, sampling=_USUAL_SAMPLING)
    return _model_cost(same, shape)


def _of_model(training: TrainingConfig) -> TrainingConfig:
    """Return the usual training with the settings on which a model depends."""
    usual = replace(_USUAL_TRAINING, timesteps=training.timesteps)
    return replace(usual, trainable=training.trainable, adapter=training.adapter)


def is_whole(training: TrainingConfig) -> bool:
    """Return True if all weights are trained."""
    return training.trainable == "all" and training.adapter is None


@lru_cache(_KEPT_COSTS)
def _model_cost(config: ExperimentConfig, shape: DataShape) -> ModelCost:
    """Return the cost for a config without the settings that no model depends on."""
    if (backbone := config.model.described) is not None:
        return _backbone_cost(config, backbone.architecture)
    values, wirings = patch_values(config, shape), networks(config)
    grids = [(shape.frames or 1) * side**2 for side in config.token_sides]
    num_parameters = sum(_num_parameters(config, shape, own) for own in wirings)
    wired = [_wiring_of(wirings, stage) for stage in range(config.num_stages)]
    macs = tuple(_stage_macs(config, stage, grids, values) for stage in wired)
    return ModelCost(num_parameters, macs, tuple(_num_tokens(stage, grids) for stage in wired), num_parameters)


def _backbone_cost(config: ExperimentConfig, architecture: FluxArchitecture) -> ModelCost:
    """Return the cost of a pretrained network over the scales of a config."""
    tokens, stages = config.token_sides[-1] ** 2, config.num_stages
    num_parameters = num_trained = architecture.num_parameters(stages)
    if config.training.trainable == "projections":
        num_trained = architecture.num_projections(stages)
    elif (adapter := config.training.adapter) is not None:
        added = architecture.num_adapter_weights(adapter.rank, adapter.targets)
        num_trained, num_parameters = added + architecture.num_added(stages), num_parameters + added
    macs = _backbone_macs(config, architecture, tokens)
    return ModelCost(num_parameters, (macs,) * stages, (tokens,) * stages, num_trained)


def _wiring_of(wirings: Sequence[Wiring], stage: int) -> StageWiring | None:
    """Return the wiring of a stage; None if no network of the config serves it."""
    return next((own.stages[stage] for own in wirings if stage in own.stages), None)


def _num_tokens(stage: StageWiring | None, grids: Sequence[int]) -> int:
    return 0 if stage is None else grids[stage.grid] + sum(grids[s] for s in stage.joined)


def _stage_macs(
    config: ExperimentConfig, stage: StageWiring | None, grids: Sequence[int], values: Sequence[int]
) -> int:
    if stage is None:
        return 0
    size, count = MODEL_SIZES[config.model.size], _num_tokens(stage, grids)
    width = size.width
    blocks = size.depth * (count * _token_macs(config) + 2 * count**2 * width + _sample_macs(config))
    embedders = len(stage.timesteps) * (_TIMESTEP_FEATURES * width + width**2)
    read = sum(grids[s] * values[s] * width for s in stage.inputs)
    predicted = sum(2 * width**2 + grids[s] * values[s] * width for s in stage.outputs)
    return blocks + embedders + read + predicted


def patch_values(config: ExperimentConfig, shape: DataShape) -> list[int]:
    """Return numbers in a patch of each scale, [S]."""
    channels = config.decomposition.channels(shape.channels)
    return [count * patch**2 for count, patch in zip(channels, config.model.patch_sizes, strict=True)]


def _token_macs(config: ExperimentConfig) -> int:
    """Count the multiply-accumulates of a block's maps, for each token."""
    width = MODEL_SIZES[config.model.size].width
    if config.model.backbone == "tokenformer":
        attention = parameter_tokens(width, 3 * width) * 4 * width + parameter_tokens(width, width) * 2 * width
        return attention + 8 * width**2
    return 12 * width**2 + config.model.lora_rank * 16 * width


def _sample_macs(config: ExperimentConfig) -> int:
    """Count the multiply-accumulates of a block's modulation, for each sample."""
    width = MODEL_SIZES[config.model.size].width
    return 6 * width**2 + config.model.lora_rank * 7 * width


def _num_parameters(config: ExperimentConfig, shape: DataShape, own: Wiring) -> int:
    """Return all weights of a network; a kind that is specialised has one set more for each stage (numerics 6)."""
    size, stages, model = MODEL_SIZES[config.model.size], config.num_stages, config.model
    width, depth, values = size.width, size.depth, patch_values(config, shape)
    kinds = {
        "modulation": depth * (6 * width**2 + 6 * width) + len(own.outputs) * (2 * width**2 + 2 * width),
        "projection": sum(values[s] * width + width for s in own.inputs)
        + sum(values[s] * (width + 1) for s in own.outputs),
        "conditioning": len(own.embedders) * (width**2 + (_TIMESTEP_FEATURES + 2) * width)
        + (shape.num_classes + 1) * width
        + (stages * width if own.has_stage_table else 0),
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
    """Count the parameter tokens of a sample's own stage, among those that it attends to; none with one stage."""
    return attended // _STAGE_TOKEN_SHARE if stages > 1 else 0


def _stored_tokens(attended: int, stages: int) -> int:
    """Parameter tokens held so that each stage attends to `attended`."""
    own = own_tokens(attended, stages)
    return attended - own + stages * own


def _backbone_macs(config: ExperimentConfig, architecture: FluxArchitecture, num_tokens: int) -> int:
    """Return the multiply-accumulates of a forward pass of one sample of a pretrained network."""
    text, adapter = config.data.text_length, config.training.adapter
    macs = architecture.macs(num_tokens, text, config.num_stages)
    if adapter is None:
        return macs
    return macs + architecture.adapter_macs(adapter.rank, adapter.targets, num_tokens, text)


def training_flops(config: ExperimentConfig, cost: ModelCost, num_steps: int) -> int:
    """Expected FLOPs of `num_steps` optimiser steps: 3 passes of 2 FLOPs a MAC, averaged over the drawn stages; 2
    passes where nearly all weights stay as they are."""
    passes = train_passes(config.training)
    if config.model.described is not None and (shares := config.data.step_shares):
        mean = _mean_over_sides(config, config.model.described.architecture, shares)
        return round(_FLOPS_PER_MAC * passes * mean * config.training.batch_size * num_steps)
    mean = sum(share * macs for share, macs in zip(config.stage_probabilities, cost.stage_macs, strict=True))
    return round(_FLOPS_PER_MAC * passes * mean * config.training.batch_size * num_steps)


def train_passes(training: TrainingConfig) -> int:
    """Return the passes of one training step."""
    return _TRAIN_PASSES if is_whole(training) else _FROZEN_PASSES


def _mean_over_sides(config: ExperimentConfig, architecture: FluxArchitecture, shares: Mapping[int, float]) -> float:
    """Return the multiply-accumulates of one sample in training, the mean over the sides of its images; all shapes of a
    side count as its square."""
    described = config.data.described
    assert described is not None, "captioned images are described when their sweep is read"
    assert described.captions is not None, "sides are those of captioned images"
    token = described.captions.token_pixels
    cost = {side: _backbone_macs(config, architecture, (side // token) ** 2) for side in shares}
    return sum(share * cost[side] for side, share in shares.items()) / sum(shares.values())


def num_evaluations(config: ExperimentConfig) -> int:
    """Network evaluations per generated image; guidance counts twice."""
    return sum(evaluations for _, evaluations in _calls(config))


def sampling_flops(config: ExperimentConfig, cost: ModelCost, num_samples: int) -> int:
    """FLOPs of generating `num_samples` images."""
    macs = sum(evaluations * cost.stage_macs[num_active - 1] for num_active, evaluations in _calls(config))
    return _FLOPS_PER_MAC * macs * num_samples


def shared_sampling_flops(
    config: ExperimentConfig, cost: ModelCost, samplings: Sequence[SamplingConfig], num_samples: int
) -> int:
    """FLOPs of generating `num_samples` images at each of several settings that make their common steps once
    (numerics 4.4)."""
    steps = StepTree.of(config, samplings).steps
    macs = sum(step.num_evaluations * cost.stage_macs[step.moving.stop - 1] for step in steps)
    return _FLOPS_PER_MAC * macs * num_samples


def _calls(config: ExperimentConfig) -> tuple[tuple[int, int], ...]:
    """(active scales, evaluations) of every call of the network in sampling."""
    training = _of_model(config.training)  # all that sampling knows of it
    return _calls_of(replace(config, seed=0, evaluation=_USUAL_EVALUATION, training=training))


@lru_cache(_KEPT_COSTS)
def _calls_of(config: ExperimentConfig) -> tuple[tuple[int, int], ...]:
    legs = sampling_legs(config, config.sampling)
    return tuple(call for leg in legs for call in network_calls(leg, config.sampling))
