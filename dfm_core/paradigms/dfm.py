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

    def loss(self, model: VelocityPredictor, batch: Batch) -> LossResult:
        """L = E sum_s M_s mean((v_hat^s - v^s)^2) (DFM, Eq. 4; mean per scale: numerics A4)."""
        device, seed = batch.images.device, self.config.seed
        draw = draw_timesteps(self.config, batch.indices)
        t, mask = draw.t.to(device), draw.mask.to(device)
        clean = self.analyze(batch.images)
        noises, states = add_noise(clean, t, seed, batch.indices)
        labels = drop_labels(batch.labels, batch.indices, seed, self.config.training.class_dropout, model.null_class)
        targets = [velocity(noise, data) for noise, data in zip(noises, clean, strict=True)]
        counted = mask if self.config.training.loss_masking else torch.ones_like(mask)
        return masked_loss(model(states, t, mask, labels), targets, counted, t)

    def generate(self, sampler: Sampler) -> Tensor:
        return self.synthesize(sampler.follow(sampler.start(), 0, lambda step: self.synthesize(step.estimate())))

    def analyze(self, images: Tensor) -> list[Tensor]:
        """Return scales as the model sees them, coarsest first."""
        return [x / std for x, std in zip(self.decomposition.analyze(images), self.scale_std, strict=True)]

    def synthesize(self, scales: Sequence[Tensor]) -> Tensor:
        """The inverse of `analyze`; of the first scales only, the images that they show, at the side of the last."""
        unscaled = [x * std for x, std in zip(scales, self.scale_std, strict=False)]
        return self.decomposition.partial(unscaled, len(unscaled))
