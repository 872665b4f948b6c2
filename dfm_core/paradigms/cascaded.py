"""The cascaded baseline: a network for the coarse image, and one that makes the fine image from it (numerics 7)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dfm_core.config import ExperimentConfig
from dfm_core.decompositions.base import Decomposition
from dfm_core.flow.path import velocity
from dfm_core.flow.solvers import SolverStep
from dfm_core.flow.timesteps import logit_normal
from dfm_core.paradigms.base import Batch, LossResult, VelocityPredictor
from dfm_core.paradigms.draws import Draws, dropped_labels, scale_noises, stage_counts
from dfm_core.paradigms.losses import binned
from dfm_core.paradigms.noising import add_noise, drop_labels
from dfm_core.paradigms.sampling import Paradigm, Sampler
from dfm_core.seeding import normal_scalars
from dfm_core.wiring import network


@dataclass(frozen=True)
class Cascaded(Paradigm):
    """Flow matching on each level, given the level below with a little noise (paper, appendix B)."""

    config: ExperimentConfig
    decomposition: Decomposition
    level_std: tuple[float, ...]
    """Divisor of each level before noising; ones unless the data is standardised."""

    def draw(self, indices: Sequence[int], sample_shape: tuple[int, ...]) -> Draws:
        training, seed = self.config.training, self.config.seed
        (stage,) = network(self.config).stages
        noises = scale_noises(self.config.decomposition, seed, indices, sample_shape)
        z = normal_scalars(seed, "timestep", indices, len(noises))
        t = torch.zeros(len(indices), len(noises))
        t[:, stage] = logit_normal(z[:, stage], training.location, training.scale).float()
        if stage > 0:
            condition_t = logit_normal(z[:, stage - 1], training.previous_location, training.previous_scale)
            t[:, stage - 1] = condition_t.float()
        mask = (torch.arange(len(noises)) <= stage).float().repeat(len(indices), 1)
        return Draws(noises, t, mask, dropped_labels(indices, seed, training.class_dropout), stage_counts(mask))

    def loss(self, model: VelocityPredictor, batch: Batch) -> LossResult:
        """L = E mean((v_hat - v)^2) on the level of the network's stage.

        The level's t is logit-normal(location, scale). The level below is the condition, at a t that is
        logit-normal(previous_location, previous_scale): its noise, 1 - t, hides the errors it will have in sampling.
        Raises: AssertionError if the config trains several stages, which are networks of their own.
        """
        (stage,) = network(self.config).stages
        draws, levels = self.draws_of(batch), self.analyze(batch.images)
        labels = drop_labels(batch.labels, draws.dropped, model.null_class)
        states = add_noise(levels, draws.noises, draws.t)
        predicted = model(states, draws.t, draws.mask, labels, draws.stage_counts)[stage]
        errors = (predicted - velocity(draws.noises[stage], levels[stage])).square().flatten(1).mean(dim=1)
        own = (torch.arange(len(levels), device=errors.device) == stage).float()
        by_time = binned(errors[:, None] * own, own.expand(len(batch.indices), -1), draws.t)
        return LossResult(errors.mean(), own * errors.detach().sum(), own * len(batch.indices), by_time)

    def generate(self, sampler: Sampler) -> Tensor:
        """Level after level; each finished level gets fresh noise before the next network reads it."""
        noise_share = sampler.sampling.condition_noise
        state = sampler.follow(sampler.start(), 0, self._preview)
        for stage in range(1, len(state)):
            fresh = sampler.noise(f"condition_noise/{stage - 1}", stage - 1)
            state[stage - 1] = (1.0 - noise_share) * state[stage - 1] + noise_share * fresh
            state = sampler.follow(state, stage, self._preview)
        return self.synthesize(state)

    def analyze(self, images: Tensor) -> list[Tensor]:
        """Return the levels as the networks see them, coarsest first."""
        return [x / std for x, std in zip(self.decomposition.analyze(images), self.level_std, strict=True)]

    def synthesize(self, levels: Sequence[Tensor]) -> Tensor:
        """Return the last of the given levels as images."""
        return levels[-1] * self.level_std[len(levels) - 1]

    def _preview(self, step: SolverStep) -> Tensor:
        return self.synthesize(step.estimate())
