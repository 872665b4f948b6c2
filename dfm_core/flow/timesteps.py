"""The training distribution of stages and timesteps (DFM, section 3.3; numerics 3.1)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dfm_core.config import ExperimentConfig
from dfm_core.seeding import normal_scalars, uniform


@dataclass(frozen=True)
class TimestepDraw:
    """Stages and timesteps of a batch."""

    stage: Tensor
    """Active stage of each sample, [B] int64, 0 is the coarsest."""
    t: Tensor
    """Timestep of each scale, [B, S] float32 in [0, 1]; 0 for scales after the active one."""
    mask: Tensor
    """1 for scales up to the active one, else 0, [B, S] float32."""


def logit_normal(normal: Tensor, location: float, scale: float) -> Tensor:
    """sigmoid(location + scale * z): a timestep in (0, 1) from a standard normal z (numerics 1)."""
    return torch.sigmoid(location + scale * normal)


def assemble_timesteps(stage: Tensor, normals: Tensor, config: ExperimentConfig) -> TimestepDraw:
    """Return timesteps from the active stages and one standard normal per scale (numerics 3.1).

    Args: stage: [B] int64 in [0, S). normals: [B, S] float64.
    """
    training, num_stages = config.training, normals.shape[1]
    position = torch.arange(num_stages)[None, :]
    active = stage[:, None]
    if training.timesteps == "tied":
        shared = logit_normal(normals[:, :1], training.location, training.scale).expand(-1, num_stages)
        last = torch.full_like(stage, num_stages - 1)
        return TimestepDraw(stage=last, t=shared.float(), mask=torch.ones_like(shared).float())
    own = logit_normal(normals, training.location, training.scale)
    previous = logit_normal(normals, training.previous_location, training.previous_scale)
    t = torch.where(position == active, own, torch.where(position < active, previous, 0.0))
    return TimestepDraw(stage=stage, t=t.float(), mask=(position <= active).float())


def draw_timesteps(config: ExperimentConfig, indices: Sequence[int]) -> TimestepDraw:
    """Return the stages and timesteps of the training samples with these global indices."""
    if config.training.stage_draw == "batch":  # one key for all samples of a step, so one stage
        keys: Sequence[int] = [index // config.training.batch_size for index in indices]
    else:
        keys = indices
    cumulative = torch.tensor(config.stage_probabilities, dtype=torch.float64).cumsum(0)
    # The last boundary is 1 up to rounding; leaving it out puts every u in [0, 1) into a stage.
    stage = torch.bucketize(uniform(config.seed, "stage", keys), cumulative[:-1], right=True)
    normals = normal_scalars(config.seed, "timestep", indices, config.num_stages)
    return assemble_timesteps(stage, normals, config)
