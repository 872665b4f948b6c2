"""Step after step, whatever is learned: a pure function of (settings, work, step), whatever the number of workers."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor

from dfm_core.training.curve import CurveRow
from dfm_core.training.engine import OptimizerSettings, TrainingEngine, learning_rate


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


class Work(Protocol):
    """What is learned, on one worker."""

    def loss(self, samples: range) -> Tensor:
        """Mean loss of these global sample indices, kept for the next row of the curve."""

    def row(self, *, is_saved: bool) -> CurveRow:
        """Means over the steps since the row before, and over all workers: `loss` first. Collective.

        Args: is_saved: a checkpoint or snapshot is saved at this step.
        """


def micro_batches(
    settings: OptimizerSettings, engine: TrainingEngine[Any], plan: LoopPlan, step: int
) -> Iterator[range]:
    """Global sample indices of a worker's forward passes in a step."""
    per_worker = settings.batch_size // engine.world_size
    num_micro = per_worker // plan.micro_batch_size
    assert num_micro * plan.micro_batch_size * engine.world_size == settings.batch_size, (
        f"batch {settings.batch_size} is not {engine.world_size} workers x {num_micro} x {plan.micro_batch_size}"
    )
    first = step * settings.batch_size + engine.rank * per_worker
    for micro in range(num_micro):
        begin = first + micro * plan.micro_batch_size
        yield range(begin, begin + plan.micro_batch_size)


def run_steps(
    work: Work,
    settings: OptimizerSettings,
    engine: TrainingEngine,
    plan: LoopPlan,
    observer: Observer | None = None,
    *,
    start_step: int = 0,
    curve: list[CurveRow] | None = None,
) -> list[CurveRow]:
    """Goes from `start_step` to `plan.until_step` and returns the whole curve.

    Step k uses the samples with global indices k * batch_size .. (k + 1) * batch_size - 1, split evenly and in order
    over workers and micro-batches.

    Args: observer: is told of progress, points of the curve and moments to save; None: nobody is. start_step: steps
        that the engine's state already has. curve: the rows that belong to them.
    Raises: TrainingDivergedError if a row's loss is not finite, on all workers alike.
    """
    observer = observer or _Nobody()
    rows, norms = list(curve or []), list[float]()
    for step in range(start_step, plan.until_step):
        for samples in micro_batches(settings, engine, plan, step):
            engine.backward(work.loss(samples))
        rate = learning_rate(settings, step)
        norms.append(engine.step(rate))
        done = step + 1
        if done % plan.log_every == 0 or done == plan.until_step or done in plan.save_at:
            rows.append(
                {
                    "step": done,
                    **work.row(is_saved=done in plan.save_at),
                    "gradient_norm": sum(norms) / len(norms),
                    "learning_rate": rate,
                    "images": float(done * settings.batch_size),
                }
            )
            norms = []
            observer.log(rows[-1])
            if not math.isfinite(rows[-1]["loss"]):
                raise TrainingDivergedError(f"loss {rows[-1]['loss']} at step {done}: lower the learning rate?")
        if done in plan.save_at:
            observer.save(done, rows)
        observer.progress(done)
    return rows
