"""Checkpoints and snapshots of a training in the store: listed, read if they are sound, published."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from dfm_core.config import ExperimentConfig
from dfm_core.training.curve import CurveRow
from dfm_core.training.engine import StateKind, TrainingEngine
from dfm_core.training.pieces import PieceState
from dfm_core.training.state import SnapshotCard, write_card
from orchestration.artifacts.checkpoint_index import listed_steps
from orchestration.artifacts.state_files import open_state
from orchestration.artifacts.unmoved_weights import UnmovedWeights
from orchestration.storage.layout import TaskPaths
from orchestration.storage.store import Store


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
    """A published checkpoint; its pieces are verified as they are read."""

    step: int
    curve: tuple[CurveRow, ...]
    state: PieceState
    cost: TrainingCost
    num_steps: int
    """Steps that changed the weights: fewer than `step` if gradients were not finite."""


@dataclass(frozen=True)
class StateArtifact:
    """A part of a training's state that is published as one artifact, in pieces of all workers."""

    what: str
    """Its name in messages."""
    directory: str
    prefix: str
    """Begin of the names of its files."""
    kinds: tuple[StateKind, ...]
    about: Mapping[str, Any] = field(default_factory=dict)
    frozen: bool = False
    """With the weights that are not trained: all that sampling needs."""
    unmoved: UnmovedWeights = field(default_factory=UnmovedWeights)
    """Weights that are not in it, since they are elsewhere as they are."""
    is_final: bool = True
    """Once published it stays: others may have read it."""
    write_more: Callable[[Path], Sequence[Path]] = lambda _folder: ()
    """Writes the files beside the pieces, on worker 0."""
    superseded: Callable[[], Sequence[str]] = tuple
    """Directories of the artifacts that may go once this one is published."""
    published: Callable[[], None] = lambda: None
    """Called by worker 0, in the background."""


class TrainingArtifacts:
    """The artifacts of one training in the store."""

    def __init__(self, store: Store, digest: str) -> None:
        self.store, self.paths = store, TaskPaths(digest)

    def checkpoint(
        self,
        engine: TrainingEngine[Any],
        step: int,
        keep: int,
        curve: Sequence[CurveRow] = (),
        scale_std: Sequence[float] = (),
        cost: TrainingCost | None = None,
    ) -> StateArtifact:
        """Return the checkpoint of a step, to be saved.

        Args: keep: number of checkpoints that stay. scale_std: standard deviations of the training data's scales, for
            those who resume. cost: up to this step.
        """
        about = {
            "step": step,
            "num_steps": engine.num_steps,
            "world_size": engine.world_size,
            "curve": list(curve),
            "scale_std": list(scale_std),
            "spent": vars(cost or TrainingCost()),
        }
        return StateArtifact(
            f"the checkpoint of step {step}",
            self.paths.checkpoint(step),
            "state",
            tuple(engine.kinds),
            about,
            is_final=False,
            superseded=lambda: self.superseded(step, keep),
        )

    def snapshot(
        self,
        config: ExperimentConfig,
        card: SnapshotCard,
        pyramid: Mapping[str, Tensor] | None = None,
        published: Callable[[], None] = lambda: None,
        unmoved: UnmovedWeights | None = None,
    ) -> StateArtifact:
        """Return the averaged weights with all that sampling needs, to be saved. Args: unmoved: those left out."""
        return StateArtifact(
            f"the snapshot of step {card.step}",
            self.paths.snapshot(card.step),
            "ema",
            ("ema",),
            frozen=True,
            unmoved=unmoved or UnmovedWeights(),
            write_more=lambda folder: write_card(config, card, folder, pyramid),
            published=published,
        )

    def raw_weights(self, step: int, unmoved: UnmovedWeights | None = None) -> StateArtifact:
        """Return the weights as the optimiser has them, to be saved. Args: unmoved: those left out."""
        directory, left = self.paths.raw_weights(step), unmoved or UnmovedWeights()
        return StateArtifact(
            f"the raw weights of step {step}", directory, "raw", ("weight",), frozen=True, unmoved=left
        )

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

    @contextmanager
    def opened_checkpoint(self, step: int) -> Iterator[ResumePoint]:
        """Give a checkpoint to read for a `with` block. Raises: as `open_state`."""
        with open_state(self.store, self.paths.checkpoint(step)) as (state, about):
            cost, num_steps = TrainingCost(**about.get("spent", {})), int(about.get("num_steps", step))
            yield ResumePoint(step, tuple(about["curve"]), state, cost, num_steps)

    def known_scale_std(self) -> tuple[float, ...]:
        """Return the standard deviations of the data's scales that the newest checkpoint was trained with; () if no
        checkpoint says so."""
        for step in reversed(listed_steps(self.store, self.paths.digest)):
            manifest = self.store.manifest(self.paths.checkpoint(step))
            if manifest is not None:
                return tuple(manifest["about"].get("scale_std", ()))
        return ()
