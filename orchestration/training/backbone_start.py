"""A training's start from a pretrained backbone: each worker reads the slices of the weights that it holds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple

from dfm_core.models.flux.pretrained_files import PretrainedFiles
from dfm_core.models.network import VelocityNetwork
from dfm_core.training.engine import StateKind, StateSource
from orchestration.artifacts.snapshot_loader import opened_snapshot
from orchestration.config.storage import StorageConfig
from orchestration.data.backbone_files import describe_backbone, open_backbone
from orchestration.storage.store import Store
from orchestration.tasks.task import TrainTask


class BackboneChangedError(ValueError):
    """The files that a training starts from are not those that it was planned with, or cannot be read."""


class BackboneStart(NamedTuple):
    """The weights that a backbone gives to a network."""

    state: StateSource | None
    """None: nothing, all weights are drawn."""
    kind: StateKind
    origins: Mapping[str, str]
    """Tensor of the state by the name of the weight that it gives."""


@contextmanager
def opened_backbone(
    network: VelocityNetwork, task: TrainTask, store: Store, storage: StorageConfig
) -> Iterator[BackboneStart]:
    """Give what a training starts from to read for a `with` block. Sends nothing.

    Args: store: of snapshots. storage: the sweep's, with whose options files are read.
    Raises: BackboneChangedError, also from the block; as `opened_snapshot`, for a snapshot.
    """
    if task.initial is not None:
        with opened_snapshot(store, task.initial) as weights:
            yield BackboneStart(weights, "ema", network.starting_names(weights.sizes("ema")))
    elif task.start_files:
        try:
            files = _planned_files(task, storage)
            yield BackboneStart(files, "weight", network.starting_names(files.places))
        except (FileNotFoundError, ValueError) as error:
            reason = f"the backbone it starts from cannot be used: {task.start_files}: {error}"
            raise BackboneChangedError(reason) from None
    else:
        yield BackboneStart(None, "weight", {})


def _planned_files(task: TrainTask, storage: StorageConfig) -> PretrainedFiles:
    """Return the files. Raises: ValueError if they are not those that the task was planned with."""
    files = open_backbone(task.start_files, storage)
    if describe_backbone("flux", files) != task.config.model.described:
        raise ValueError("its files have changed since the sweep was planned")
    return files
