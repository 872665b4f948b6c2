"""Snapshots from the store, ready to sample: one model, or an expert for each stage."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from dfm_core.decompositions import Decomposition
from dfm_core.models.experts import StageExperts
from dfm_core.models.velocity import VelocityModel
from dfm_core.training.state import Snapshot, load_snapshot
from orchestration.layout import TaskPaths
from orchestration.storage import MANIFEST, DamagedArtifactError, Store
from orchestration.tasks import SnapshotRef


@dataclass(frozen=True)
class Sampler:
    """What sampling needs of a training."""

    model: VelocityModel | StageExperts
    decomposition: Decomposition
    scale_std: tuple[float, ...]


class SnapshotLoader:
    """Keeps the last sampler loaded: evaluations of one snapshot come one after the other."""

    def __init__(self, store: Store, device: torch.device) -> None:
        self._store, self._device = store, device
        self._key: tuple[SnapshotRef, ...] = ()
        self._sampler: Sampler | None = None

    def load(self, wanted: tuple[SnapshotRef, ...]) -> Sampler:
        """The model of a snapshot, or the experts of one for each stage, on the device.

        Raises: FileNotFoundError; DamagedArtifactError, after which the next submission makes the snapshot anew.
        """
        if self._sampler is None or self._key != wanted:
            snapshots = [read_snapshot(self._store, reference) for reference in wanted]
            models = [snapshot.model for snapshot in snapshots]
            model = models[0] if len(models) == 1 else StageExperts(models)
            first = snapshots[0]
            self._sampler = Sampler(model.to(self._device), first.decomposition, first.card.scale_std)
            self._key = wanted
        return self._sampler


def read_snapshot(store: Store, reference: SnapshotRef) -> Snapshot:
    """One snapshot, on the CPU. Raises as `SnapshotLoader.load`."""
    train, step = reference
    directory = TaskPaths(train).snapshot(step)
    try:
        with store.fetched(directory) as files:
            return load_snapshot(files[0].parent)
    except DamagedArtifactError as damage:
        store.remove(f"{directory}/{MANIFEST}")
        raise DamagedArtifactError(f"{damage}; submit again to make it anew") from None
