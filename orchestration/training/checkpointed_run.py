"""One worker's run of a training of any kind: it resumes, writes checkpoints, reports progress and stops early."""

from __future__ import annotations

import json
import logging
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import ray
import ray.train
from ray.train import get_preemption_info

from dfm_core.training.curve import CurveRow
from dfm_core.training.divergence import TrainingDivergedError
from dfm_core.training.engine import TrainingEngine
from dfm_core.training.steps import LoopPlan, Observer
from orchestration.artifacts.provenance import environment
from orchestration.artifacts.task_record import STARTUP
from orchestration.artifacts.training_artifacts import StateArtifact, TrainingArtifacts, TrainingCost
from orchestration.control.budget_meter import over_limit
from orchestration.control.failure_policy import failure_of
from orchestration.control.progress_board import find_progress_board
from orchestration.storage.layout import SnapshotRef, TaskPaths
from orchestration.storage.store import DamagedArtifactError
from orchestration.tasks.task import TrainTask
from orchestration.tracking.node_metrics import NodeMetrics
from orchestration.training.checkpoint_upload import StateUploads
from orchestration.training.early_stop import EarlyStop, PreemptedError, StoppedEarlyError
from orchestration.training.hang_watch import COMPILATION_SECONDS, StepWatch, end_hung
from orchestration.training.run_report import Pace, Throughput, of_all_ranks, report_checkpoint
from orchestration.training.train_request import TrainRequest
from orchestration.training.worker_setup import agreed_reason, gather_texts

_PROGRESS_SECONDS = 0.5
_LOG = logging.getLogger(__name__)
Loop = Callable[[LoopPlan, Observer, int, list[CurveRow]], list[CurveRow]]
"""Function that trains by a plan, from a step with its curve so far, and returns the whole curve."""


class Publisher(Protocol):
    """The artifacts that a training publishes on its way, beside its checkpoints."""

    @property
    def steps(self) -> frozenset[int]:
        """Steps after which something is published."""

    def missing(self) -> Sequence[int]:
        """Return the steps of which something is not in the store; only worker 0 asks."""

    def artifacts(self, step: int) -> list[StateArtifact]:
        """Return what is to be saved after a step; most steps have nothing."""


class CheckpointedRun(Observer):
    """Observes a training's loop."""

    def __init__(
        self,
        request: TrainRequest,
        artifacts: TrainingArtifacts,
        engine: TrainingEngine,
        publisher: Publisher,
        started: float,
        initialize: Callable[[], bool],
        scale_std: tuple[float, ...] = (),
    ) -> None:
        """Args: started: start of this attempt's cost on the monotonic clock. initialize: collective; sets the engine's
        initial state, or returns False if it cannot be read, which the progress board knows then. scale_std: standard
        deviations of the training data's scales, for those who resume."""
        self.request, self.artifacts = request, artifacts
        self.task, self.workers = request.task, request.workers
        self.engine, self.publisher, self.started, self.scale_std = engine, publisher, started, scale_std
        self.initialize = initialize
        self.progress_board = find_progress_board(request.progress_board)
        every = self.workers.checkpoint_every
        self.checkpoint_steps = {*range(every, self.task.until_step + 1, every), self.task.until_step}
        self.cost_before = TrainingCost()
        self.last_progress = 0.0
        self.startup_seconds: float | None = None
        self.rows: list[CurveRow] = []
        """The curve so far."""

    def run(self, loop: Loop, batch_size: int) -> list[CurveRow] | None:
        """Train to the end. Returns the curve; None if it stopped early, as the progress board is told. Collective.

        Args: batch_size: global.
        """
        compiles = self.engine.device.type == "cuda" and self.workers.compile is not False
        least = max(self.workers.hung_after_seconds, COMPILATION_SECONDS if compiles else 0.0)
        self.watch = StepWatch(least, self._end_hung)
        resumed = self._resume()
        if resumed is None:
            return None
        start, self.rows = resumed
        self.batch_size, self.pace = batch_size, Pace(start)
        flops = self.task.flops / max(1, self.task.num_steps) if isinstance(self.task, TrainTask) else 0.0
        device, node = self.engine.device, None
        if self.request.system_metrics and ray.train.get_context().get_local_rank() == 0:
            node = NodeMetrics(has_gpu=device.type == "cuda")
        self.throughput = Throughput(start, batch_size, flops, self.engine.world_size, device, node)
        limit = self.workers.max_accelerator_hours_per_training
        self.early_stop = EarlyStop(
            self.progress_board, self.engine, limit, lambda: self.cost().accelerator_seconds, get_preemption_info
        )
        plan = LoopPlan(
            until_step=self.task.until_step,
            micro_batch_size=self.workers.micro_batch(batch_size),
            log_every=self.workers.log_every,
            save_at=frozenset(self.checkpoint_steps | self.publisher.steps),
            host_threads=self.workers.cpus_per_worker,
        )
        try:
            with self.watch:
                rows = loop(plan, self, start, list(self.rows))
        except StoppedEarlyError:
            return None  # the next submission resumes from the checkpoint
        except TrainingDivergedError as diverged:
            # Not a fault of the machine: a restart would end the same way, so the workers end without an error.
            if self.engine.rank == 0:
                ray.get(self.progress_board.failed.remote(self.task.digest, str(failure_of(diverged))))
            self.uploads.finish()
            return None
        self.uploads.finish()
        return rows

    def cost(self) -> TrainingCost:
        """Return the cost up to now, earlier attempts included."""
        return self.cost_before.plus(time.monotonic() - self.started, self.engine.world_size)

    def about(self) -> dict[str, Any]:
        """Return the part of the record that says where and how it ran."""
        startup = {} if self.startup_seconds is None else {STARTUP: round(self.startup_seconds, 3)}
        return {
            **startup,
            "skipped_steps": self.task.until_step - self.engine.num_steps,
            "world_size": self.engine.world_size,
            "zero_stage": self.workers.zero_stage,
            "device": str(self.engine.device),
            "worker": json.loads(json.dumps(environment())),
        }

    def _resume(self) -> tuple[int, list[CurveRow]] | None:
        """Load the newest sound checkpoint from which all missing artifacts can still be made. Collective.

        Returns: its step and curve; step 0 if there is none; None if the initial state cannot be read either.
        """
        own = ""
        if self.engine.rank == 0:  # one decides for all: two workers may see different things in a store
            missing = list(self.publisher.missing())
            most = min([*missing, self.task.until_step])
            steps = [step for step in self.artifacts.checkpoint_steps() if step <= most]
            own = json.dumps([steps, missing, uuid.uuid4().hex[:8]])
        chosen, *_ = gather_texts(own, self.engine.device)
        steps, missing, attempt = json.loads(chosen)
        self.missing, self.attempt = frozenset[int](missing), str(attempt)
        self.uploads = StateUploads(self.artifacts.store, self.engine, self.attempt, self.watch.paused)
        for step in reversed(steps):
            problem = self._load(step)
            problems = list(filter(None, gather_texts(problem, self.engine.device)))
            if not problems:
                self.uploads.save(step, self._missing_artifacts(step))
                return step, list(self.rows)
            if self.engine.rank == 0:
                _LOG.warning("%s; falling back to the checkpoint before", problems[0])
        self.rows, self.cost_before = [], TrainingCost()
        if isinstance(self.task, TrainTask) and self.task.continued is not None:
            return self._take_over(self.task.continued)
        if not self.initialize():
            return None
        self.uploads.save(0, self._missing_artifacts(0))
        return 0, []

    def _take_over(self, origin: SnapshotRef) -> tuple[int, list[CurveRow]] | None:
        """Begin with the whole state of another training at its last step; its curve goes on, its cost is its own.

        Returns: as `_resume`. Collective.
        """
        problem = self._load(origin[1], TrainingArtifacts(self.artifacts.store, origin[0]))
        hint = f"remove {TaskPaths(origin[0]).result} and submit again to make it anew"
        if agreed_reason(
            self.request, f"the state it goes on from cannot be read: {problem}; {hint}" if problem else ""
        ):
            return None
        self.cost_before = TrainingCost()
        return origin[1], list(self.rows)

    def _load(self, step: int, artifacts: TrainingArtifacts | None = None) -> str:
        """Read and verify this worker's slices of a checkpoint. Returns why that cannot be done, "" if it is.

        Args: artifacts: of the training that made it; None: its own.
        """
        try:
            with (artifacts or self.artifacts).opened_checkpoint(step) as point:
                self.engine.load(point.state, point.num_steps)
        except (DamagedArtifactError, FileNotFoundError) as error:
            return str(error)
        self.rows, self.cost_before = list(point.curve), point.cost
        return ""

    def _missing_artifacts(self, step: int) -> list[StateArtifact]:
        return self.publisher.artifacts(step) if step in self.missing else []

    def _end_hung(self, report: str) -> None:
        store, digest = self.artifacts.store, self.task.digest
        end_hung(store, self.progress_board, digest, self.attempt, self.engine.rank, report)

    def waited(self, seconds: float) -> None:
        self.throughput.waited(seconds)

    def progress(self, step: int) -> None:
        self.watch.stepped()
        if self.startup_seconds is None:
            self.startup_seconds = time.monotonic() - self.started
        self.early_stop.look()
        if self.engine.rank == 0 and time.monotonic() - self.last_progress > _PROGRESS_SECONDS:
            self.last_progress = time.monotonic()
            self.progress_board.reached.remote(self.task.digest, step)
        # Only where the curve has a point: a checkpoint in between would change the next point's mean.
        if self.rows and step == self.rows[-1]["step"] and step < self.task.until_step:
            self._stop_early(step)

    def _stop_early(self, step: int) -> None:
        """End the training at a checkpoint if the driver asks for it, or its limit is reached. Collective."""
        reason = self.early_stop.agreed()
        if not reason:
            return
        if step not in self.checkpoint_steps:
            self._save([], step, self.rows)
        self.uploads.finish()  # the driver may end the cluster once it knows
        if reason == "preempted":
            raise PreemptedError(f"a node is to be taken away; it goes on from step {step} on others")
        if self.engine.rank == 0 and reason == "driver":
            ray.get(self.progress_board.stopped.remote(self.task.digest, step))
        elif self.engine.rank == 0:
            limit = self.workers.max_accelerator_hours_per_training
            assert limit is not None, "only a limit can be reached"
            why = f"at step {step} of {self.task.until_step}, "
            why += over_limit(self.cost().accelerator_seconds, limit)
            ray.get(self.progress_board.failed.remote(self.task.digest, why))
        raise StoppedEarlyError(reason)

    def log(self, row: CurveRow) -> None:
        self.rows.append(row)
        # For MLflow alone: a curve is the same on any machine, its speed is not.
        own = json.dumps(self.throughput.metrics(int(row["step"])))
        ranks = [json.loads(text) for text in gather_texts(own, self.engine.device)]
        if self.engine.rank == 0:
            self.progress_board.curve.remote(self.task.digest, [row | of_all_ranks(ranks)])

    def save(self, step: int, curve: list[CurveRow]) -> None:
        artifacts = self._missing_artifacts(step)
        if step in self.checkpoint_steps:
            self._save(artifacts, step, curve)
        else:
            self.uploads.save(step, artifacts)

    def _save(self, artifacts: list[StateArtifact], step: int, curve: list[CurveRow]) -> None:
        """Save these artifacts and a checkpoint."""
        keep, cost = self.workers.keep_checkpoints, self.cost()
        checkpoint = self.artifacts.checkpoint(self.engine, step, keep, curve, self.scale_std, cost)
        speed = self.pace.since(step)
        metrics = {
            **({"loss": curve[-1]["loss"]} if curve else {}),
            "step": float(step),
            "steps_per_second": speed,
            "images_per_second": speed * self.batch_size,
            "accelerator_seconds": cost.accelerator_seconds,
        }
        self.uploads.save(step, [*artifacts, checkpoint], lambda: self._report(step, metrics))

    def _report(self, step: int, metrics: Mapping[str, float]) -> None:
        """Tell Ray Train that the checkpoint of a step is published. Collective."""
        if self.request.run_directory:  # a run that is not this training's own would show others' numbers as its own
            directory, checkpoint = self.request.run_directory, self.artifacts.paths.checkpoint(step)
            report_checkpoint(self.artifacts.store, directory, checkpoint, self.attempt, metrics)
