"""Uploads of a training's state in the background: a step waits only while its pieces are copied to the host.

A checkpoint, a snapshot and raw weights are artifacts of the same making. In the store every worker's file of pieces
comes first, then its receipt: size and sha256 of the file, and the index of its pieces. When all receipts are there,
worker 0 writes the manifest with the whole index, and only then removes what is superseded. So a kill at any moment
leaves the previous checkpoint or the new one. Files and receipts carry the name of the attempt that wrote them: those
of a killed attempt are never taken for this one's, and nothing published is overwritten.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from ray.util.metrics import Counter

from dfm_core.training.engine import OwnedPiece, StateKind, TrainingEngine
from dfm_core.training.host_copy import HostCopy
from dfm_core.training.piece_index import index_from_plain, merge_indexes
from dfm_core.training.pieces import write_pieces
from orchestration.artifacts.training_artifacts import StateArtifact
from orchestration.common.background import in_background
from orchestration.common.redaction import reason_of
from orchestration.storage.disk_space import require_disk_space
from orchestration.storage.retry import StorageUnavailableError
from orchestration.storage.scratch import scratch_folder
from orchestration.storage.store import MANIFEST, FileEntry, Store

_FIRST_POLL_SECONDS, _LONGEST_POLL_SECONDS = 0.02, 1.0
_LOG = logging.getLogger(__name__)
Copies = Mapping[StateKind, Sequence[OwnedPiece]]


class StateUploads:
    """Uploads one worker's state; at most one upload is under way."""

    def __init__(
        self,
        store: Store,
        engine: TrainingEngine[Any],
        attempt: str,
        waiting: Callable[[], AbstractContextManager[object]] = nullcontext,
    ) -> None:
        """Args: attempt: unique name of this attempt, shared by its workers. waiting: entered while a step waits for
        the storage."""
        self._store, self._engine, self._attempt, self._waiting = store, engine, attempt, waiting
        self._rank, self._world_size = engine.rank, engine.world_size
        self._host = HostCopy()
        self._bytes_written = Counter("dfm_checkpoint_bytes", "Bytes of state that workers have written")
        self._under_way: Future[None] | None = None
        self._published: Callable[[], None] = _nothing
        self._step = 0

    def save(self, step: int, artifacts: Sequence[StateArtifact], published: Callable[[], None] = lambda: None) -> None:
        """Copy the state to the host and upload it in the background; called on all workers alike, which wait for each
        other nowhere.

        Waits for the previous upload if it is still under way: a storage that is slower than the training must hold it
        up, not fill the memory.

        Args: published: called by the next `save` or `finish` of every worker, once this worker's own part of the
            artifacts, and for worker 0 all of them, is in the store.
        Raises: the error of the previous upload.
        """
        self._wait(f"step {step}")
        copies = self._host.take(self._engine, {kind: None for one in artifacts for kind in one.kinds})
        kinds = {kind: None for one in artifacts for kind in one.kinds if one.frozen}
        left_out = {name for one in artifacts if one.frozen for name in one.unmoved.names}
        frozen = self._host.take(self._engine, kinds, frozen=True, left_out=left_out)
        self._step, self._published = step, published
        self._under_way = in_background(f"checkpoint-{step}", lambda: self._upload(artifacts, copies, frozen))

    def finish(self) -> None:
        """Return when the last upload is published. Collective. Raises: its error."""
        self._wait("the end")
        with self._waiting():
            self._engine.barrier()

    def _wait(self, who: str) -> None:
        upload, self._under_way = self._under_way, None
        if upload is None:
            return
        with self._waiting():
            late, began = not upload.done(), time.monotonic()
            upload.result()
            if late:
                waited = time.monotonic() - began
                _LOG.warning("%s waited %.1f s for the upload of step %d's checkpoint", who, waited, self._step)
            self._published()

    def _upload(self, artifacts: Sequence[StateArtifact], copies: Copies, frozen: Copies) -> None:
        for artifact in artifacts:
            more = frozen if artifact.frozen else {}
            left_out = artifact.unmoved.names
            pieces = {
                kind: [piece for piece in (*copies[kind], *more.get(kind, [])) if piece.name not in left_out]
                for kind in artifact.kinds
            }
            entry = self._put_pieces(artifact, pieces)
            if self._rank == 0:
                self._publish(artifact, entry)

    def _put_pieces(self, artifact: StateArtifact, pieces: Copies) -> FileEntry:
        num_bytes = sum(piece.values.nbytes for owned in pieces.values() for piece in owned)
        name = f"{artifact.prefix}-{self._rank:05d}-of-{self._world_size:05d}.{self._attempt}.safetensors"
        with (
            scratch_folder("checkpoint") as scratch,
            require_disk_space(artifact.what, num_bytes, scratch, *self._store.local_directories()),
        ):
            index = write_pieces(pieces, scratch / name)
            entry = FileEntry.of(scratch / name)
            self._store.put(scratch / name, f"{artifact.directory}/{name}")
        self._bytes_written.inc(entry.num_bytes)
        receipt = json.dumps({"file": vars(entry), "pieces": index}).encode()
        self._store.write(f"{artifact.directory}/{self._receipt(self._rank)}", receipt)
        return entry

    def _publish(self, artifact: StateArtifact, own: FileEntry) -> None:
        receipts = self._receipts(artifact.directory, own.num_bytes)
        entries = self._earlier(artifact) or self._write_manifest(artifact, receipts)
        self._clean(artifact, entries)
        artifact.published()

    def _earlier(self, artifact: StateArtifact) -> list[FileEntry]:
        """Return the files of a final artifact that is published already; none if it is not."""
        earlier = self._store.manifest(artifact.directory) if artifact.is_final else None
        return [] if earlier is None else list(earlier["files"])

    def _write_manifest(self, artifact: StateArtifact, receipts: Sequence[Mapping[str, Any]]) -> list[FileEntry]:
        """Publish an artifact. Return its files: those of another attempt, which lives on although this one was begun
        in its place, if that has just published it."""
        entries = [FileEntry(**receipt["file"]) for receipt in receipts]
        with scratch_folder("checkpoint") as scratch:
            for path in artifact.write_more(scratch):
                self._store.put(path, f"{artifact.directory}/{path.name}")
                entries.append(FileEntry.of(path))
        pieces = merge_indexes(index_from_plain(receipt["pieces"]) for receipt in receipts)
        about = {**artifact.about, **artifact.unmoved.about(), "pieces": pieces}
        is_ours = self._store.publish(artifact.directory, entries, about, may_replace=not artifact.is_final)
        return entries if is_ours else self._earlier(artifact)

    def _receipt(self, rank: int) -> str:
        return f"receipt-{rank:05d}.{self._attempt}.json"

    def _receipts(self, directory: str, file_bytes: int) -> list[dict[str, Any]]:
        """Wait for all workers' receipts, and return them.

        Raises: StorageUnavailableError if one is missing for longer than its worker may take to write it.
        """
        receipts = [self._receipt(rank) for rank in range(self._world_size)]
        retry_policy, pause = self._store.retry_policy, _FIRST_POLL_SECONDS
        deadline = time.monotonic() + retry_policy.longest_seconds(file_bytes) + retry_policy.longest_seconds(0)
        while missing := set(receipts) - set(self._store.names(directory)):
            if time.monotonic() > deadline:
                raise StorageUnavailableError(f"{self._store.uri(directory)}: {', '.join(sorted(missing))} never came")
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_POLL_SECONDS)
        return [json.loads(self._store.read(f"{directory}/{name}")) for name in receipts]

    def _clean(self, artifact: StateArtifact, entries: Sequence[FileEntry]) -> None:
        """Remove receipts, files of killed attempts at this artifact, and what it supersedes.

        It is published: a storage that refuses to remove ends no training. The next one tries again.
        """
        try:
            kept = {MANIFEST, *(entry.name for entry in entries)}
            for name in sorted(set(self._store.names(artifact.directory)) - kept):  # the same order in a simulation
                self._store.remove(f"{artifact.directory}/{name}")
            for old in artifact.superseded():
                self._store.remove_artifact(old)
        except (OSError, StorageUnavailableError) as error:
            _LOG.warning("superseded checkpoints stay for now: %s", reason_of(error, self._store.options))


def _nothing() -> None:
    """Stands for nobody who wants to know."""
