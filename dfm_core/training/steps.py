"""The steps of any training: a pure function of (settings, work, step) for every number of workers."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor

from dfm_core.config.training import OptimizerSettings
from dfm_core.data.latents.read_ahead import ahead
from dfm_core.data.training_data import TrainingData
from dfm_core.training.curve import CurveRow
from dfm_core.training.divergence import MOST_SKIPPED_IN_A_ROW, Skips, check_loss
from dfm_core.training.engine import TrainingEngine, learning_rate

Inputs = TypeVar("Inputs")
"""Inputs of a work's loss on the host."""


@dataclass(frozen=True)
class LoopPlan:
    """Timing of the loop's actions; nothing here changes a weight."""

    until_step: int
    micro_batch_size: int
    """Images per worker and forward pass."""
    log_every: int
    save_at: frozenset[int]
    """Steps after which `Observer.save` is called."""
    most_skipped_in_a_row: int = MOST_SKIPPED_IN_A_ROW
    """Steps without finite gradients; so many end the training."""
    host_threads: int = 1
    """Threads that prepare inputs ahead of the steps."""


class Observer:
    """Receives what the loop produces, on every worker; this one does nothing with it."""

    def waited(self, seconds: float) -> None:
        """A step has waited so long for its inputs, which are prepared ahead."""

    def progress(self, step: int) -> None:
        """`step` optimiser steps are done."""

    def log(self, row: CurveRow) -> None:
        """A new point of the curve."""

    def save(self, step: int, curve: list[CurveRow]) -> None:
        """Keep the engine's state; collective."""


class Work(ABC, Generic[Inputs]):
    """The loss of a training and its rows of the curve, on one worker."""

    def __init__(self) -> None:
        self._totals: list[Tensor] = []
        self._of_step: list[Tensor] = []

    @abstractmethod
    def prepare(self, samples: range, images: Tensor, labels: Tensor) -> Inputs:
        """Return all that the host makes for the loss of these global sample indices, on the host: for an accelerator
        in pinned memory. Called ahead of the steps, by several threads.

        Args: images, labels: `TrainingData.batches`.
        """

    @abstractmethod
    def loss(self, inputs: Inputs) -> Tensor:
        """Return the mean loss of prepared inputs; its numbers are held until the result of their step is known."""

    @abstractmethod
    def row(self, *, is_saved: bool) -> CurveRow:
        """Return means over the steps since the row before, and over all workers: `loss` first. Collective.

        Args: is_saved: a checkpoint or snapshot is saved at this step.
        """

    def add(self, numbers: Tensor) -> None:
        """Note the numbers of a micro-batch; they stay on the device: to read them would make every step wait."""
        self._of_step.append(numbers.detach().double())

    def stepped(self, *, skipped: bool) -> None:
        """The step of the losses since the last call is done. Its numbers are for the next row of the curve, unless it
        was skipped."""
        self._totals += [] if skipped else self._of_step
        self._of_step = []

    def means(self, engine: TrainingEngine[Any]) -> Tensor:
        """Return the numbers' means over the steps since the row before, and over all workers. Collective."""
        totals, self._totals = self._totals, []
        return engine.mean(torch.stack(totals).mean(dim=0).cpu())


def micro_batches(
    settings: OptimizerSettings, engine: TrainingEngine[Any], plan: LoopPlan, step: int
) -> Iterator[range]:
    """Yield global sample indices of a worker's forward passes in a step."""
    per_worker = settings.batch_size // engine.world_size
    num_micro = per_worker // plan.micro_batch_size
    assert num_micro * plan.micro_batch_size * engine.world_size == settings.batch_size, (
        f"batch {settings.batch_size} is not {engine.world_size} workers x {num_micro} x {plan.micro_batch_size}"
    )
    first = step * settings.batch_size + engine.rank * per_worker
    for micro in range(num_micro):
        begin = first + micro * plan.micro_batch_size
        yield range(begin, begin + plan.micro_batch_size)


@contextmanager
def _inputs_ahead(
    work: Work[Inputs],
    data: TrainingData,
    seed: int,
    settings: OptimizerSettings,
    engine: TrainingEngine,
    plan: LoopPlan,
    start_step: int,
) -> Iterator[Iterator[Inputs]]:
    """Inputs for each call of `Work.loss` from `start_step` on; preparing ahead ends with the block."""

    def wanted() -> Iterator[range]:
        for step in range(start_step, plan.until_step):
            yield from micro_batches(settings, engine, plan, step)

    batches = data.batches(seed, wanted())
    items = ((samples, *batch) for samples, batch in zip(wanted(), batches, strict=True))
    try:
        with closing(
            ahead(lambda item: work.prepare(*item), items, 1 + plan.host_threads, plan.host_threads)
        ) as inputs:
            yield inputs
    finally:
        if isinstance(batches, Generator):
            batches.close()


def run_steps(
    work: Work[Inputs],
    data: TrainingData,
    seed: int,
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
    over workers and micro-batches. A step whose gradients are not finite changes nothing; its losses are in no row.

    Args: data, seed: samples and their order. observer: receives progress, points of the curve and moments to save;
        None: no observer. start_step: steps that the engine's state already has, the last of which `save` was called
        for. curve: the rows that belong to them; None: they are not known.
    Raises: TrainingDivergedError on all workers alike, see `Skips` and `check_loss`.
    """
    observer = observer or Observer()
    rows, norms = list(curve or []), list[Tensor]()
    # A step that is saved has a row, unless all since the row before were left out.
    skipped_before = 0 if curve is None else start_step - int(rows[-1]["step"] if rows else 0)
    skips, size = Skips(plan.most_skipped_in_a_row, skipped_before), settings.batch_size
    with _inputs_ahead(work, data, seed, settings, engine, plan, start_step) as inputs:
        for step in range(start_step, plan.until_step):
            for _ in micro_batches(settings, engine, plan, step):
                began = time.perf_counter()
                batch = next(inputs)
                observer.waited(time.perf_counter() - began)
                engine.backward(work.loss(batch))
            rate = learning_rate(settings, step)
            norm, done = engine.step(rate), step + 1
            skips.stepped(done, range(step * size, done * size), skipped=norm is None)
            work.stepped(skipped=norm is None)
            norms += [] if norm is None else [norm]
            if norms and (done % plan.log_every == 0 or done == plan.until_step or done in plan.save_at):
                row: CurveRow = {
                    "step": done,
                    **work.row(is_saved=done in plan.save_at),
                    "gradient_norm": sum(torch.stack(norms).tolist()) / len(norms),
                    "learning_rate": rate,
                    "images": float(done * size),
                }
                rows.append(row | skips.taken())
                norms = []
                observer.log(rows[-1])
                check_loss(rows)
            if done in plan.save_at:
                observer.save(done, rows)
            observer.progress(done)
    return rows
