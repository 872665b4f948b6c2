"""The files of a task's run in MLflow: what it did, with which code, and what came out of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from mlflow import MlflowClient

from dfm_core.config.plain import as_plain
from orchestration.artifacts.task_record import TaskRecord
from orchestration.storage.layout import TaskPaths
from orchestration.storage.scratch import scratch_folder
from orchestration.storage.store import Store
from orchestration.tasks.task import Task


def write_task_files(client: MlflowClient, run_id: str, task: Task, provenance: Mapping[str, Any]) -> None:
    """Write what a task is, and the code and machine that work on it."""
    client.log_dict(run_id, task.payload, "task.json")
    client.log_dict(run_id, as_plain(task.config), "config.json")
    client.log_dict(run_id, dict(provenance), "provenance.json")
    diff = provenance["source"]["uncommitted_diff"]
    if diff:
        client.log_text(run_id, diff, "uncommitted.diff")


def write_result_files(client: MlflowClient, run_id: str, result: TaskRecord, store: Store) -> None:
    """Write the files beside a task's record, and what it says of its numbers."""
    for name in result.files:
        with scratch_folder("run") as scratch:
            local = scratch / name
            local.write_bytes(store.read(TaskPaths(result.digest).result_file(name)))
            client.log_artifact(run_id, str(local))
    if result.about:
        client.log_text(run_id, json.dumps(result.about, indent=1, sort_keys=True), "about.json")
