"""A `train` task on one worker of Ray Train: DeepSpeed shards the state, dfm_core's loop does the work."""

from __future__ import annotations

import contextlib
import gc
import json
import logging
import resource
import time
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import ray
import ray.train
import torch

from dfm_core.compute import model_cost, training_flops
from dfm_core.config.dataset_card import card_of
from dfm_core.data.training_data import TrainingData
from dfm_core.decompositions import Decomposition, build_decomposition
from dfm_core.models.initialization import inherited_names
from dfm_core.models.network import VelocityNetwork
from dfm_core.paradigms import build_paradigm
from dfm_core.paradigms.standardization import measure_scale_std
from dfm_core.training.curve import CurveRow
from dfm_core.training.loop import train
from dfm_core.training.state import SnapshotCard, empty_model, initialize_model
from dfm_core.training.steps import LoopPlan, Observer
from orchestration.artifacts.learned_pyramid import read_pyramid
from orchestration.artifacts.snapshot_loader import opened_snapshot
from orchestration.artifacts.task_record import COST_METRIC, EXECUTED, TaskRecord, read_record, write_record
from orchestration.artifacts.training_artifacts import StateArtifact, TrainingArtifacts
from orchestration.artifacts.unmoved_weights import UnmovedWeights
from orchestration.cluster.address import reach_nodes_directly
from orchestration.common.redaction import shown
from orchestration.control.failure_policy import MEMORY, failure_of
from orchestration.control.progress_board import find_progress_board
from orchestration.control.work_queue import finish, trainings_of
from orchestration.plan.executed_flops import executed_flops
from orchestration.storage.layout import SnapshotRef
from orchestration.storage.store import DamagedArtifactError
from orchestration.tasks.task import FinetuneAutoencoderTask, TrainTask
from orchestration.training.autoencoder_worker import finetune_autoencoder
from orchestration.training.backbone_start import BackboneChangedError, opened_backbone
from orchestration.training.checkpointed_run import CheckpointedRun
from orchestration.training.deepspeed_engine import DeepSpeedEngine
from orchestration.training.fault_hook import with_faults
from orchestration.training.train_request import TrainRequest
from orchestration.training.worker_setup import (
    agreed_reason,
    gather_texts,
    open_captions,
    open_training_data,
    use_kernels,
    worker_device,
)


def train_worker(loop_config: dict[str, Any]) -> None:
    """Run the trainings of a work queue on one Ray Train worker, one after the other, until no more come."""
    reach_nodes_directly()
    for serial, request in trainings_of(loop_config["work_queue"]):
        _train(request)
        if ray.train.get_context().get_world_rank() == 0:
            finish(loop_config["work_queue"], serial)


def _train(request: TrainRequest) -> None:
    torch.set_num_threads(request.workers.cpus_per_worker)
    logging.getLogger("DeepSpeed").setLevel(logging.ERROR)
    try:
        match request.task:
            case FinetuneAutoencoderTask() as task:
                finetune_autoencoder(request, task)
            case TrainTask() as task:
                _TrainingWorker(request, task).run()
    except Exception as error:
        failure = failure_of(error)
        if failure.kind is MEMORY:
            held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
            raise MemoryError(f"{failure.error} (this worker held {held:.1f} GiB at most)") from None
        if failure.kind.is_retried:  # shown to the user
            line = shown(str(failure), request.storage.options)
            line = f"worker {ray.train.get_context().get_world_rank()}: {line}"
            with contextlib.suppress(ray.exceptions.RayError, ValueError):  # no board: the error itself counts
                ray.get(find_progress_board(request.progress_board).retried.remote(request.task.digest, line))
        raise
    gc.collect()  # DeepSpeed's objects refer to each other
    torch.compiler.reset()  # else the next training's blocks count as recompilations, which are few
    torch.cuda.empty_cache()


class _TrainingWorker:
    """One worker of one training."""

    def __init__(self, request: TrainRequest, task: TrainTask) -> None:
        self.request, self.task, self.config, self.workers = request, task, task.config, request.workers
        self.artifacts = TrainingArtifacts(request.open_store(), task.digest)
        self.started = time.monotonic()
        self.shape = card_of(task.config.data).shape
        self.origins: Mapping[str, str] = {}
        """Tensor of the backbone by the name of the weight that it gave."""
        self.frozen: Collection[str] = ()
        """Names of the weights that are not trained."""

    def unmoved(self, step: int) -> UnmovedWeights:
        """Return the weights that are after a step what they were in the backbone; before the first step, all."""
        names = {name: origin for name, origin in self.origins.items() if not step or name in self.frozen}
        if self.task.initial is not None:
            return UnmovedWeights(names, snapshot=self.task.initial)
        described = self.config.model.described
        return UnmovedWeights(names, files=self.task.start_files, identity=described.identity if described else "")

    def run(self) -> None:
        task, store = self.task, self.artifacts.store
        batch_size = self.config.training.batch_size
        dataset, reason = open_training_data(self.config.data, task.latents, store, self.workers, batch_size)
        texts = None
        if task.texts and not reason:
            texts, reason = open_captions(self.request, task, store, worker_device())
        if agreed_reason(self.request, reason) or dataset is None:
            return
        pyramid = read_pyramid(store, task.pyramid) if task.pyramid else None
        decomposition = build_decomposition(self.config.decomposition, pyramid)
        scale_std = self._scale_std(decomposition, dataset)
        model = empty_model(self.config, self.shape, scale_std)
        if texts is not None:
            model.use_text(texts)
        if self.workers.activation_checkpointing:
            model.use_activation_checkpointing()
        on_gpu = self.workers.use_gpu and self.workers.zero_stage < 3  # which gathers between blocks
        if self.workers.compiles(on_gpu=on_gpu, has_one_graph=model.has_one_graph):
            model.compile_blocks()
        device = worker_device()
        use_kernels(deterministic=self.config.training.deterministic)
        engine = DeepSpeedEngine(model, self.config.training, self.workers, device)
        if engine.frozen and not self._initialize(engine):  # no checkpoint holds what is frozen
            engine.close()
            return
        run = CheckpointedRun(
            self.request,
            self.artifacts,
            engine,
            _Snapshots(self, scale_std, pyramid),
            self.started,
            lambda: self._initialize(engine),
            scale_std,
        )
        paradigm = with_faults(
            build_paradigm(self.config, decomposition, scale_std),
            self.request.faults,
            engine.rank,
            self.config.training.batch_size,
            store,
        )

        def loop(plan: LoopPlan, observer: Observer, start: int, curve: list[CurveRow]) -> list[CurveRow]:
            return train(self.config, paradigm, dataset, engine, plan, observer, start_step=start, curve=curve)

        rows = run.run(loop, self.config.training.batch_size)
        if rows is not None and engine.rank == 0:
            self._write_result(run, rows)
        engine.close()

    def _scale_std(self, decomposition: Decomposition, dataset: TrainingData) -> tuple[float, ...]:
        """Return the standard deviation of each scale: what the newest checkpoint says, else measured. Collective."""
        own = ""
        if ray.train.get_context().get_world_rank() == 0:
            of = self.artifacts.known_scale_std()
            if not of and self.task.continued is not None:
                of = TrainingArtifacts(self.artifacts.store, self.task.continued[0]).known_scale_std()
            own = json.dumps(of)
        known, *_ = gather_texts(own, worker_device())
        return tuple(json.loads(known)) or measure_scale_std(decomposition, dataset)

    def _initialize(self, engine: DeepSpeedEngine[VelocityNetwork]) -> bool:
        """Set initial weights, or those of a snapshot. Returns False if any worker cannot read them, which is reported
        to the progress board: a restart would read the same. Collective."""
        if self.config.model.described is not None:
            return self._start_from_backbone(engine)
        reason = ""
        if self.task.initial is None or self.config.paradigm == "cascaded":
            initialize_model(engine.module, self.config, engine.whole)
        try:
            if self.task.initial is not None:
                self._inherit(engine, self.task.initial)
        except (DamagedArtifactError, FileNotFoundError) as error:
            reason = _unreadable(error)
        engine.restart()
        return not agreed_reason(self.request, reason)

    def _start_from_backbone(self, engine: DeepSpeedEngine[VelocityNetwork]) -> bool:
        """Set the weights that a backbone gives, and the initial values of all others. Returns: as `_initialize`."""
        unusable = (BackboneChangedError, DamagedArtifactError, FileNotFoundError)
        with contextlib.ExitStack() as stack:
            start, reason = None, ""
            try:
                given = opened_backbone(engine.module, self.task, self.artifacts.store, self.request.storage)
                start = stack.enter_context(given)
            except unusable as error:
                reason = _unreadable(error)
            if agreed_reason(self.request, reason) or start is None:  # before anybody waits for others' weights
                return False
            self.origins, self.frozen = start.origins, engine.frozen
            initialize_model(engine.module, self.config, engine.whole, start.origins)
            try:
                with stack.pop_all():
                    if start.state is not None:
                        engine.set_weights(start.state, start.kind, start.origins)
            except unusable as error:
                reason = _unreadable(error)
        engine.restart()
        return not agreed_reason(self.request, reason)

    def _inherit(self, engine: DeepSpeedEngine[VelocityNetwork], snapshot: SnapshotRef) -> None:
        with opened_snapshot(self.artifacts.store, snapshot) as weights:
            engine.set_weights(weights, "ema", inherited_names(self.config, engine.sizes, weights.sizes("ema")))

    def _write_result(self, run: CheckpointedRun, rows: list[CurveRow]) -> None:
        model = model_cost(self.config, self.shape)
        until = self.task.until_step
        earlier = read_record(self.artifacts.store, self.task.digest)
        if earlier is not None and earlier.step > until:
            return  # a longer run of this trajectory is on record; this one only filled in a snapshot
        cost, flops = run.cost(), training_flops(self.config, model, self.task.num_steps)
        executed = executed_flops(self.config, flops, self.task.num_steps, self.workers)
        result = TaskRecord(
            digest=self.task.digest,
            kind="train",
            metrics={
                COST_METRIC: cost.accelerator_seconds,
                "training_flops": float(flops),
                "training_images": float(self.task.num_steps * self.config.training.batch_size),
                "num_parameters": float(model.num_parameters),
            },
            seconds=cost.seconds,
            step=until,
            curve=tuple(rows),
            about={"scale_std": list(run.scale_std), EXECUTED: executed, **run.about()},
        )
        write_record(self.artifacts.store, result)


def _unreadable(error: Exception) -> str:
    """Return why a training cannot start, as the progress board tells it."""
    if isinstance(error, BackboneChangedError):
        return str(error)
    hint = "" if isinstance(error, DamagedArtifactError) else "; submit again to make it anew"
    return f"the snapshot it starts from cannot be read: {error}{hint}"


class _Snapshots:
    """The `Publisher` of averaged weights and, if asked for, of those before averaging."""

    def __init__(
        self, worker: _TrainingWorker, scale_std: tuple[float, ...], pyramid: Mapping[str, torch.Tensor] | None
    ) -> None:
        self._worker, self._scale_std, self._pyramid = worker, scale_std, pyramid
        self._task, self._board = worker.task, find_progress_board(worker.request.progress_board)

    @property
    def steps(self) -> frozenset[int]:
        return frozenset({*self._task.snapshot_steps, *self._task.raw_steps})

    def missing(self) -> Sequence[int]:
        return self._worker.artifacts.missing_snapshots(self._task.snapshot_steps, self._task.raw_steps)

    def artifacts(self, step: int) -> list[StateArtifact]:
        task, worker = self._task, self._worker

        def published() -> None:  # evaluations can begin while the training goes on
            self._board.published.remote(task.digest, step)

        unmoved = worker.unmoved(step)
        artifacts = [worker.artifacts.raw_weights(step, unmoved)] if step in task.raw_steps else []
        if step in task.snapshot_steps:
            card = SnapshotCard(step, worker.shape, self._scale_std)
            artifacts.append(worker.artifacts.snapshot(worker.config, card, self._pyramid, published, unmoved))
        return artifacts
