"""A step of DeepSpeed on two workers: the memory that it holds is the one weighed, and what the host waits for."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
import torch.multiprocessing

from dfm_core.config import ExperimentConfig, ModelConfig, TrainingConfig
from dfm_core.training.state import empty_model, initialize_model
from orchestration.commands.weighing.held_bytes import HeldBytes
from orchestration.commands.weighing.training import footprint_of
from orchestration.config.workers import WorkersConfig, ZeroStage
from orchestration.training import deepspeed_engine
from orchestration.training.deepspeed_engine import DeepSpeedEngine
from tests.support.collectives import CountOperations
from tests.support.models import SHAPE, paradigm_of, random_dataset, training_batch
from tests.support.process_group import join, leave

WORLD, MICRO_BATCHES, MICRO_BATCH = 2, 2, 2
BATCH = WORLD * MICRO_BATCHES * MICRO_BATCH
CONFIG = ExperimentConfig(model=ModelConfig(size="S"), training=TrainingConfig(batch_size=BATCH))
STAGES: tuple[ZeroStage, ...] = (1, 2, 3)
AT_ONCE = 10**6
"""Gradients sent together, of 3e7: as few of all as a large model's."""


@dataclass(frozen=True)
class Found:
    """Numbers that one worker saw at a ZeRO stage."""

    held: int
    """Bytes at the peak of a step."""
    weighed: int
    reads: list[int]
    """Numbers that the host read from the device, in the backward pass of each micro-batch and in the step."""


class Reads(CountOperations):
    """Counts reads of a tensor's number: on a GPU the host waits there for all that was asked of it."""

    def __init__(self) -> None:
        super().__init__(lambda func: func.overloadpacket.__name__ in ("_local_scalar_dense", "nonzero"))


def worker(rank: int, meeting: str, folder: str) -> None:
    deepspeed_engine.REDUCED_AT_ONCE = AT_ONCE
    join(rank, WORLD, meeting)
    found = {stage: vars(measured(stage, rank)) for stage in STAGES}
    (Path(folder) / f"{rank}.json").write_text(json.dumps(found))
    leave()


def measured(stage: ZeroStage, rank: int) -> Found:
    workers = WorkersConfig(WORLD, zero_stage=stage, micro_batch_size=MICRO_BATCH)
    reads, data = list[int](), random_dataset(BATCH, 32)
    with HeldBytes("cpu") as held:
        model = empty_model(CONFIG, SHAPE, (1.0, 1.0))
        engine = DeepSpeedEngine(model, CONFIG.training, workers, torch.device("cpu"))
        initialize_model(engine.module, CONFIG, engine.whole)
        engine.restart()
        paradigm = paradigm_of(CONFIG)
        held.peak = held.now
        for micro in range(MICRO_BATCHES):
            first = (rank * MICRO_BATCHES + micro) * MICRO_BATCH
            batch = training_batch(CONFIG, data, range(first, first + MICRO_BATCH))
            loss = paradigm.loss(engine.model, batch).loss
            with Reads() as read:
                engine.backward(loss)
            reads.append(read.count)
        with Reads() as read:
            norm = engine.step(1e-4)
        assert norm is not None
        reads.append(read.count)
    engine.close()
    weighed = footprint_of(CONFIG, workers)
    return Found(held.peak, weighed.resident_bytes + weighed.activation_bytes, reads)


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Found]:
    folder = tmp_path_factory.mktemp("steps")
    torch.multiprocessing.spawn(worker, (str(folder / uuid.uuid4().hex), str(folder)), nprocs=WORLD)
    workers = [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]
    assert len(workers) == WORLD
    return {stage: Found(**max((one[str(stage)] for one in workers), key=lambda f: f["held"])) for stage in STAGES}


@pytest.mark.parametrize("stage", STAGES)
def test_a_worker_holds_what_is_weighed(found: dict[int, Found], stage: int) -> None:
    assert found[stage].held == pytest.approx(found[stage].weighed, rel=0.1)


@pytest.mark.parametrize(("stage", "reads"), [(1, 2), (2, 2), (3, 1)])
def test_the_host_reads_the_norm_as_often_as_deepspeed_wants_it(
    found: dict[int, Found], stage: int, reads: int
) -> None:
    """`is_invalid_grad_norm` before the step, which it may skip; at ZeRO 1 and 2 again where it clips."""
    assert found[stage].reads == [0] * MICRO_BATCHES + [reads]
