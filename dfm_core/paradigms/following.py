"""Sampling that all paradigms of one trajectory share: noise, the guided velocity, the solver, the watcher."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from dfm_core.config import SamplingConfig
from dfm_core.flow.schedules import StageSchedule
from dfm_core.flow.solvers import SolverStep, solve
from dfm_core.paradigms.base import SampleProgress, SampleResult, SampleWatcher, VelocityPredictor
from dfm_core.paradigms.guided import GuidedField
from dfm_core.seeding import normal

ToImages = Callable[[Sequence[Tensor]], Tensor]
"""The first scales as the model sees them, one to all -> images, at the side of the last of them."""


@torch.no_grad()
def follow(
    model: VelocityPredictor,
    labels: Tensor,
    indices: Sequence[int],
    seed: int,
    sampling: SamplingConfig,
    schedule: StageSchedule,
    to_images: ToImages,
    watcher: SampleWatcher | None,
) -> SampleResult:
    """Follows the guided velocity from noise along a schedule; the arguments of `Paradigm.sample` and what is its own.

    Args: schedule: of all scales. to_images: how the paradigm puts scales together.
    """
    noises = [
        normal(seed, f"sample_noise/{s}", indices, shape).to(labels.device)
        for s, shape in enumerate(model.scale_shapes)
    ]
    field = GuidedField(model, labels, sampling)

    def report(step: SolverStep) -> None:
        if watcher is not None:
            progress = (step.n, step.num_steps, step.ends_stage, step.state)
            watcher(SampleProgress(*progress, lambda: to_images(step.estimate()).float()))

    scales = solve(field, noises, schedule, sampling.solver, report)
    return SampleResult(to_images(scales).float(), field.num_evaluations)
