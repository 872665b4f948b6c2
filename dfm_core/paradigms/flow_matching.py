"""Flow Matching, the baseline: one path from noise to the image (numerics 1).

Its loss is written on its own, not as a special case of DFM, so that a test can hold the two against each other: DFM
with the identity decomposition must agree with it bitwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from dfm_core.config import ExperimentConfig, SamplingConfig
from dfm_core.flow.path import interpolate, velocity
from dfm_core.flow.schedules import stage_schedule
from dfm_core.flow.solvers import SolverStep, solve
from dfm_core.flow.timesteps import logit_normal
from dfm_core.paradigms.base import (
    Batch,
    LossResult,
    SampleProgress,
    SampleResult,
    SampleWatcher,
    VelocityPredictor,
)
from dfm_core.paradigms.guided import GuidedField
from dfm_core.paradigms.labels import drop_labels
from dfm_core.seeding import normal, normal_scalars


@dataclass(frozen=True)
class FlowMatching:
    """Flow matching with logit-normal timesteps (numerics A17)."""

    config: ExperimentConfig
    image_std: float
    """What images are divided by before noising; 1 unless the data is standardised."""

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
        return LossResult(errors.mean(), errors.detach().sum()[None], ones.sum(dim=0))

    @torch.no_grad()
    def sample(
        self,
        model: VelocityPredictor,
        labels: Tensor,
        indices: Sequence[int],
        seed: int,
        sampling: SamplingConfig,
        watcher: SampleWatcher | None = None,
    ) -> SampleResult:
        (shape,), (steps,) = model.scale_shapes, sampling.steps
        noise = normal(seed, "sample_noise/0", indices, shape).to(labels.device)
        field = GuidedField(model, labels, sampling)
        schedule = stage_schedule((steps,), (), sampling.time_shift)
        watch = None if watcher is None else partial(self._report, watcher)
        (image,) = solve(field, [noise], schedule, sampling.solver, watch)
        return SampleResult((image * self.image_std).float(), field.num_evaluations)

    def _report(self, watcher: SampleWatcher, step: SolverStep) -> None:
        def preview() -> Tensor:
            return (step.estimate()[0] * self.image_std).float()

        watcher(SampleProgress(step.n, step.num_steps, step.ends_stage, step.state, preview))
