"""Decomposable Flow Matching (DFM, section 3; numerics 3 and 4)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dfm_core.config import ExperimentConfig, SamplingConfig
from dfm_core.decompositions.base import Decomposition
from dfm_core.flow.guidance import guide
from dfm_core.flow.path import interpolate, velocity
from dfm_core.flow.schedules import StageSchedule, stage_schedule, tied_schedule
from dfm_core.flow.solvers import euler
from dfm_core.flow.timesteps import draw_timesteps
from dfm_core.models.velocity import VelocityModel
from dfm_core.paradigms.base import Batch, LossResult, SampleResult
from dfm_core.paradigms.labels import drop_labels
from dfm_core.seeding import normal


@dataclass(frozen=True)
class DecomposableFlowMatching:
    """Flow matching on every scale of a decomposition, in one model."""

    config: ExperimentConfig
    decomposition: Decomposition
    scale_std: tuple[float, ...]
    """What each scale is divided by before noising; ones unless the data is standardised."""

    def loss(self, model: VelocityModel, batch: Batch) -> LossResult:
        """L = E sum_s M_s mean((v_hat^s - v^s)^2) (DFM, Eq. 4; mean per scale: numerics A4)."""
        device, seed = batch.images.device, self.config.seed
        draw = draw_timesteps(self.config, batch.indices)
        t, mask = draw.t.to(device), draw.mask.to(device)
        clean = self.analyze(batch.images)
        noises = [
            normal(seed, f"noise/{s}", batch.indices, tuple(scale.shape[1:])).to(device)
            for s, scale in enumerate(clean)
        ]
        noisy = [interpolate(noise, data, t[:, s]) for s, (noise, data) in enumerate(zip(noises, clean, strict=True))]
        labels = drop_labels(batch.labels, batch.indices, seed, self.config.training.class_dropout, model.null_class)
        predicted = model(noisy, t, mask, labels)
        errors = torch.stack(
            [
                (guess - velocity(noise, data)).square().mean(dim=(1, 2, 3))
                for guess, noise, data in zip(predicted, noises, clean, strict=True)
            ],
            dim=1,
        )  # [B, S]
        masked = mask * errors
        return LossResult(masked.sum(dim=1).mean(), masked.detach().sum(dim=0), mask.sum(dim=0))

    @torch.no_grad()
    def sample(
        self, model: VelocityModel, labels: Tensor, indices: Sequence[int], seed: int, sampling: SamplingConfig
    ) -> SampleResult:
        schedule = self._schedule(sampling)
        channels = model.network.channels
        noises = [
            normal(seed, f"sample_noise/{s}", indices, (channels, side, side)).to(labels.device)
            for s, side in enumerate(self.decomposition.resolutions)
        ]

        def field(state: Sequence[Tensor], t: Tensor, num_active: int) -> list[Tensor]:
            return guided_velocity(model, state, t, num_active, labels, sampling.guidance)

        scales = euler(field, noises, schedule)
        image = self.synthesize(scales).float()
        return SampleResult(image, schedule.num_steps * (1 if sampling.guidance == 1.0 else 2))

    def _schedule(self, sampling: SamplingConfig) -> StageSchedule:
        """Stage after stage, unless the model was trained with all timesteps tied: then it never saw a stage wait."""
        if self.config.training.timesteps == "tied":
            return tied_schedule(sum(sampling.steps), len(sampling.steps))
        return stage_schedule(sampling.steps, sampling.tau)

    def analyze(self, images: Tensor) -> list[Tensor]:
        """Scales as the model sees them, coarsest first."""
        return [x / std for x, std in zip(self.decomposition.analyze(images), self.scale_std, strict=True)]

    def synthesize(self, scales: Sequence[Tensor]) -> Tensor:
        """The inverse of `analyze`."""
        return self.decomposition.synthesize([x * std for x, std in zip(scales, self.scale_std, strict=True)])


def guided_velocity(
    model: VelocityModel, state: Sequence[Tensor], t: Tensor, num_active: int, labels: Tensor, guidance: float
) -> list[Tensor]:
    """The model's velocity of every scale under classifier-free guidance, one weight for all scales (numerics 4.1).

    Args: state: scale s is [B, C, r_s, r_s], any float type. t: [S]. labels: [B]. Returns: float32, as state.
    """
    batch = labels.shape[0]
    scales = [scale.float() for scale in state]
    times = t.to(labels.device, torch.float32).expand(batch, -1)
    mask = (torch.arange(len(scales), device=labels.device) < num_active).float().expand(batch, -1)
    if guidance == 1.0:
        velocities: list[Tensor] = model(scales, times, mask, labels)
        return velocities
    null = torch.full_like(labels, model.null_class)
    both = model(
        [torch.cat([scale, scale]) for scale in scales],
        torch.cat([times, times]),
        torch.cat([mask, mask]),
        torch.cat([labels, null]),
    )
    return [guide(v[:batch], v[batch:], guidance) for v in both]
