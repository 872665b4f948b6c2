"""The Pyramidal Flow baseline: one flow cut into stages of growing resolution (Jin et al. 2024; numerics 8)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dfm_core.config import ExperimentConfig
from dfm_core.config.experiment import stage_columns
from dfm_core.decompositions.base import Decomposition
from dfm_core.flow.block_noise import block_mean, block_noise, repeat_blocks
from dfm_core.flow.jumps import NUM_TICKS, PyramidStage, pyramid_stages
from dfm_core.flow.path import expand_like
from dfm_core.flow.solvers import SolverStep, Times
from dfm_core.paradigms.base import Batch, LossResult, VelocityPredictor
from dfm_core.paradigms.draws import Draws, dropped_labels, stage_counts
from dfm_core.paradigms.losses import masked_loss
from dfm_core.paradigms.noising import drop_labels
from dfm_core.paradigms.sampling import Paradigm, Sampler
from dfm_core.seeding import normal, uniform


@dataclass(frozen=True)
class PyramidalFlow(Paradigm):
    """A stage runs from the upsampled, noised end of the one before to its own level, with less noise."""

    config: ExperimentConfig
    decomposition: Decomposition
    image_std: float
    """Divisor of all levels before noising; 1 unless the data is standardised."""

    @property
    def stages(self) -> tuple[PyramidStage, ...]:
        return pyramid_stages(self.config.num_stages, self.config.pyramidal_flow.gamma)

    def draw(self, indices: Sequence[int], sample_shape: tuple[int, ...]) -> Draws:
        config, seed, stages = self.config, self.config.seed, torch.arange(self.config.num_stages)
        ticks = (uniform(seed, "progress", indices) * NUM_TICKS).floor()
        progress = (ticks / NUM_TICKS).float()
        mask = (stages <= sample_stages(config, indices)[:, None]).float()
        noise = normal(seed, "noise/0", indices, sample_shape)
        dropped = dropped_labels(indices, seed, config.training.class_dropout)
        return Draws((noise,), progress[:, None].repeat(1, len(stages)), mask, dropped, stage_counts(mask))

    def loss(self, model: VelocityPredictor, batch: Batch) -> LossResult:
        """L = E mean((v_hat - (end - start))^2) over the samples of all stages (numerics 8.2).

        A sample's place in the batch gives the stage that it trains; progress is uniform, in whole ticks.
        """
        draws = self.draws_of(batch)
        levels = [level / self.image_std for level in self.decomposition.analyze(batch.images)]
        noises = noise_pyramid(draws.noises[0], len(levels))
        progress, mask = draws.t[:, 0], draws.mask
        own = mask - torch.nn.functional.pad(mask[:, 1:], (0, 1))  # the active stage alone, [B, S]

        states, targets, times = [], [], []
        for q, wired in enumerate(self.stages):
            start, end = stage_ends(wired, levels[q], levels[q - 1] if q else None, noises[q])
            weight = expand_like(progress, start)
            states.append((1 - weight) * start + weight * end)
            targets.append(end - start)
            times.append(wired.start_t + (wired.end_t - wired.start_t) * progress)
        labels = drop_labels(batch.labels, draws.dropped, model.null_class)
        predicted = model(states, own * torch.stack(times, dim=1), mask, labels, draws.stage_counts)
        return masked_loss(predicted, targets, own, progress[:, None].expand_as(own))

    def generate(self, sampler: Sampler) -> Tensor:
        """Generate stage after stage, with a jump between them (numerics 8.3)."""
        gamma, state = self.config.pyramidal_flow.gamma, sampler.start()
        for q, wired in enumerate(self.stages):
            if q > 0:
                noise = block_noise(state[q], gamma)
                state[q] = wired.jump_scale * repeat_blocks(state[q - 1]) + wired.jump_noise * noise

            def network_times(times: Times, q: int = q, wired: PyramidStage = wired) -> Times:
                return [wired.network_t(t) if s == q else 0.0 for s, t in enumerate(times)]

            def preview(step: SolverStep, wired: PyramidStage = wired) -> Tensor:
                return self.image_std * clean_estimate(wired, step)

            state = sampler.follow(state, q, preview, network_times)
        return self.image_std * state[-1]


def sample_stages(config: ExperimentConfig, indices: Sequence[int]) -> Tensor:
    """Return the stage that each training sample is used for, [B] int64.

    The batch is dealt out in columns, as many as make all shares whole, so that every batch, and nearly every part of
    one, has the shares exactly (numerics 8.2).
    """
    columns = stage_columns(config.stage_probabilities)
    order = [stage for stage, count in enumerate(columns) for _ in range(count)]
    return torch.tensor([order[index % config.training.batch_size % len(order)] for index in indices])


def noise_pyramid(noise: Tensor, num_levels: int) -> list[Tensor]:
    """One white noise at every resolution, coarsest first: twice the mean over blocks stays white with variance 1.

    Args: noise: at the finest resolution, [B, C, (T,) r, r].
    """
    levels = [noise]
    while len(levels) < num_levels:
        levels.insert(0, 2 * block_mean(levels[0]))
    return levels


def stage_ends(stage: PyramidStage, level: Tensor, coarser: Tensor | None, noise: Tensor) -> tuple[Tensor, Tensor]:
    """Return the start and the end of a sample's stage (numerics 8.2).

    Args: level: the clean level, [B, C, (T,) r, r]. coarser: the one below; None in the first stage, which starts as
        noise. noise: of the level, same shape.
    """
    start = stage.start_noise * noise
    if coarser is not None:
        start = start + (1.0 - stage.start_noise) * repeat_blocks(coarser)
    return start, stage.end_noise * noise + (1.0 - stage.end_noise) * level


def clean_estimate(stage: PyramidStage, step: SolverStep) -> Tensor:
    """Return the clean level that a stage is heading for, from its state and its last velocity (numerics 8.3).

    Both ends of the stage follow from them. In what differs inside blocks the start is noise alone; in the blocks'
    means both ends mix the same noise and the same image.
    """
    (q,), (velocity,) = step.moving, step.velocities
    end = step.state[q] + (1.0 - step.times[q]) * velocity
    start = end - velocity
    start_noise, end_noise = stage.start_noise, stage.end_noise
    if q == 0:
        return (end - end_noise * start) / (1.0 - end_noise)
    start_mean, end_mean = repeat_blocks(block_mean(start)), repeat_blocks(block_mean(end))
    details = ((end - end_mean) - end_noise / start_noise * (start - start_mean)) / (1.0 - end_noise)
    mean = (start_noise * end_mean - end_noise * start_mean) / (start_noise - end_noise)
    return mean + details
