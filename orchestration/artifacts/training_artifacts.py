"""Checkpoints and snapshots of a training in the store: listed, read if they are sound, published."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from dfm_core.config import ExperimentConfig
from dfm_core.training.curve import CurveRow
from dfm_core.training.engine import State, TrainingEngine
from dfm_core.training.state import SnapshotCard, read_state, write_raw_weights, write_snapshot
from orchestration.artifacts.checkpoint_index import listed_steps
from orchestration.storage.disk_space import require_disk_space
from orchestration.storage.layout import TaskPaths
from orchestration.storage.scratch import scratch_folder
from orchestration.storage.store import DamagedArtifactError, FileEntry, Store

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainingCost:
    """Cost of a training so far, over all attempts that led to this state."""

    seconds: float = 0.0
    """Wall time."""
    accelerator_seconds: float = 0.0
    """Wall time times workers, each of which has one accelerator, or on a machine without them its CPUs."""

    def plus(self, seconds: float, num_workers: int) -> TrainingCost:
        return TrainingCost(self.seconds + seconds, self.accelerator_seconds + seconds * num_workers)


@dataclass(frozen=True)
class ResumePoint:
    """A verified checkpoint."""

    step: int
    curve: tuple[CurveRow, ...]
    state: State
    cost: TrainingCost
    num_steps: int
    """Steps that changed the weights: fewer than `step` if gradients were not finite."""


class TrainingArtifacts:
    """The artifacts of one training in the store."""

    def __init__(self, store: Store, digest: str) -> None:
        self.store, self.paths = store, TaskPaths(digest)

    def save_snapshot(
        self,
        engine: TrainingEngine,
        config: ExperimentConfig,
        card: SnapshotCard,
        pyramid: Mapping[str, torch.Tensor] | None = None,
    ) -> None:
        """Publish the averaged weights, unless they are published already. Collective."""
        self.publish_once(
            engine,
            self.paths.snapshot(card.step),
            lambda scratch: write_snapshot(engine, config, card, scratch, pyramid),
        )

    def save_raw_weights(self, engine: TrainingEngine, step: int) -> None:
        """Publish the weights as the optimiser has them, unless they are published already. Collective."""
        self.publish_once(engine, self.paths.raw_weights(step), lambda scratch: write_raw_weights(engine, scratch))

    def publish_once(self, engine: TrainingEngine, directory: str, write: Callable[[Path], list[Path]]) -> None:
        """Publish the files that `write` puts into a folder, unless that was done before. Collective.

        Args: write: called on every worker; returns the files that this worker wrote, worker 0 all.
        """
        # Worker 0 looks for all: if they saw different things, some would wait in a collective for ever.
        published = engine.rank == 0 and self.store.manifest(directory) is not None
        if float(engine.mean(torch.tensor([float(published)], dtype=torch.float64))) > 0:
            return
        with scratch_folder("snapshot") as scratch:
            with require_disk_space(directory, 0, scratch, *self.store.local_directories()):
                files = write(scratch)
                for path in files:
                    self.store.put(path, f"{directory}/{path.name}")
            if files:
                self.store.publish(directory, [FileEntry.of(path) for path in files])
        engine.barrier()

    def checkpoint_steps(self) -> list[int]:
        """Return the steps of all published checkpoints, ascending."""
        steps = listed_steps(self.store, self.paths.digest)
        return [step for step in steps if self.store.manifest(self.paths.checkpoint(step)) is not None]

    def superseded(self, newest: int, keep: int) -> list[str]:
        """Return the checkpoint directories up to the newest step that may go: all but the last `keep` published ones.

        Those after the newest stay: a training that went back for an early snapshot will want them.
        """
        staying = [step for step in self.checkpoint_steps() if step <= newest][-keep:]
        steps = listed_steps(self.store, self.paths.digest)
        return [self.paths.checkpoint(step) for step in steps if step <= newest and step not in staying]

    def missing_snapshots(self, snapshots: Sequence[int], raw: Sequence[int] = ()) -> list[int]:
        """Return the steps whose snapshot or raw weights are asked for and not published; ascending."""
        directories = [(step, self.paths.snapshot(step)) for step in snapshots]
        directories += [(step, self.paths.raw_weights(step)) for step in raw]
        return sorted({step for step, directory in directories if self.store.manifest(directory) is None})

    def newest_sound_step(self, at_most: int) -> int:
        """Return the step of the newest checkpoint up to a step whose files are all intact; 0 if there is none."""
        for step in reversed([step for step in self.checkpoint_steps() if step <= at_most]):
            try:
                with self.store.fetched(self.paths.checkpoint(step)):
                    return step
            except DamagedArtifactError as damage:
                _LOG.warning("%s; falling back to the checkpoint before", damage)
        return 0

    def load_checkpoint(self, step: int) -> ResumePoint:
        """Read and verify a checkpoint. Raises: FileNotFoundError, DamagedArtifactError."""
        directory = self.paths.checkpoint(step)
        manifest: Mapping[str, Any] | None = self.store.manifest(directory)
        with self.store.fetched(directory) as files:
            state = read_state(files)
        assert manifest is not None, f"{directory} lost its manifest while it was read"
        about = manifest["about"]
        cost, num_steps = TrainingCost(**about.get("spent", {})), int(about.get("num_steps", step))
        return ResumePoint(step, tuple(about["curve"]), state, cost, num_steps)
