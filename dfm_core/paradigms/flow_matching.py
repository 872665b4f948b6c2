"""Flow Matching, the baseline: one path from noise to the image (numerics 1).

Written on its own, not as a special case of DFM, so that a test can hold the two against each other: DFM with the
identity decomposition must agree with it bitwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dfm_core.config import ExperimentConfig, SamplingConfig
from dfm_core.flow.path import interpolate, velocity
from dfm_core.flow.timesteps import logit_normal
from dfm_core.models.velocity import VelocityModel
from dfm_core.paradigms.base import Batch, LossResult, SampleResult
from dfm_core.paradigms.dfm import guided_velocity
from dfm_core.paradigms.labels import drop_labels
from dfm_core.seeding import normal, normal_scalars


@dataclass(frozen=True)
class FlowMatching:
    """Flow matching with logit-normal timesteps (numerics A17)."""

    config: ExperimentConfig
    image_std: float
    """What images are divided by before noising; 1 unless the data is standardised."""

    def loss(self, model: VelocityModel, batch: Batch) -> LossResult:
        """L = E mean((v_hat - v)^2)."""
        training, seed, device = self.config.training, self.config.seed, batch.images.device
        z = normal_scalars(seed, "timestep", batch.indices, 1)[:, 0]
        t = logit_normal(z, training.location, training.scale).float().to(device)
        data = batch.images / self.image_std
        noise = normal(seed, "noise/0", batch.indices, tuple(data.shape[1:])).to(device)
        labels = drop_labels(batch.labels, batch.indices, seed, training.class_dropout, model.null_class)
        ones = torch.ones(len(batch.indices), 1, device=device)
        (predicted,) = model([interpolate(noise, data, t)], t[:, None], ones, labels)
        errors = (predicted - velocity(noise, data)).square().mean(dim=(1, 2, 3))
        return LossResult(errors.mean(), errors.detach().sum()[None], ones.sum(dim=0))

    @torch.no_grad()
    def sample(
        self, model: VelocityModel, labels: Tensor, indices: Sequence[int], seed: int, sampling: SamplingConfig
    ) -> SampleResult:
        (side,), (steps,) = self.config.decomposition.resolutions, sampling.steps
        x = normal(seed, "sample_noise/0", indices, (model.network.channels, side, side)).to(labels.device).double()
        times = torch.arange(steps + 1, dtype=torch.float64) / steps
        for n in range(steps):
            (v,) = guided_velocity(model, [x], times[n : n + 1], 1, labels, sampling.guidance)
            x = x + float(times[n + 1] - times[n]) * v.double()
        image = (x * self.image_std).float()
        return SampleResult(image, steps * (1 if sampling.guidance == 1.0 else 2))
