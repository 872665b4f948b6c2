"""The samples of a training, in the order in which its steps ask for them."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager

from torch import Tensor

from dfm_core.config.training import OptimizerSettings
from dfm_core.data.training_data import TrainingData
from dfm_core.training.engine import TrainingEngine
from dfm_core.training.steps import LoopPlan, micro_batches


@contextmanager
def batches_ahead(
    data: TrainingData, seed: int, settings: OptimizerSettings, engine: TrainingEngine, plan: LoopPlan, start_step: int
) -> Iterator[Iterator[tuple[Tensor, Tensor]]]:
    """Samples and classes for each call of `Work.loss` from `start_step` on; reading ahead ends with the block."""
    wanted = (
        samples
        for step in range(start_step, plan.until_step)
        for samples in micro_batches(settings, engine, plan, step)
    )
    batches = data.batches(seed, wanted)
    try:
        yield batches
    finally:
        if isinstance(batches, Generator):
            batches.close()
