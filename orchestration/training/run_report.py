"""Reports of a training to Ray Train, whose run has its name: its `Result` and the dashboard show how far it is.

A reported checkpoint is a pointer to ours, of which Ray Train knows nothing more: workers resume from the store.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping

import ray.train

from orchestration.storage.store import Store

POINTER = "checkpoint.json"


def report_checkpoint(
    store: Store, run_directory: str, checkpoint: str, attempt: str, metrics: Mapping[str, float]
) -> None:
    """Report a published checkpoint. Collective, and a barrier.

    Args: run_directory: of Ray Train's run. checkpoint: directory of ours. attempt: name of this attempt; Ray Train
        wants a name of its own for each report.
    """
    if ray.train.get_context().get_world_rank() != 0:
        ray.train.report(dict(metrics))
        return
    directory = f"{run_directory}/{checkpoint.rpartition('/')[2]}-{attempt}"
    # Written by our store, which waits while a storage is out of reach; Ray Train's own upload would fail the run.
    store.write(f"{directory}/{POINTER}", json.dumps({"uri": store.uri(checkpoint)}).encode())
    ray.train.report(
        dict(metrics),
        checkpoint=ray.train.Checkpoint(
            store.path(directory), ray.train.get_context().get_storage().storage_filesystem
        ),
        checkpoint_upload_mode=ray.train.CheckpointUploadMode.NO_UPLOAD,
    )


class Pace:
    """The speed of a training since the last look."""

    def __init__(self, step: int) -> None:
        self._step, self._time = step, time.monotonic()

    def since(self, step: int) -> float:
        """Return steps per second since the last call, or since the start."""
        now = time.monotonic()
        steps, seconds = step - self._step, now - self._time
        self._step, self._time = step, now
        return steps / seconds if seconds > 0 else 0.0
