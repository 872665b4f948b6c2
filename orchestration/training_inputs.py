"""The samples that a training reads, on one worker."""

from __future__ import annotations

from dfm_core.config import DataConfig
from dfm_core.data.datasets import load_dataset
from dfm_core.data.latent_manifest import DamagedLatentsError
from dfm_core.data.latent_samples import LatentSamples
from dfm_core.data.training_data import TrainingData
from orchestration.latent_store import latent_cache, open_latents
from orchestration.layout import TaskPaths
from orchestration.runtime import WorkersConfig
from orchestration.storage import Store


def open_training_data(
    data: DataConfig, latents: str, store: Store, workers: WorkersConfig
) -> tuple[TrainingData | None, str]:
    """Args: latents: digest of the task that made them; "": the training reads embedded images.

    Returns: the samples, or None and why they cannot be read; starting again would read the same.
    """
    if not latents:
        return load_dataset(data.dataset, "train"), ""
    try:
        opened = open_latents(store, TaskPaths(latents).latents, latent_cache(workers))
    except (FileNotFoundError, DamagedLatentsError) as error:
        return None, f"the latents it trains on cannot be read: {error}"
    return LatentSamples(opened, data.window_shards), ""
