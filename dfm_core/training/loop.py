"""The training loop: a pure function of (config, data, step), whatever the number of workers."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Protocol

import torch

from dfm_core.config import ExperimentConfig
from dfm_core.data.datasets import ImageDataset
from dfm_core.data.order import dataset_rows
from dfm_core.paradigms import Batch, LossResult, Paradigm
from dfm_core.training.curve import CurveRow
from dfm_core.training.engine import TrainingEngine, learning_rate


class TrainingDivergedError(Exception):
    """The loss is no longer a finite number."""


@dataclass(frozen=True)
class LoopPlan:
    """When the loop does what; nothing here changes a weight."""

    until_step: int
    micro_batch_size: int
    """Images per worker and forward pass."""
    log_every: int
    save_at: frozenset[int]
    """Steps after which `Observer.save` is called."""


class Observer(Protocol):
    """Receives what the loop produces; called on every worker."""

    def progress(self, step: int) -> None:
        """`step` optimiser steps are done."""

    def log(self, row: CurveRow) -> None:
        """A new point of the curve."""

    def save(self, step: int, curve: list[CurveRow]) -> None:
        """Keep the engine's state; collective."""


class _Nobody:
    """An observer that does nothing."""

    def progress(self, step: int) -> None: ...

    def log(self, row: CurveRow) -> None: ...

    def save(self, step: int, curve: list[CurveRow]) -> None: ...


@dataclass
class _Window:
    """What happened in the steps since the last row of the curve."""

    totals: list[torch.Tensor] = field(default_factory=list)
    norms: list[float] = field(default_factory=list)
    timestep_shape: tuple[int, ...] = (2, 0, 0)

    def add(self, result: LossResult) -> None:
        # Left on the device: reading them here would make every step wait for it.
        parts = [result.loss.detach()[None], result.stage_losses, result.stage_counts]
        if result.timestep_sums is not None:
            self.timestep_shape = tuple(result.timestep_sums.shape)
            parts.append(result.timestep_sums.flatten())
        self.totals.append(torch.cat(parts).double())

    def row(self, engine: TrainingEngine, step: int, rate: float, batch_size: int, *, with_timesteps: bool) -> CurveRow:
        mean = engine.mean(torch.stack(self.totals).mean(dim=0).cpu())
        size = len(mean) - math.prod(self.timestep_shape)
        whole, timesteps = mean[:size], mean[size:]
        losses, counts = whole[1:].chunk(2)
        per_timestep = _per_timestep(timesteps.view(self.timestep_shape)) if with_timesteps else {}
        per_stage = {
            f"loss_stage_{stage}": float(total / count)
            for stage, (total, count) in enumerate(zip(losses, counts, strict=True))
            if len(losses) > 1 and count > 0
        }
        return {
            "step": step,
            "loss": float(mean[0]),
            **per_stage,
            **per_timestep,
            "gradient_norm": sum(self.norms) / len(self.norms),
            "learning_rate": rate,
            "images": float(step * batch_size),
        }


def _per_timestep(sums: torch.Tensor) -> dict[str, float]:
    """Mean loss by stage and bin of the timestep, [2, S, bins]; bins without a sample are left out."""
    losses, counts = sums
    stages, bins = losses.shape
    return {
        f"loss_stage_{stage}_t{index}of{bins}": float(losses[stage, index] / counts[stage, index])
        for stage in range(stages)
        for index in range(bins)
        if counts[stage, index] > 0
    }


def train(
    config: ExperimentConfig,
    paradigm: Paradigm,
    dataset: ImageDataset,
    engine: TrainingEngine,
    plan: LoopPlan,
    observer: Observer | None = None,
    *,
    start_step: int = 0,
    curve: list[CurveRow] | None = None,
) -> list[CurveRow]:
    """Trains from `start_step` to `plan.until_step` and returns the whole curve.

    Step k uses the samples with global indices k * batch_size .. (k + 1) * batch_size - 1, split evenly and in order
    over workers and micro-batches.

    Args: observer: is told of progress, points of the curve and moments to save; None: nobody is. start_step: steps
        that the engine's state already has. curve: the rows that belong to them.
    Raises: TrainingDivergedError if a row's loss is not finite, on all workers alike.
    """
    training = config.training
    per_worker = training.batch_size // engine.world_size
    num_micro = per_worker // plan.micro_batch_size
    assert num_micro * plan.micro_batch_size * engine.world_size == training.batch_size, (
        f"batch {training.batch_size} is not {engine.world_size} workers x {num_micro} x {plan.micro_batch_size}"
    )
    observer = observer or _Nobody()
    rows = list(curve or [])
    window = _Window()
    for step in range(start_step, plan.until_step):
        first = step * training.batch_size + engine.rank * per_worker
        for micro in range(num_micro):
            begin = first + micro * plan.micro_batch_size
            result = paradigm.loss(
                engine.model, make_batch(config, dataset, range(begin, begin + plan.micro_batch_size), engine.device)
            )
            engine.backward(result.loss)
            window.add(result)
        rate = learning_rate(training, step)
        window.norms.append(engine.step(rate))
        done = step + 1
        if done % plan.log_every == 0 or done == plan.until_step or done in plan.save_at:
            # Bins of the timestep are many numbers: only where something is saved too.
            saved = done in plan.save_at
            rows.append(window.row(engine, done, rate, training.batch_size, with_timesteps=saved))
            observer.log(rows[-1])
            window = _Window()
            if not math.isfinite(rows[-1]["loss"]):
                raise TrainingDivergedError(f"loss {rows[-1]['loss']} at step {done}: lower training.learning_rate?")
        if done in plan.save_at:
            observer.save(done, rows)
        observer.progress(done)
    return rows


def make_batch(config: ExperimentConfig, dataset: ImageDataset, indices: range, device: torch.device) -> Batch:
    """The training images of these global sample indices."""
    rows = dataset_rows(config.seed, indices, len(dataset))
    images, labels = dataset.images(rows), dataset.labels[torch.from_numpy(rows)]
    return Batch(images.to(device), labels.to(device), indices)
