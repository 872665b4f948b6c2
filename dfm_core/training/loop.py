"""The training loop: a pure function of (config, data, step), whatever the number of workers."""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor

from dfm_core.config import ExperimentConfig
from dfm_core.data.training_data import TrainingData
from dfm_core.models.network import VelocityNetwork
from dfm_core.paradigms import Batch, Paradigm
from dfm_core.training.curve import CurveRow
from dfm_core.training.engine import TrainingEngine
from dfm_core.training.steps import LoopPlan, Observer, Work, run_steps


def _per_timestep(sums: Tensor) -> dict[str, float]:
    """Return the mean loss by stage and bin of the timestep, and the share of the stage's samples that fell into it.

    Bins without a sample are left out. Args: sums: losses and counts, [2, S, bins].
    """
    (losses, counts), numbers = sums, dict[str, float]()
    stages, bins = losses.shape
    for stage, index in itertools.product(range(stages), range(bins)):
        if counts[stage, index] > 0:
            place = f"stage_{stage}_t{index}of{bins}"
            numbers[f"loss_{place}"] = float(losses[stage, index] / counts[stage, index])
            numbers[f"draws_{place}"] = float(counts[stage, index] / counts[stage].sum())
    return numbers


class _VelocityWork(Work[Batch]):
    """The loss of a paradigm."""

    def __init__(self, paradigm: Paradigm, engine: TrainingEngine[VelocityNetwork]) -> None:
        super().__init__()
        self._paradigm, self._engine = paradigm, engine
        self._timestep_shape: tuple[int, ...] = (2, 0, 0)

    def prepare(self, samples: range, images: Tensor, labels: Tensor) -> Batch:
        batch = Batch(images, labels, samples, self._paradigm.draw(samples, tuple(images.shape[1:])))
        return batch.pinned() if self._engine.device.type == "cuda" else batch

    def loss(self, inputs: Batch) -> Tensor:
        result = self._paradigm.loss(self._engine.model, inputs.to(self._engine.device))
        parts = [result.loss.detach()[None], result.stage_losses, result.stage_counts]
        if result.timestep_sums is not None:
            self._timestep_shape = tuple(result.timestep_sums.shape)
            parts.append(result.timestep_sums.flatten())
        self.add(torch.cat(parts))
        return result.loss

    def row(self, *, is_saved: bool) -> CurveRow:
        mean, num_timesteps = self.means(self._engine), math.prod(self._timestep_shape)
        whole, timesteps = torch.split(mean, [len(mean) - num_timesteps, num_timesteps])
        losses, counts = whole[1:].chunk(2)
        per_stage = {
            f"loss_stage_{stage}": float(total / count)
            for stage, (total, count) in enumerate(zip(losses, counts, strict=True))
            if len(losses) > 1 and count > 0
        }
        # Bins of the timestep are many numbers: only where something is saved too.
        per_timestep = _per_timestep(timesteps.view(self._timestep_shape)) if is_saved else {}
        return {"loss": float(mean[0]), **per_stage, **per_timestep}


def train(
    config: ExperimentConfig,
    paradigm: Paradigm,
    dataset: TrainingData,
    engine: TrainingEngine[VelocityNetwork],
    plan: LoopPlan,
    observer: Observer | None = None,
    *,
    start_step: int = 0,
    curve: list[CurveRow] | None = None,
) -> list[CurveRow]:
    """Trains a velocity model from `start_step` to `plan.until_step`; arguments and errors are those of `run_steps`."""
    work, settings = _VelocityWork(paradigm, engine), config.training
    return run_steps(work, dataset, config.seed, settings, engine, plan, observer, start_step=start_step, curve=curve)
