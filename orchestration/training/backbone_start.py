"""A training's start from a pretrained backbone: each worker reads the slices of the weights that it holds."""

from __future__ import annotations

from dfm_core.models.network import VelocityNetwork
from dfm_core.training.state import initialize_model
from orchestration.artifacts.snapshot_loader import opened_snapshot
from orchestration.config.storage import StorageConfig
from orchestration.data.backbone_files import describe_backbone, open_backbone
from orchestration.storage.store import Store
from orchestration.tasks.task import TrainTask
from orchestration.training.deepspeed_engine import DeepSpeedEngine


class BackboneChangedError(ValueError):
    """The files that a training starts from are not those that it was planned with, or cannot be read."""


def start_from_backbone(
    engine: DeepSpeedEngine[VelocityNetwork], task: TrainTask, store: Store, storage: StorageConfig
) -> None:
    """Set the weights that the backbone gives, and the initial values of all others. Collective.

    Args: store: of snapshots. storage: the sweep's, with whose options files are read.
    Raises: BackboneChangedError; as `opened_snapshot`, for a snapshot.
    """
    if task.initial is not None:
        with opened_snapshot(store, task.initial) as weights:
            origins = engine.module.starting_names(weights.sizes("ema"))
            initialize_model(engine.module, task.config, engine.whole, origins)
            engine.set_weights(weights, "ema", origins)
    elif task.start_files:
        _start_from_files(engine, task, storage)
    else:
        initialize_model(engine.module, task.config, engine.whole)


def _start_from_files(engine: DeepSpeedEngine[VelocityNetwork], task: TrainTask, storage: StorageConfig) -> None:
    planned = task.config.model.described
    assert planned is not None, "a backbone is described when its sweep is read"
    try:
        files = open_backbone(task.start_files, storage)
        if describe_backbone("flux", files) != planned:
            raise ValueError("its files have changed since the sweep was planned")
        origins = engine.module.starting_names(files.places)
        initialize_model(engine.module, task.config, engine.whole, origins)
        engine.set_weights(files, "weight", origins)
    except (FileNotFoundError, ValueError) as error:
        raise BackboneChangedError(f"the backbone it starts from cannot be used: {task.start_files}: {error}") from None
