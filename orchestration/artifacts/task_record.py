"""The record of a finished task: published in the store, the truth from which MLflow is filled."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from analysis.contract.record_schema import ACCELERATOR_SECONDS, STARTUP_SECONDS
from dfm_core.training.curve import CurveRow
from orchestration.parsing.documents import parse_document
from orchestration.storage.layout import TaskPaths
from orchestration.storage.safe_names import safe_name
from orchestration.storage.store import DamagedArtifactError, Store


@dataclass(frozen=True)
class TaskRecord:
    """The result of a task."""

    digest: str
    kind: str
    metrics: Mapping[str, float]
    seconds: float
    step: int = 0
    """Training step to which the metrics belong; for a training, the last step done."""
    curve: tuple[CurveRow, ...] = ()
    files: tuple[str, ...] = ()
    """Names of the files beside the record, to be shown with the task."""
    about: Mapping[str, Any] = field(default_factory=dict)
    """Anything else worth keeping, as JSON."""


def write_record(store: Store, result: TaskRecord) -> None:
    """Publish the record; its files must be in place."""
    store.write(TaskPaths(result.digest).result, json.dumps(vars(result), sort_keys=True).encode())


def read_record(store: Store, digest: str) -> TaskRecord | None:
    """Return the record of a task, or None if it is not done; an unreadable record counts as not done."""
    path = TaskPaths(digest).result
    try:
        data = parse_document(store.read_document(path), finite=False)
        if data["digest"] != digest:
            return None
        files = tuple(safe_name(name) for name in data["files"])
        return TaskRecord(**{**data, "curve": tuple(data["curve"]), "files": files})
    except (FileNotFoundError, ValueError, TypeError, KeyError):
        return None


def checksum(name: str, content: bytes) -> dict[str, str]:
    """Return the entry of a record's `about` for a file beside it that other tasks read."""
    return {_checksum_key(name): hashlib.sha256(content).hexdigest()}


def read_checked(store: Store, digest: str, name: str) -> bytes:
    """Return a file beside a task's record, verified by the checksum in the record.

    Raises: DamagedArtifactError if it is not the file of the record, after which the next submission makes it anew.
    """
    paths, record = TaskPaths(digest), read_record(store, digest)
    try:
        content = store.read(paths.result_file(name))
    except FileNotFoundError:
        content = b""
    if record is None or checksum(name, content)[_checksum_key(name)] != record.about.get(_checksum_key(name)):
        store.remove(paths.result)
        raise DamagedArtifactError(f"{store.uri(paths.result_file(name))} is damaged; submit again to make it anew")
    return content


def _checksum_key(name: str) -> str:
    return f"{Path(name).stem}_sha256"


COST_METRIC = ACCELERATOR_SECONDS
"""Name under which records and checkpoints say what they cost, over all attempts that led to them."""


EXECUTED = "executed_flops"
"""Key under which it says how many FLOPs its workers ran: more than tables count, if activations are computed anew."""
STARTUP = STARTUP_SECONDS
"""Key under which a training's record says how long its last attempt took to its first step."""


def cost_in(spent: Any) -> float:
    """Return the cost in a record's or checkpoint's metrics; 0 without one, as in the first versions."""
    value = spent.get(COST_METRIC) if isinstance(spent, Mapping) else None
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else 0.0
