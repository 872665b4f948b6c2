"""A `train` task on one worker of Ray Train: DeepSpeed shards the state, dfm_core's loop does the work."""

from __future__ import annotations

import contextlib
import gc
import json
import logging
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import ray
import ray.train
import torch

from dfm_core.compute import model_cost, training_flops
from dfm_core.config import ExperimentConfig, as_plain
from dfm_core.data.cards import card_of
from dfm_core.data.datasets import measure_scale_std
from dfm_core.data.training_data import TrainingData
from dfm_core.decompositions import build_decomposition
from dfm_core.models.inheritance import inherit
from dfm_core.models.velocity import VelocityModel
from dfm_core.paradigms import build_paradigm
from dfm_core.training.curve import CurveRow
from dfm_core.training.engine import TrainingEngine
from dfm_core.training.loop import train
from dfm_core.training.state import SnapshotCard, build_model
from dfm_core.training.steps import LoopPlan, TrainingDivergedError
from orchestration.board import find_board
from orchestration.checkpoint_uploads import CheckpointCard, CheckpointUploads
from orchestration.checkpoints import Spent, TrainingArtifacts
from orchestration.deepspeed_engine import DeepSpeedEngine
from orchestration.early_stop import EarlyStop, StoppedEarlyError
from orchestration.metering import over_limit
from orchestration.patience import Patience
from orchestration.provenance import environment
from orchestration.pyramids import read_pyramid
from orchestration.results import TaskResult, read_result, write_result
from orchestration.runtime import WorkersConfig
from orchestration.snapshots import read_snapshot
from orchestration.storage import DamagedArtifactError, Store
from orchestration.tasks import SnapshotRef, Task
from orchestration.training_desk import finish, trainings_of
from orchestration.training_inputs import open_training_data
from orchestration.validation import revive

_PROGRESS_SECONDS = 0.5


@dataclass(frozen=True)
class TrainRequest:
    """All that the workers of one training are told; plain data."""

    digest: str
    config: dict[str, Any]
    until_step: int
    snapshot_steps: tuple[int, ...]
    raw_steps: tuple[int, ...]
    initial: SnapshotRef | None
    pyramid: str
    latents: str
    workers: dict[str, Any]
    store_root: str
    store_options: dict[str, str]
    patience: Patience
    board: str


def train_request(task: Task, store: Store, workers: WorkersConfig, board: str) -> TrainRequest:
    """What the workers of a training are told."""
    return TrainRequest(
        digest=task.digest,
        config=as_plain(task.config),
        until_step=task.until_step,
        snapshot_steps=task.snapshot_steps,
        raw_steps=task.raw_steps,
        initial=task.initial,
        pyramid=task.pyramid,
        latents=task.latents,
        workers=as_plain(workers),
        store_root=store.root,
        store_options=store.options,
        patience=store.patience,
        board=board,
    )


def train_worker(loop_config: dict[str, Any]) -> None:
    """One Ray Train worker: one training after the other, until no more come."""
    for serial, request in trainings_of(loop_config["desk"]):
        _train(request)
        if ray.train.get_context().get_world_rank() == 0:
            finish(loop_config["desk"], serial)


def _train(request: TrainRequest) -> None:
    config, workers = revive(ExperimentConfig, request.config), revive(WorkersConfig, request.workers)
    torch.set_num_threads(workers.cpus_per_worker)
    logging.getLogger("DeepSpeed").setLevel(logging.ERROR)
    try:
        _TrainingWorker(request, config, workers).run()
    except Exception as error:
        # The training is tried again; the user should see that it is, and why.
        line = f"worker {ray.train.get_context().get_world_rank()}: {type(error).__name__}: {error}"
        with contextlib.suppress(ray.exceptions.RayError, ValueError):  # no board, no word; the error itself counts
            ray.get(find_board(request.board).stumbled.remote(request.digest, line))
        raise
    gc.collect()  # DeepSpeed's objects refer to each other
    torch.compiler.reset()  # else the next training's blocks count as recompilations, which are few
    torch.cuda.empty_cache()


class _TrainingWorker:
    """One worker of one training, and the observer of its loop."""

    def __init__(self, request: TrainRequest, config: ExperimentConfig, workers: WorkersConfig) -> None:
        self.request, self.config, self.workers = request, config, workers
        self.board = find_board(request.board)
        self.artifacts = TrainingArtifacts(
            Store(request.store_root, request.store_options, request.patience), request.digest
        )
        self.started = time.monotonic()
        self.spent_before = Spent()
        self.last_progress = 0.0
        self.shape = card_of(config.data).shape
        self.scale_std: tuple[float, ...] = ()
        self.pyramid: Mapping[str, torch.Tensor] | None = None
        self.rows: list[CurveRow] = []
        """The curve so far."""

    def run(self) -> None:
        store = self.artifacts.store
        dataset, reason = open_training_data(self.config.data, self.request.latents, store, self.workers)
        if self._cannot_start(reason) or dataset is None:
            return
        self.pyramid = read_pyramid(store, self.request.pyramid) if self.request.pyramid else None
        self.decomposition = build_decomposition(self.config.decomposition, self.pyramid)
        self.scale_std = measure_scale_std(self.decomposition, dataset)
        world, device = ray.train.get_context().get_world_size(), ray.train.torch.get_device()
        if device.type == "cuda":
            torch.cuda.set_device(device)  # where NCCL puts what it sends without being told a device
        model = self._initial_model()
        if model is None:
            return
        micro = self.workers.micro_batch_size or self.config.training.batch_size // world
        engine = DeepSpeedEngine(
            model,
            self.config.training,
            zero_stage=self.workers.zero_stage,
            micro_batch_size=micro,
            device=device,
        )
        self.engine: TrainingEngine[VelocityModel] = engine
        self._run_on_engine(dataset, micro)
        engine.close()  # not after an error: then these processes are not used again

    def _run_on_engine(self, dataset: TrainingData, micro: int) -> None:
        start, self.rows = self._resume()
        limit = self.workers.max_accelerator_hours_per_training
        self.early_stop = EarlyStop(self.board, self.engine, limit, lambda: self._spent().accelerator_seconds)
        try:
            rows = self._train(dataset, micro, start)
        except StoppedEarlyError:
            return  # told to the board; the next submission goes on from the checkpoint
        except TrainingDivergedError as diverged:
            # Not a fault of the machine: starting again would end the same way, so the workers end in peace.
            if self.engine.rank == 0:
                ray.get(self.board.failed.remote(self.request.digest, str(diverged)))
            self.uploads.finish()
            return
        self.uploads.finish()
        if self.engine.rank == 0:
            self._write_result(rows)

    def _initial_model(self) -> VelocityModel | None:
        """With initial weights, or those of the snapshot that the training starts from; None if any worker cannot read
        them, of which the board is told: starting again would read the same. Collective."""
        model, reason = None, ""
        try:
            model = self._with_weights()
        except (DamagedArtifactError, FileNotFoundError) as error:
            hint = "" if isinstance(error, DamagedArtifactError) else "; submit again to make it anew"
            reason = f"the snapshot it starts from cannot be read: {error}{hint}"
        return None if self._cannot_start(reason) else model

    def _cannot_start(self, reason: str) -> bool:
        """Whether any worker has a reason, of which the board is told. Collective."""
        context = ray.train.get_context()
        reasons = [reason] * context.get_world_size()
        torch.distributed.all_gather_object(reasons, reason)
        found = next(filter(None, reasons), "")
        if found and context.get_world_rank() == 0:
            ray.get(self.board.failed.remote(self.request.digest, found))
        return bool(found)

    def _with_weights(self) -> VelocityModel:
        model = build_model(self.config, self.shape, self.scale_std)
        if self.request.initial is not None:
            before = read_snapshot(self.artifacts.store, self.request.initial)
            inherit(model, self.config, before.model.state_dict())
        if self.workers.activation_checkpointing:
            model.use_activation_checkpointing()
        if self.workers.compile:
            model.compile_blocks()
        return model

    def _resume(self) -> tuple[int, list[CurveRow]]:
        """Loads the newest sound checkpoint from which every missing snapshot can still be made."""
        chosen: list[Any] = [None]
        if self.engine.rank == 0:  # one looks, all do the same: what two workers see in a store can differ
            missing = self.artifacts.missing_snapshots(self.request.snapshot_steps, self.request.raw_steps)
            begin = self.artifacts.newest_sound_step(min([*missing, self.request.until_step]))
            chosen = [(begin, begin in missing, uuid.uuid4().hex[:8])]
        torch.distributed.broadcast_object_list(chosen, src=0)
        ((start, snapshot_missing, attempt),) = chosen
        self.uploads = CheckpointUploads(self.artifacts, self.engine, attempt, self.workers.keep_checkpoints)
        if start == 0:
            return 0, []
        point = self.artifacts.load_checkpoint(start)
        self.engine.load(point.state, start)
        self.spent_before = point.spent
        if snapshot_missing:
            self._save_snapshots(start)
        return start, list(point.curve)

    def _train(self, dataset: TrainingData, micro: int, start: int) -> list[CurveRow]:
        request, every = self.request, self.workers.checkpoint_every
        checkpoints = {*range(every, request.until_step + 1, every), request.until_step}
        plan = LoopPlan(
            until_step=request.until_step,
            micro_batch_size=micro,
            log_every=self.workers.log_every,
            save_at=frozenset(checkpoints | set(request.snapshot_steps) | set(request.raw_steps)),
        )
        self.checkpoint_steps = checkpoints
        paradigm = build_paradigm(self.config, self.decomposition, self.scale_std)
        return train(self.config, paradigm, dataset, self.engine, plan, self, start_step=start, curve=list(self.rows))

    def progress(self, step: int) -> None:
        self.early_stop.look()
        if self.engine.rank == 0 and time.monotonic() - self.last_progress > _PROGRESS_SECONDS:
            self.last_progress = time.monotonic()
            self.board.reached.remote(self.request.digest, step)
        # Only where the curve has a point: a checkpoint in between would change the next point's mean.
        if self.rows and step == self.rows[-1]["step"] and step < self.request.until_step:
            self._stop_early(step)

    def _stop_early(self, step: int) -> None:
        """Ends the training at a checkpoint if the driver wants it, or its limit is reached. Collective."""
        reason = self.early_stop.agreed()
        if not reason:
            return
        if step not in self.checkpoint_steps:
            self._save_checkpoint(step, self.rows)
        self.uploads.finish()  # who hears that it stopped may end the cluster
        if self.engine.rank == 0 and reason == "driver":
            ray.get(self.board.stopped.remote(self.request.digest, step))
        elif self.engine.rank == 0:
            limit = self.workers.max_accelerator_hours_per_training
            assert limit is not None, "only a limit can be reached"
            why = f"at step {step} of {self.request.until_step}, "
            why += over_limit(self._spent().accelerator_seconds, limit)
            ray.get(self.board.failed.remote(self.request.digest, why))
        raise StoppedEarlyError(reason)

    def log(self, row: CurveRow) -> None:
        self.rows.append(row)
        if self.engine.rank == 0:
            self.board.curve.remote(self.request.digest, [row])

    def save(self, step: int, curve: list[CurveRow]) -> None:
        self._save_snapshots(step)
        if step in self.checkpoint_steps:
            self._save_checkpoint(step, curve)

    def _save_checkpoint(self, step: int, curve: list[CurveRow]) -> None:
        # Ray Train is told of no checkpoint: its report is a barrier, and what it would know, the manifests say.
        self.uploads.save(CheckpointCard(step, tuple(curve), self.scale_std, self._spent()))

    def _save_snapshots(self, step: int) -> None:
        """What is wanted of this step; evaluations can begin on it while the training goes on."""
        if step in self.request.raw_steps:
            self.artifacts.save_raw_weights(self.engine, step)
        if step in self.request.snapshot_steps:
            card = SnapshotCard(step, self.shape, self.scale_std)
            self.artifacts.save_snapshot(self.engine, self.config, card, self.pyramid)
            if self.engine.rank == 0:
                self.board.published.remote(self.request.digest, step)

    def _spent(self) -> Spent:
        """Up to now, earlier attempts included."""
        return self.spent_before.plus(time.monotonic() - self.started, self.engine.world_size)

    def _write_result(self, rows: list[CurveRow]) -> None:
        cost = model_cost(self.config, self.shape)
        until = self.request.until_step
        known = read_result(self.artifacts.store, self.request.digest)
        if known is not None and known.step > until:
            return  # a longer run of this trajectory is on record; this one only filled in a snapshot
        result = TaskResult(
            digest=self.request.digest,
            kind="train",
            metrics={
                "accelerator_seconds": self._spent().accelerator_seconds,
                "training_flops": float(training_flops(self.config, cost, until)),
                "training_images": float(until * self.config.training.batch_size),
                "num_parameters": float(cost.num_parameters),
            },
            seconds=self._spent().seconds,
            step=until,
            curve=tuple(rows),
            about={
                "scale_std": list(self.scale_std),
                "world_size": self.engine.world_size,
                "zero_stage": self.workers.zero_stage,
                "device": str(self.engine.device),
                "worker": json.loads(json.dumps(environment())),
            },
        )
        write_result(self.artifacts.store, result)
