"""Uploads of checkpoints in the background: a step waits only while the state is copied to the host.

In the store every worker's shard comes first, then its receipt (size and sha256). When the receipts of all workers are
there, worker 0 writes the manifest, and only then removes superseded checkpoints. So a kill at any moment leaves the
previous checkpoint or the new one. Shards and receipts carry the name of the attempt that wrote them: those of a killed
attempt are never taken for this one's, and nothing published is overwritten.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future

from ray.util.metrics import Counter
from safetensors.torch import save_file
from torch import Tensor

from dfm_core.training.curve import CurveRow
from dfm_core.training.engine import TrainingEngine
from dfm_core.training.state import shard_name, state_shard
from orchestration.artifacts.training_artifacts import TrainingArtifacts, TrainingCost
from orchestration.common.background import in_background
from orchestration.common.redaction import reason_of
from orchestration.storage.disk_space import require_disk_space
from orchestration.storage.retry import StorageUnavailableError
from orchestration.storage.scratch import scratch_folder
from orchestration.storage.store import MANIFEST, FileEntry

_FIRST_POLL_SECONDS, _LONGEST_POLL_SECONDS = 0.02, 1.0
_LOG = logging.getLogger(__name__)


class CheckpointUploads:
    """Uploads one worker's checkpoints; at most one upload is under way."""

    def __init__(
        self,
        artifacts: TrainingArtifacts,
        engine: TrainingEngine,
        attempt: str,
        keep: int,
        published: Callable[[int], None] = lambda _step: None,
    ) -> None:
        """Args: attempt: unique name of this attempt, shared by its workers. keep: number of checkpoints that stay.
        published: collective; called with a step by every worker once its own part of that checkpoint, and for worker 0
        all of it, is in the store."""
        self._published = published
        self._artifacts, self._engine, self._attempt, self._keep = artifacts, engine, attempt, keep
        self._store = artifacts.store
        self._rank, self._world_size = engine.rank, engine.world_size
        self._bytes_written = Counter("dfm_checkpoint_bytes", "Bytes of checkpoints that workers have written")
        self._under_way: Future[None] | None = None
        self._step = 0

    def save(
        self,
        step: int,
        curve: Sequence[CurveRow] = (),
        scale_std: Sequence[float] = (),
        cost: TrainingCost | None = None,
    ) -> None:
        """Copy the state to the host and upload it in the background. Collective.

        Waits for the previous upload if it is still under way: a storage that is slower than the training must hold it
        up, not fill the memory.

        Args: scale_std: standard deviations of the training data's scales, for readers of the checkpoint. cost: up to
            this step.
        Raises: the error of the previous upload.
        """
        self._wait(f"step {step}")
        tensors = state_shard(self._engine)
        about = {
            "step": step,
            "num_steps": self._engine.num_steps,
            "world_size": self._world_size,
            "curve": list(curve),
            "scale_std": list(scale_std),
            "spent": vars(cost or TrainingCost()),
        }
        self._step = step
        self._under_way = in_background(f"checkpoint-{step}", lambda: self._upload(step, tensors, about))

    def finish(self) -> None:
        """Return when the last checkpoint is published. Collective. Raises: the error of its upload."""
        self._wait("the end")
        self._engine.barrier()

    def _wait(self, who: str) -> None:
        upload, self._under_way = self._under_way, None
        if upload is None:
            return
        late, began = not upload.done(), time.monotonic()
        upload.result()
        if late:
            waited = time.monotonic() - began
            _LOG.warning("%s waited %.1f s for the upload of step %d's checkpoint", who, waited, self._step)
        self._published(self._step)

    def _upload(self, step: int, tensors: Mapping[str, Tensor], about: Mapping[str, object]) -> None:
        directory = self._artifacts.paths.checkpoint(step)
        with scratch_folder("checkpoint") as scratch:
            shard = (scratch / shard_name(self._rank, self._world_size)).with_suffix(f".{self._attempt}.safetensors")
            num_bytes = sum(tensor.nbytes for tensor in tensors.values())
            with require_disk_space(
                f"the checkpoint of step {step}", num_bytes, scratch, *self._store.local_directories()
            ):
                save_file(dict(tensors), shard)
                entry = FileEntry.of(shard)
                self._store.put(shard, f"{directory}/{shard.name}")
        self._bytes_written.inc(entry.num_bytes)
        self._store.write(f"{directory}/{self._receipt(self._rank)}", json.dumps(vars(entry)).encode())
        if self._rank == 0:
            entries = self._receipts(directory, entry.num_bytes)
            self._store.publish(directory, entries, about)
            self._drop_superseded(step, directory, entries)

    def _receipt(self, rank: int) -> str:
        return f"receipt-{rank:05d}.{self._attempt}.json"

    def _receipts(self, directory: str, shard_bytes: int) -> list[FileEntry]:
        """Wait for all workers' receipts, and return them.

        Raises: StorageUnavailableError if one is missing for longer than its worker may take to write it.
        """
        receipts = [self._receipt(rank) for rank in range(self._world_size)]
        retry_policy, pause = self._store.retry_policy, _FIRST_POLL_SECONDS
        deadline = time.monotonic() + retry_policy.longest_seconds(shard_bytes) + retry_policy.longest_seconds(0)
        while missing := set(receipts) - set(self._store.names(directory)):
            if time.monotonic() > deadline:
                raise StorageUnavailableError(f"{self._store.uri(directory)}: {', '.join(sorted(missing))} never came")
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_POLL_SECONDS)
        return [FileEntry(**json.loads(self._store.read(f"{directory}/{name}"))) for name in receipts]

    def _drop_superseded(self, step: int, directory: str, entries: Sequence[FileEntry]) -> None:
        """Remove receipts, files of killed attempts at this checkpoint, and older checkpoints.

        The checkpoint is published: a storage that refuses to remove ends no training. The next one tries again.
        """
        try:
            for name in set(self._store.names(directory)) - {MANIFEST, *(entry.name for entry in entries)}:
                self._store.remove(f"{directory}/{name}")
            for old in self._artifacts.superseded(step, self._keep):
                self._store.remove_artifact(old)
        except (OSError, StorageUnavailableError) as error:
            _LOG.warning("superseded checkpoints stay for now: %s", reason_of(error, self._store.options))
