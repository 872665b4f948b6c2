"""A store as sweeps leave it, without running any: plans, records, artifacts, heartbeats."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Any

from orchestration.artifacts.task_record import TaskRecord, write_record
from orchestration.control.heartbeat import Heartbeat, write_heartbeat
from orchestration.plan.plan import Plan, make_plan
from orchestration.plan.plan_json import plan_json
from orchestration.spec.load import load_sweep
from orchestration.storage.layout import FeaturePaths, TaskPaths, plan_file
from orchestration.storage.store import Store
from orchestration.tasks.task import MeasuringTask, Task
from tests.orchestration.conftest import QUICKSTART, TINY

ONE_ROW = "parts={p: {rows: {DFM: {}}}}"


def tiny_plan(*overrides: str) -> Plan:
    """One training of 12 steps, measured at 4 and 12."""
    return make_plan(load_sweep(QUICKSTART, [*TINY, ONE_ROW, *overrides]))


def publish(store: Store, plan: Plan, name: str = "") -> None:
    store.write(plan_file(name or plan.spec.name), plan_json(plan, "sqlite:///x").encode())


def publish_checkpoint(store: Store, digest: str, step: int, spent: Mapping[str, Any] | None = None) -> None:
    directory = TaskPaths(digest).checkpoint(step)
    store.write(f"{directory}/state-00000.safetensors", b"x" * 1000)
    store.publish(directory, [], {"step": step, **({} if spent is None else {"spent": dict(spent)})})


def publish_snapshot(store: Store, directory: str) -> None:
    store.write(f"{directory}/weights.safetensors", b"x" * 100)
    store.publish(directory, [])


def finish(store: Store, task: Task, metrics: Mapping[str, float] | None = None, **about: Any) -> TaskRecord:
    """Record, snapshots and features of a task."""
    for directory in task.artifacts:
        publish_snapshot(store, directory)
    for source in task.sources if isinstance(task, MeasuringTask) else ():
        for network in source.networks.items():
            store.write(f"{FeaturePaths(source.digest).network(*network)}/group", b"x" * 10)
        store.write(f"{FeaturePaths(source.digest).grid}/group", b"x")
    result = TaskRecord(task.digest, task.kind, dict(metrics or {}), 1.0, step=task.step, about=about)
    write_record(store, result)
    return result


def finish_all(store: Store, tasks: Iterable[Task]) -> None:
    for task in tasks:
        finish(store, task)


def beat(store: Store, sweep: str = "quickstart", *, age: float = 0.0, **values: Any) -> Heartbeat:
    """Writes a heartbeat that is `age` seconds old."""
    defaults: dict[str, Any] = {"driver": "d1", "host": "there", "pid": 42, "beat": 7, "phase": "running"}
    heartbeat = Heartbeat(**{**defaults, "written_at": time.time() - age, **values})
    write_heartbeat(store, sweep, heartbeat)
    return heartbeat
