"""The weights of a learned decomposition: fitted once by a task, read by every training on its scales."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from safetensors.torch import load, save
from torch import Tensor

from dfm_core.config import ExperimentConfig
from dfm_core.data.image_dataset import load_dataset
from dfm_core.decompositions.learned import fit_pyramid
from orchestration.artifacts.task_record import TaskRecord, checksum, read_checked, write_record
from orchestration.storage.layout import TaskPaths
from orchestration.storage.store import Store

_FILE = "pyramid.safetensors"


def make_pyramid(store: Store, digest: str, config: ExperimentConfig, progress: Callable[[int], None]) -> None:
    """Fit the learned decomposition of a config to its training images and publish the weights with their record.

    Args: progress: called with the steps done.
    """
    started, images = time.monotonic(), load_dataset(config.data.dataset, "train").pixels
    weights = fit_pyramid(config.decomposition, images, images.shape[1], config.seed, progress)
    content = save({name: tensor.contiguous() for name, tensor in weights.items()})
    store.write(TaskPaths(digest).result_file(_FILE), content)
    about = checksum(_FILE, content)
    write_record(store, TaskRecord(digest, "pyramid", {}, time.monotonic() - started, files=(_FILE,), about=about))


def read_pyramid(store: Store, digest: str) -> Mapping[str, Tensor]:
    """Return the weights that `make_pyramid` published.

    Raises: DamagedArtifactError, after which the next submission makes them anew.
    """
    weights: Mapping[str, Tensor] = load(read_checked(store, digest, _FILE))
    return weights
