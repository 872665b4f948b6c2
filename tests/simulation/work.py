"""The work of tasks: steps and samples that take simulated seconds, and whose results a formula gives.

All that is read and written goes through the product's own code; the numbers tell which state they were made from.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor

from dfm_core.training.curve import CurveRow
from dfm_core.training.engine import OwnedPiece, StateKind, StateSource
from dfm_core.training.steps import LoopPlan, Observer
from orchestration.artifacts.samples.features import Group, GroupFiles
from orchestration.artifacts.snapshot_loader import opened_snapshot
from orchestration.artifacts.task_record import TaskRecord, read_checked
from orchestration.evaluation.feature_files import feature_paths, read_groups, source_files
from orchestration.evaluation.messages import Cost, GroupReport, GroupWork
from orchestration.evaluation.resource_cache import PROBE_FILE, REFERENCE_FILE
from orchestration.evaluation.result_writer import ResultWriter
from orchestration.storage.layout import SnapshotRef, TaskPaths
from orchestration.storage.store import Store
from orchestration.tasks.task import (
    EvaluateTask,
    MeasuringTask,
    MetricTask,
    ProbeTask,
    ReferenceTask,
    Source,
    TrainTask,
)
from orchestration.training.checkpointed_run import CheckpointedRun
from orchestration.training.worker import _Snapshots, _TrainingWorker
from tests.simulation.kernel import current

STEP_SECONDS, GROUP_SECONDS, SUM_SECONDS = 0.5, 0.7, 0.1
_MODULUS = 9973
_SIZE = 3


ORIGINS: dict[str, SnapshotRef] = {}
"""Training and step from whose state another one goes on, by its digest: in populations."""


@cache
def _begin(digest: str) -> tuple[int, int]:
    number = int(hashlib.sha256(digest.encode()).hexdigest()[:8], 16)
    return number % _MODULUS, number // 7 % _MODULUS


@cache
def state_at(digest: str, step: int) -> tuple[int, int]:
    """Return weight and average of a training after so many steps."""
    if step == 0:
        return _begin(digest)
    origin, since = ORIGINS.get(digest, ("", 0))
    if step <= since:
        return state_at(origin, step)
    weight, average = state_at(digest, step - 1)
    weight = (3 * weight + step) % _MODULUS
    return weight, (5 * average + weight) % _MODULUS


def curve_row(digest: str, step: int) -> CurveRow:
    return {"step": step, "loss": state_at(digest, step)[0] / _MODULUS}


class Engine:
    """A training's state of two numbers; one worker."""

    rank, world_size, device = 0, 1, torch.device("cpu")
    kinds: tuple[StateKind, ...] = ("weight", "ema")
    frozen: tuple[str, ...] = ()

    def __init__(self, digest: str) -> None:
        self._digest = digest
        self.num_steps = 0
        self.restart()

    def restart(self) -> None:
        self.num_steps, (self.weight, self.average) = 0, _begin(self._digest)

    def step(self) -> None:
        self.num_steps += 1
        self.weight = (3 * self.weight + self.num_steps) % _MODULUS
        self.average = (5 * self.average + self.weight) % _MODULUS

    def pieces(self, kind: StateKind, *, frozen: bool = False) -> Iterator[OwnedPiece]:
        if not frozen:
            yield OwnedPiece("w", 0, torch.full((_SIZE,), float(self.weight if kind == "weight" else self.average)))

    def load(self, state: StateSource, num_steps: int) -> None:
        read = {kind: torch.empty(_SIZE) for kind in self.kinds}
        for kind, values in read.items():
            state.fill(values, kind, "w", 0)
        self.num_steps, self.weight, self.average = num_steps, int(read["weight"][0]), int(read["ema"][0])
        is_even = all(bool((values == values[0]).all()) for values in read.values())
        if not is_even or (self.weight, self.average) != state_at(self._digest, num_steps):
            current().invariants.check(
                False, f"a checkpoint of step {num_steps} was loaded that is not what was saved there"
            )

    def mean(self, values: Tensor) -> Tensor:
        return values

    def barrier(self) -> None: ...


class TrainingWorker(_TrainingWorker):
    """The worker of a training, less data, model and DeepSpeed."""

    def run(self) -> None:
        world = current()
        world.invariants.begins_to_resume(world.thread.process, self.task)  # type: ignore[attr-defined]
        engine: Any = Engine(self.task.digest)
        run = CheckpointedRun(
            self.request, self.artifacts, engine, _Snapshots(self, (), None), self.started, lambda: True
        )

        def loop(plan: LoopPlan, observer: Observer, start: int, curve: list[CurveRow]) -> list[CurveRow]:
            world.invariants.resumed(self.task, start)  # type: ignore[attr-defined]
            rows = list(curve)
            for step in range(start + 1, plan.until_step + 1):
                world.enter("step")
                if getattr(world.thread.process, "is_hung", False):
                    world.sleep(1e6)
                world.sleep(STEP_SECONDS)
                engine.step()
                world.invariants.stepped(self.task, step)  # type: ignore[attr-defined]
                if step % plan.log_every == 0 or step == plan.until_step or step in plan.save_at:
                    rows.append({"step": step, "loss": engine.weight / _MODULUS})
                    observer.log(rows[-1])
                if step in plan.save_at:
                    observer.save(step, rows)
                observer.progress(step)
            return rows

        rows = run.run(loop, self.config.training.batch_size)
        if rows is not None:
            self._write_result(run, rows)


class Evaluator:
    """The evaluator, less models and feature networks."""

    def __init__(self, root: str, options: Mapping[str, str], runtime: Any, board: str) -> None:
        from orchestration.control.progress_board import find_progress_board

        self._store = Store(root, options, runtime.storage.retry_policy)
        self._board, self._keeps = find_progress_board(board), runtime.workers.keep_features
        self._results = Results(self._store, keep_features=self._keeps)

    def ready(self) -> None: ...

    def features(self, work: GroupWork) -> GroupReport:
        world = current()
        began = world.now
        values = []
        for missing in work.missing:
            world.invariants.measured(missing.task)  # type: ignore[attr-defined]
            values.append(self._value(missing.task, missing.source))
        world.enter("samples")
        if getattr(world.thread.process, "is_hung", False):
            world.sleep(1e6)
        world.sleep(GROUP_SECONDS)
        for missing, value in zip(work.missing, values, strict=True):
            paths = feature_paths(missing.task, missing.source, keeps=self._keeps)
            group = work.group
            for network in missing.networks:
                files = GroupFiles(self._store, paths.network(network, missing.source.networks[network]))
                files.write(group, {"x": torch.full((group.num_samples, 1), float(value))})
            if missing.grid:
                shown = Group(0, min(64, group.end))
                GroupFiles(self._store, paths.grid).write(shown, {"pixels": torch.full((shown.end, 1), float(value))})
            done = f"{missing.source.digest}/{group.begin}"
            self._board.reached.remote(missing.task.digest, group.num_samples, done)
        return GroupReport(world.now - began, 10 * work.group.num_samples)

    def gather(self, task: MeasuringTask, position: int, groups: Sequence[Group]) -> tuple[None, float]:
        source = task.sources[position]
        files = source_files(self._store, task, source, keeps=self._keeps)
        sums = 0.0
        for group, tensors in read_groups(files, groups):
            values = {float(one["x"][-1]) for one in tensors.values()}
            sums += group.num_samples * sum(values) / len(values)
        current().sleep(SUM_SECONDS)
        return None, sums / sum(group.num_samples for group in groups)

    def merge(self, first: float, second: float) -> tuple[None, float]:
        return None, (first + second) / 2

    def finish(
        self, task: MeasuringTask, about: Mapping[str, Any], seconds: float, cost: Cost, *statistics: float
    ) -> None:
        current().sleep(SUM_SECONDS)
        self._results.finish(task, about, seconds, cost, statistics)  # type: ignore[arg-type]

    def _value(self, task: MeasuringTask, source: Source) -> int:
        """Return the number that samples of a snapshot, or of a dataset, have."""
        if source.split or not isinstance(task, EvaluateTask):
            return len(source.split)
        (digest, step), *_ = task.snapshots
        with opened_snapshot(self._store, (digest, step)) as state:
            values = torch.empty(_SIZE)
            state.fill(values, "ema", "w", 0)
        if int(values[0]) != state_at(digest, step)[1]:
            current().invariants.check(False, f"a snapshot of step {step} was loaded that is not what was saved there")
        return int(values[0])


class Results(ResultWriter):
    """The writer of records, less metrics and pictures."""

    def __init__(self, store: Store, *, keep_features: bool) -> None:
        super().__init__(store, None, torch.device("cpu"), keep_features=keep_features)  # type: ignore[arg-type]

    def _reference(self, task: ReferenceTask, statistics: Sequence[Any]) -> TaskRecord:
        about = self._write_file(task, REFERENCE_FILE, str(statistics[0]))
        return TaskRecord(task.digest, task.kind, {}, 0.0, about=about)

    def _probe(self, task: ProbeTask) -> TaskRecord:
        return TaskRecord(task.digest, task.kind, {}, 0.0, about=self._write_file(task, PROBE_FILE, "probe"))

    def _measurement(self, task: MetricTask, statistics: Sequence[Any], cost: Cost) -> TaskRecord:  # noqa: ARG002
        files: tuple[str, ...] = ()
        for digest in task.references.values():
            read_checked(self._store, digest, REFERENCE_FILE)
        if isinstance(task, EvaluateTask):
            self._store.write(TaskPaths(task.digest).result_file("samples.png"), b"picture")
            files = ("samples.png",)
        return TaskRecord(task.digest, task.kind, metrics_of(task, statistics), 0.0, files=files)

    def _write_file(self, task: MeasuringTask, name: str, text: str) -> dict[str, str]:
        from orchestration.artifacts.task_record import checksum

        self._store.write(TaskPaths(task.digest).result_file(name), text.encode())
        return checksum(name, text.encode())


def metrics_of(task: MetricTask, statistics: Sequence[float]) -> dict[str, float]:
    """Return the numbers that a task measures."""
    value = sum(statistics) / len(statistics)
    return {name: (value * (number + 2)) % 101 + 1.0 for number, name in enumerate(sorted(task.protocols))}


def expected_metrics(task: MetricTask) -> dict[str, float]:
    """Return the numbers that an undisturbed sweep measures."""
    if isinstance(task, EvaluateTask):
        (digest, step), *_ = task.snapshots
        return metrics_of(task, [float(state_at(digest, step)[1])])
    return metrics_of(task, [float(len(source.split)) for source in task.sources])


def expected_curve(task: TrainTask, steps: Sequence[int]) -> list[CurveRow]:
    return [curve_row(task.digest, step) for step in steps]
