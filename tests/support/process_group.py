"""Trainings in a real gloo process group, without Ray: several jobs one after the other in the same processes."""

from __future__ import annotations

import hashlib
import json
import os
import sys
import uuid
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

import torch
import torch.distributed
import torch.multiprocessing

from dfm_core.catalog.datasets import DataShape
from dfm_core.config import ExperimentConfig, ModelConfig, SamplingConfig, TrainingConfig
from dfm_core.data.image_dataset import load_dataset
from dfm_core.decompositions import build_decomposition
from dfm_core.paradigms import build_paradigm
from dfm_core.paradigms.standardization import measure_scale_std
from dfm_core.training.curve import CurveRow
from dfm_core.training.divergence import TrainingDivergedError
from dfm_core.training.engine import STATE_KINDS, StateKind
from dfm_core.training.loop import train
from dfm_core.training.state import empty_model, initialize_model
from dfm_core.training.steps import LoopPlan
from orchestration.config.workers import WorkersConfig, ZeroStage
from orchestration.storage.store import Store
from orchestration.training import hang_watch
from orchestration.training.deepspeed_engine import DeepSpeedEngine
from orchestration.training.fault_hook import with_faults
from orchestration.training.hang_watch import StepWatch, end_hung
from tests.support.collectives import CountCollectives
from tests.support.state_folders import read_folder, write_state_pieces

CONFIG = ExperimentConfig(
    model=ModelConfig(size="nano"),
    training=TrainingConfig(batch_size=8, learning_rate=4e-3, warmup_steps=3, ema_decay=0.9, gradient_clip=0.5),
    sampling=SamplingConfig(steps=(3, 2)),
)
LAST_STEP, CUT_STEP = 10, 5
VARIANTS: dict[str, ExperimentConfig] = {
    "plain": CONFIG,
    "specialized": replace(CONFIG, model=replace(CONFIG.model, specialization="full")),
    "adapted": replace(CONFIG, model=replace(CONFIG.model, lora_rank=4)),
    "tokenformer": replace(CONFIG, model=replace(CONFIG.model, backbone="tokenformer")),
    "grids": replace(CONFIG, model=replace(CONFIG.model, patch_sizes=(4, 4), patch_grid="per_stage")),
}
"""Architectures whose batches mix stages, by name. With the first stage at 0.9 a worker's four samples often have one
stage only: then it has no sample for the weights of the other, and its partner may."""


@dataclass(frozen=True)
class Job:
    """One training, or a half of one."""

    name: str
    zero_stage: ZeroStage
    micro_batch_size: int
    start: int = 0
    until: int = LAST_STEP
    save_to: str = ""
    resume_from: str = ""
    variant: str = "plain"
    activation_checkpointing: bool = False
    faults: str = ""
    """On purpose, as in `DFM_FAULT`; each happens once for all jobs of a folder."""
    hung_after_seconds: float = 60.0
    num_steps: int | None = None
    """Steps of the optimiser in the state to resume from; None: `start`."""


@dataclass(frozen=True)
class Finding:
    """Results of a job."""

    losses: list[float]
    """Loss of every step from the job's start; steps that were skipped are left out."""
    ema: list[float]
    """Sum and sum of squares of the averaged weights."""
    num_steps: int
    """Steps of the optimiser."""
    state: str
    """sha256 of all whole tensors at the end."""
    saved_bytes: list[int]
    """Bytes of the file of each worker, if the state was saved."""
    collectives: int
    """Started by all workers while they saved it, and in a barrier after it."""
    diverged: list[str]
    """Error of each worker, if the training diverged."""


class _Saver:
    def __init__(self, engine: DeepSpeedEngine, directory: str, watch: StepWatch) -> None:
        self.engine, self.directory, self.watch = engine, directory, watch
        self.saved_bytes = self.collectives = 0

    def waited(self, seconds: float) -> None: ...

    def progress(self, step: int) -> None:  # noqa: ARG002
        self.watch.stepped()

    def log(self, row: CurveRow) -> None: ...

    def save(self, step: int, curve: list[CurveRow]) -> None:  # noqa: ARG002
        Path(self.directory).mkdir(exist_ok=True, parents=True)
        with CountCollectives() as counted:
            written = write_state_pieces(self.engine, Path(self.directory))
            self.engine.barrier()
        self.saved_bytes, self.collectives = written.stat().st_size, counted.count


def run_jobs(world_size: int, jobs: list[Job], folder: Path) -> dict[str, Finding]:
    """Runs jobs in order on `world_size` processes and returns what each found, by name."""
    meeting = folder / f"meeting-{uuid.uuid4().hex}"  # a file: a free port may be somebody else's a moment later
    torch.multiprocessing.spawn(_run, (world_size, str(meeting), jobs, str(folder)), nprocs=world_size)
    found = {}
    for job in jobs:
        data = json.loads((folder / f"{job.name}.json").read_text())
        found[job.name] = Finding(**data)
    return found


def whole_tensors(engine: DeepSpeedEngine, kind: StateKind) -> list[tuple[str, torch.Tensor]]:
    """Return whole tensors from all workers' pieces. Collective."""
    own = {piece.name: (piece.offset, piece.values.clone()) for piece in engine.pieces(kind)}
    everyone: list[Any] = [None] * engine.world_size
    torch.distributed.all_gather_object(everyone, own)
    names = [name for name, _ in engine.module.named_parameters()]
    return [
        (name, torch.cat([values for _, values in sorted((one[name] for one in everyone if name in one), key=_offset)]))
        for name in names
    ]


def state_digest(engine: DeepSpeedEngine) -> str:
    """Return the sha256 of the whole state. Collective."""
    digest = hashlib.sha256()
    for kind in STATE_KINDS:
        for name, tensor in whole_tensors(engine, kind):
            digest.update(name.encode() + tensor.numpy().tobytes())
    return digest.hexdigest()


def _offset(piece: tuple[int, torch.Tensor]) -> int:
    return piece[0]


class _NoBoard:
    """A driver that listens to nobody."""

    def __getattr__(self, name: str) -> Any:
        return SimpleNamespace(remote=lambda *_arguments: None)


def join(rank: int, world_size: int, meeting: str) -> None:
    """This process as one of a gloo group, as Ray Train would set it up. Args: meeting: a file of all of them."""
    torch.set_num_threads(1)
    os.environ.update(
        RANK=str(rank),
        LOCAL_RANK=str(rank),
        WORLD_SIZE=str(world_size),
        LOCAL_WORLD_SIZE=str(world_size),
    )
    torch.distributed.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=world_size)


def leave() -> NoReturn:
    """Ends this process of a group once all are done.

    Not by the interpreter's end: there a thread of gloo that lets go of a Python object aborts the process, seen once.
    """
    torch.distributed.barrier()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def _run(rank: int, world_size: int, meeting: str, jobs: list[Job], folder: str) -> None:
    hang_watch._OTHERS_SECONDS = 10.0  # on a busy machine one may notice seconds after the other
    join(rank, world_size, meeting)
    dataset = load_dataset("fashion_mnist", "train")
    scale_std = measure_scale_std(build_decomposition(CONFIG.decomposition), dataset)
    for job in jobs:
        config = VARIANTS[job.variant]
        model = empty_model(config, DataShape(1, 10), scale_std)
        if job.activation_checkpointing:
            model.use_activation_checkpointing()
        engine = DeepSpeedEngine(
            model,
            config.training,
            WorkersConfig(world_size, zero_stage=job.zero_stage, micro_batch_size=job.micro_batch_size),
            torch.device("cpu"),
        )
        store = Store(f"{folder}/store")
        if job.resume_from:
            num_steps = job.start if job.num_steps is None else job.num_steps
            engine.load(read_folder(Path(job.resume_from)), num_steps)
        else:
            initialize_model(engine.module, config, engine.whole)
            engine.restart()
        plan = LoopPlan(job.until, job.micro_batch_size, 1, frozenset({job.until} if job.save_to else ()), 3)
        paradigm = with_faults(
            build_paradigm(config, build_decomposition(config.decomposition), scale_std),
            job.faults,
            rank,
            config.training.batch_size,
            store,
        )
        end = partial(end_hung, store, _NoBoard(), job.name, "attempt", rank)
        watch, rows, diverged = StepWatch(job.hung_after_seconds, end), list[CurveRow](), ""
        saver = _Saver(engine, job.save_to, watch)
        try:
            with watch:
                rows = train(config, paradigm, dataset, engine, plan, saver, start_step=job.start)
        except TrainingDivergedError as error:
            diverged = str(error)
        told: list[Any] = [None] * world_size
        torch.distributed.all_gather_object(told, (diverged, saver.saved_bytes, saver.collectives))
        state = state_digest(engine)
        average = torch.cat([tensor.double().flatten() for _, tensor in whole_tensors(engine, "ema")])
        if rank == 0:
            data = {
                "losses": [row["loss"] for row in rows],
                "ema": [float(average.sum()), float(average.norm())],
                "num_steps": engine.num_steps,
                "state": state,
                "saved_bytes": [size for _, size, _ in told],
                "collectives": sum(count for *_, count in told),
                "diverged": [reason for reason, *_ in told if reason],
            }
            (Path(folder) / f"{job.name}.json").write_text(json.dumps(data))
    leave()
