"""Flow Matching, the baseline: one path from noise to the image (numerics 1).

Its loss is written on its own, not as a special case of DFM, so that a test can hold the two against each other: DFM
with the identity decomposition must agree with it bitwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dfm_core.config import ExperimentConfig, SamplingConfig
from dfm_core.flow.path import interpolate, velocity
from dfm_core.flow.schedules import StageSchedule, stage_schedule
from dfm_core.flow.timesteps import logit_normal
from dfm_core.paradigms.base import Batch, LossResult, VelocityPredictor
from dfm_core.paradigms.draws import Draws, dropped_labels
from dfm_core.paradigms.losses import binned
from dfm_core.paradigms.noising import drop_labels
from dfm_core.paradigms.sampling import Paradigm, Sampler
from dfm_core.seeding import normal, normal_scalars


@dataclass(frozen=True)
class FlowMatching(Paradigm):
    """Flow matching with logit-normal timesteps (numerics A17)."""

    config: ExperimentConfig
    image_std: float
    """Divisor of images before noising; 1 unless the data is standardised."""

    def draw(self, indices: Sequence[int], sample_shape: tuple[int, ...]) -> Draws:
        training, seed = self.config.training, self.config.seed
        z = normal_scalars(seed, "timestep", indices, 1)
        t = logit_normal(z, training.location, training.scale).float()
        noise = normal(seed, "noise/0", indices, sample_shape)
        dropped = dropped_labels(indices, seed, training.class_dropout)
        return Draws((noise,), t, torch.ones(len(indices), 1), dropped, (len(indices),))

    def loss(self, model: VelocityPredictor, batch: Batch) -> LossResult:
        """L = E mean((v_hat - v)^2)."""
        draws, data = self.draws_of(batch), batch.images / self.image_std
        (noise,), t, ones = draws.noises, draws.t, draws.mask
        labels = drop_labels(batch.labels, draws.dropped, model.null_class)
        (predicted,) = model([interpolate(noise, data, t[:, 0])], t, ones, labels, draws.stage_counts)
        errors = (predicted - velocity(noise, data)).square().flatten(1).mean(dim=1)
        by_time = binned(errors[:, None], ones, t)
        return LossResult(errors.mean(), errors.detach().sum()[None], ones.sum(dim=0), by_time)

    def legs(self, sampling: SamplingConfig) -> tuple[StageSchedule, ...]:
        return (stage_schedule(sampling.steps, (), sampling.time_shift),)

    def generate(self, sampler: Sampler) -> Tensor:
        return self._image(sampler.follow(sampler.start(), 0, lambda step: self._image(step.estimate())))

    def _image(self, scales: Sequence[Tensor]) -> Tensor:
        (image,) = scales
        return image * self.image_std
