"""Snapshots from the store, ready to sample: one model, or an expert for each stage."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from dfm_core.config.choices import SampledWeights
from dfm_core.decompositions import Decomposition
from dfm_core.models.experts import StageExperts
from dfm_core.models.network import VelocityNetwork
from dfm_core.training.engine import SizedState
from dfm_core.training.state import PYRAMID_WEIGHTS, SNAPSHOT_CARD, Snapshot, fill_weights, load_snapshot
from orchestration.artifacts.state_files import open_state
from orchestration.artifacts.unmoved_weights import with_unmoved
from orchestration.storage.layout import SnapshotRef, TaskPaths
from orchestration.storage.store import MANIFEST, DamagedArtifactError, Store

_BESIDE_WEIGHTS = (SNAPSHOT_CARD, PYRAMID_WEIGHTS)


@dataclass(frozen=True)
class Sampler:
    """The parts of a training that sampling needs."""

    model: VelocityNetwork | StageExperts
    decomposition: Decomposition
    scale_std: tuple[float, ...]


class SnapshotLoader:
    """Loads samplers, and keeps the last: evaluations of one snapshot come one after the other."""

    def __init__(
        self, store: Store, device: torch.device, compiles: Callable[[VelocityNetwork], bool] = lambda _: False
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
            self._sampler = None  # dropped first: two would need twice the memory
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
    directory = TaskPaths(train).snapshot(step)
    with opened_snapshot(store, reference) as averages, store.fetched(directory, _BESIDE_WEIGHTS) as files:
        snapshot = load_snapshot(files[0].parent, averages)
    if weights == "raw":
        directory = TaskPaths(train).raw_weights(step)
        with _opened(store, directory) as raw:
            fill_weights(snapshot.model, raw, "weight")
    return snapshot


@contextmanager
def opened_snapshot(store: Store, reference: SnapshotRef) -> Iterator[SizedState]:
    """Give the averaged weights of a snapshot, to be read in slices, for a `with` block; those that its training did
    not move are read where that started. Raises: as `read_snapshot`."""
    train, step = reference
    with _opened(store, TaskPaths(train).snapshot(step)) as weights:
        yield weights


@contextmanager
def _opened(store: Store, directory: str) -> Iterator[SizedState]:
    with (
        _remade_if_damaged(store, directory),
        open_state(store, directory) as (own, about),
        with_unmoved(own, about, store, opened_snapshot) as weights,
    ):
        yield weights


@contextmanager
def _remade_if_damaged(store: Store, directory: str) -> Iterator[None]:
    try:
        yield
    except DamagedArtifactError as damage:
        store.remove(f"{directory}/{MANIFEST}")
        raise DamagedArtifactError(f"{damage}; submit again to make it anew") from None
