"""Snapshots from the store, ready to sample: one model, or an expert for each stage."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
from safetensors.torch import load_file

from dfm_core.config.choices import SampledWeights
from dfm_core.decompositions import Decomposition
from dfm_core.models.experts import StageExperts
from dfm_core.models.velocity import VelocityModel
from dfm_core.training.state import RAW_WEIGHTS, Snapshot, load_snapshot
from orchestration.storage.layout import SnapshotRef, TaskPaths
from orchestration.storage.store import MANIFEST, DamagedArtifactError, Store

Artifact = TypeVar("Artifact")


@dataclass(frozen=True)
class Sampler:
    """The parts of a training that sampling needs."""

    model: VelocityModel | StageExperts
    decomposition: Decomposition
    scale_std: tuple[float, ...]


class SnapshotLoader:
    """Loads samplers, and keeps the last: evaluations of one snapshot come one after the other."""

    def __init__(
        self, store: Store, device: torch.device, compiles: Callable[[VelocityModel], bool] = lambda _: False
    ) -> None:
        """Args: compiles: whether the blocks of a model are compiled."""
        self._store, self._device, self._compiles = store, device, compiles
        self._key: tuple[object, ...] = ()
        self._sampler: Sampler | None = None

    def load(self, references: tuple[SnapshotRef, ...], weights: SampledWeights = "ema") -> Sampler:
        """Return the model of a snapshot, or the experts of one for each stage, on the device.

        Raises: FileNotFoundError; DamagedArtifactError, after which the next submission makes the snapshot anew.
        """
        if self._sampler is None or self._key != (references, weights):
            self._sampler = None  # an accelerator need not hold both
            snapshots = [read_snapshot(self._store, reference, weights) for reference in references]
            models = [snapshot.model for snapshot in snapshots]
            for one in filter(self._compiles, models):
                one.compile_blocks()
            model = models[0] if len(models) == 1 else StageExperts(models)
            first = snapshots[0]
            self._sampler = Sampler(model.to(self._device), first.decomposition, first.card.scale_std)
            self._key = (references, weights)
        return self._sampler


def read_snapshot(store: Store, reference: SnapshotRef, weights: SampledWeights = "ema") -> Snapshot:
    """Return one snapshot, on the CPU. Raises: as `SnapshotLoader.load`."""
    train, step = reference
    snapshot = _read(store, TaskPaths(train).snapshot(step), load_snapshot)
    if weights == "raw":
        raw = _read(store, TaskPaths(train).raw_weights(step), lambda files: load_file(files / RAW_WEIGHTS))
        snapshot.model.load_state_dict(raw)
    return snapshot


def _read(store: Store, directory: str, read: Callable[[Path], Artifact]) -> Artifact:
    try:
        with store.fetched(directory) as files:
            return read(files[0].parent)
    except DamagedArtifactError as damage:
        store.remove(f"{directory}/{MANIFEST}")
        raise DamagedArtifactError(f"{damage}; submit again to make it anew") from None
