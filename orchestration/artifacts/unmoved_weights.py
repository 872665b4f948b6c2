"""Weights that a training left as they were: none of its snapshots holds them, and they are read where it started."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass, field
from math import prod
from typing import Any

from dfm_core.training.engine import SizedState, StateSource
from dfm_core.training.piece_index import UNMOVED
from dfm_core.training.pieces import JoinedState
from orchestration.config.storage import StorageConfig
from orchestration.data.backbone_files import describe_backbone, open_backbone
from orchestration.storage.layout import SnapshotRef
from orchestration.storage.store import Store

OpenedSnapshot = Callable[[Store, SnapshotRef], AbstractContextManager[SizedState]]


@dataclass(frozen=True)
class UnmovedWeights:
    """The place of weights that did not move: a snapshot, or files of the user's, whose digest was taken."""

    names: Mapping[str, str] = field(default_factory=dict)
    """Tensor there by the name of the weight."""
    snapshot: SnapshotRef | None = None
    files: str = ""
    """Place of a pretrained network."""
    identity: str = ""
    """Identity of these files, which another network at their place has not."""

    def about(self) -> dict[str, Any]:
        """Return the part of a snapshot's manifest that leads there; empty if every weight is in the snapshot."""
        return {UNMOVED: asdict(self)} if self.names else {}


@contextmanager
def with_unmoved(
    state: SizedState, about: Mapping[str, Any], store: Store, opened: OpenedSnapshot
) -> Iterator[SizedState]:
    """Give a snapshot's state with the weights that its manifest says are elsewhere, for a `with` block.

    Args: about: the manifest's. opened: opens another snapshot of the store.
    Raises: FileNotFoundError if the files have gone or are others; as `opened`.
    """
    if UNMOVED not in about:
        yield state
        return
    place = UnmovedWeights(**about[UNMOVED])
    if place.snapshot is not None:
        digest, step = place.snapshot
        with opened(store, (str(digest), int(step))) as other:
            yield JoinedState(state, place.names, other, "ema", other.sizes("ema"))
    else:
        other_files, sizes = _planned_files(place, store)
        yield JoinedState(state, place.names, other_files, "weight", sizes)


def _planned_files(place: UnmovedWeights, store: Store) -> tuple[StateSource, Mapping[str, int]]:
    """Return the files and the elements of each of their tensors. Raises: FileNotFoundError if they are others."""
    policy = store.retry_policy
    storage = StorageConfig(store.root, store.options, policy.call_seconds, policy.retry_seconds)
    try:
        files = open_backbone(place.files, storage)
        found = describe_backbone(place.identity.partition(":")[0], files).identity
        reason = "" if found == place.identity else "its files have changed"
    except (FileNotFoundError, ValueError) as error:
        reason = str(error)
    if reason:
        what = f"the weights that its training did not move are those of {place.files}"
        raise FileNotFoundError(f"{what}, which cannot be read: {reason}; put the files there again")
    return files, {name: prod(own.shape) for name, own in files.places.items()}
