"""Autoencoders that tasks trained: written to the store, and read from it."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from dfm_core.autoencoder_training.finetuning import in_colour
from dfm_core.autoencoders.base import Autoencoder
from dfm_core.autoencoders.diffusers_vae import DiffusersAutoencoder
from dfm_core.autoencoders.initialization import LatentScale, random_autoencoder, unit_scale, write_autoencoder
from dfm_core.autoencoders.registry import load_autoencoder
from dfm_core.config import DataConfig
from dfm_core.config.data import IN_BF16
from dfm_core.data.training_data import TrainingData
from dfm_core.training.engine import StateKind
from orchestration.artifacts.training_artifacts import TrainingArtifacts
from orchestration.config.runtime import RuntimeConfig
from orchestration.config.storage import StorageConfig
from orchestration.data.autoencoder_recipe import InitialAutoencoder, made_identity, recipe_digest
from orchestration.data.user_files import autoencoder_folder, open_place
from orchestration.storage.layout import TaskPaths
from orchestration.storage.scratch import scratch_folder
from orchestration.storage.store import MANIFEST, DamagedArtifactError, FileEntry, Store

WEIGHT_PREFIX = "network."
"""Prefix of the names of weights in `FinetuningLoss`."""
_BATCH = 64
_MOST_BATCHES = 16
"""Batches from which the scale of new latents is measured: 1024 samples, or all of fewer."""


def read_made_autoencoder(store: Store, digest: str, kind: str) -> DiffusersAutoencoder:
    """Return the autoencoder that a task trained, on the CPU; its identity is `made_identity`.

    Raises: FileNotFoundError if it is not there; DamagedArtifactError, after which the next submission makes it anew.
    """
    directory = TaskPaths(digest).autoencoder
    try:
        with store.fetched(directory) as files:
            autoencoder = _of_diffusers(load_autoencoder(kind, files[0].parent))
    except DamagedArtifactError as damage:
        store.remove(f"{directory}/{MANIFEST}")
        store.remove(TaskPaths(digest).result)
        raise DamagedArtifactError(f"{damage}; submit again to make it anew") from None
    autoencoder.identity = made_identity(kind, digest)
    return autoencoder


def read_initial(initial: InitialAutoencoder, seed: int, store: Store, storage: StorageConfig) -> DiffusersAutoencoder:
    """Return the autoencoder from which a training begins, on the CPU.

    Args: seed: of random weights. storage: the sweep's; a place of its protocol is read with its options.
    Raises: as `read_made_autoencoder` and `load_autoencoder`; ValueError if the files have changed.
    """
    if initial.architecture is not None:
        return random_autoencoder(initial.architecture, seed)
    if initial.made_by:
        return read_made_autoencoder(store, initial.made_by, initial.kind)
    loaded = _given(initial.kind, initial.files, storage)
    if loaded.identity != initial.identity:
        raise ValueError(f"{initial.files}: its files have changed since the sweep was planned")
    return loaded


def load_of_data(data: DataConfig, runtime: RuntimeConfig, store: Store, device: torch.device) -> Autoencoder:
    """Return the autoencoder that a data section names, on the device; pixels where it names none.

    Raises: as `read_made_autoencoder` and `load_autoencoder`.
    """
    if not data.autoencoder or data.described is None:
        return load_autoencoder("pixels", Path())
    config = runtime.autoencoders[data.autoencoder]
    if config.files is None:
        loaded = read_made_autoencoder(store, recipe_digest(data.described.encoder), config.kind)
    else:
        loaded = _given(config.kind, config.files, runtime.storage)
    loaded.network.to(device).requires_grad_(requires_grad=False)
    if data.described.encoder.endswith(IN_BF16):
        loaded.use_bf16()
    return loaded


def publish_made_autoencoder(
    artifacts: TrainingArtifacts,
    step: int,
    kind: StateKind,
    trained: DiffusersAutoencoder,
    data: TrainingData,
    device: torch.device,
    *,
    scaled: bool,
) -> None:
    """Publish the weights in a training's checkpoint, whole, as diffusers lays files out.

    Args: kind: of the state that is published: "ema" for the average. trained: an autoencoder with the settings of
        the trained one, whose weights are overwritten. scaled: with latents of mean 0 and standard deviation 1 on the
        first samples of the data; else scale and shift stay.
    Raises: FileNotFoundError, DamagedArtifactError if the checkpoint is not sound.
    """
    with artifacts.opened_checkpoint(step) as point:
        for name, weight in trained.network.named_parameters():
            point.state.fill(weight.data.view(-1), kind, WEIGHT_PREFIX + name, 0)
    weights = {name: weight.detach().clone() for name, weight in trained.network.named_parameters()}
    scale = _measured_scale(trained, data, device) if scaled else None
    store, directory = artifacts.store, artifacts.paths.autoencoder
    with scratch_folder("autoencoder") as scratch:
        files = write_autoencoder(trained, weights, scratch, scale)
        for path in files:
            store.put(path, f"{directory}/{path.name}")
        store.publish(directory, [FileEntry.of(path) for path in files])


def _measured_scale(autoencoder: DiffusersAutoencoder, data: TrainingData, device: torch.device) -> LatentScale:
    autoencoder.network.to(device)
    return unit_scale(autoencoder, (batch.to(device) for batch in _first_batches(data)))


def _first_batches(data: TrainingData) -> list[Tensor]:
    batches: list[Tensor] = []
    for chunk in data.chunks():
        batches += torch.split(in_colour(chunk), _BATCH)
        if len(batches) >= _MOST_BATCHES:
            break
    return batches[:_MOST_BATCHES]


def _given(kind: str, place: str, storage: StorageConfig) -> DiffusersAutoencoder:
    with autoencoder_folder(open_place(place, storage)) as folder:
        return _of_diffusers(load_autoencoder(kind, folder))


def _of_diffusers(autoencoder: Autoencoder) -> DiffusersAutoencoder:
    assert isinstance(autoencoder, DiffusersAutoencoder), f"{autoencoder.identity} has no weights to train"
    return autoencoder
