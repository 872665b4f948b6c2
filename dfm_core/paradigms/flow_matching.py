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

    def loss(self, model: VelocityPredictor, batch: Batch) -> LossResult:
        """L = E mean((v_hat - v)^2)."""
        training, seed, device = self.config.training, self.config.seed, batch.images.device
        z = normal_scalars(seed, "timestep", batch.indices, 1)[:, 0]
        t = logit_normal(z, training.location, training.scale).float().to(device)
        data = batch.images / self.image_std
        noise = normal(seed, "noise/0", batch.indices, tuple(data.shape[1:])).to(device)
        labels = drop_labels(batch.labels, batch.indices, seed, training.class_dropout, model.null_class)
        ones = torch.ones(len(batch.indices), 1, device=device)
        (predicted,) = model([interpolate(noise, data, t)], t[:, None], ones, labels)
        errors = (predicted - velocity(noise, data)).square().flatten(1).mean(dim=1)
        by_time = binned(errors[:, None], ones, t[:, None])
        return LossResult(errors.mean(), errors.detach().sum()[None], ones.sum(dim=0), by_time)

    def legs(self, sampling: SamplingConfig) -> tuple[StageSchedule, ...]:
        return (stage_schedule(sampling.steps, (), sampling.time_shift),)

    def generate(self, sampler: Sampler) -> Tensor:
        return self._image(sampler.follow(sampler.start(), 0, lambda step: self._image(step.estimate())))

    def _image(self, scales: Sequence[Tensor]) -> Tensor:
        (image,) = scales
        return image * self.image_std
