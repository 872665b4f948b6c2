"""Decomposable Flow Matching (DFM, section 3; numerics 3 and 4)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dfm_core.config import ExperimentConfig
from dfm_core.decompositions.base import Decomposition
from dfm_core.flow.path import velocity
from dfm_core.flow.timesteps import draw_timesteps
from dfm_core.paradigms.base import Batch, LossResult, VelocityPredictor
from dfm_core.paradigms.draws import Draws, dropped_labels, scale_noises, stage_counts
from dfm_core.paradigms.losses import masked_loss
from dfm_core.paradigms.noising import add_noise, drop_labels
from dfm_core.paradigms.sampling import Paradigm, Sampler


@dataclass(frozen=True)
class DecomposableFlowMatching(Paradigm):
    """Flow matching on every scale of a decomposition, in one model."""

    config: ExperimentConfig
    decomposition: Decomposition
    scale_std: tuple[float, ...]
    """Divisor of each scale before noising; ones unless the data is standardised."""

    def draw(self, indices: Sequence[int], sample_shape: tuple[int, ...]) -> Draws:
        drawn, seed = draw_timesteps(self.config, indices), self.config.seed
        noises = scale_noises(self.config.decomposition, seed, indices, sample_shape)
        dropped = dropped_labels(indices, seed, self.config.training.class_dropout)
        return Draws(noises, drawn.t, drawn.mask, dropped, stage_counts(drawn.mask))

    def loss(self, model: VelocityPredictor, batch: Batch) -> LossResult:
        """L = E sum_s M_s mean((v_hat^s - v^s)^2) (DFM, Eq. 4; mean per scale: numerics A4)."""
        draws, clean = self.draws_of(batch), self.analyze(batch.images)
        t, mask = draws.t, draws.mask
        states = add_noise(clean, draws.noises, t)
        labels = drop_labels(batch.labels, draws.dropped, model.null_class)
        targets = [velocity(noise, data) for noise, data in zip(draws.noises, clean, strict=True)]
        counted = mask if self.config.training.loss_masking else torch.ones_like(mask)
        return masked_loss(model(states, t, mask, labels, draws.stage_counts), targets, counted, t)

    def generate(self, sampler: Sampler) -> Tensor:
        return self.synthesize(sampler.follow(sampler.start(), 0, lambda step: self.synthesize(step.estimate())))

    def analyze(self, images: Tensor) -> list[Tensor]:
        """Return scales as the model sees them, coarsest first."""
        return [x / std for x, std in zip(self.decomposition.analyze(images), self.scale_std, strict=True)]

    def synthesize(self, scales: Sequence[Tensor]) -> Tensor:
        """The inverse of `analyze`; of the first scales only, the images that they show, at the side of the last."""
        unscaled = [x * std for x, std in zip(scales, self.scale_std, strict=False)]
        return self.decomposition.partial(unscaled, len(unscaled))
