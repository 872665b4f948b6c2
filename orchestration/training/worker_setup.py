"""The setup of every training on a worker of Ray Train before its first step."""

from __future__ import annotations

import os

import ray
import ray.train
import torch
import torch.distributed as dist

from dfm_core.config import DataConfig
from dfm_core.data.captions.bucketed_latents import BucketedLatents
from dfm_core.data.image_dataset import load_dataset
from dfm_core.data.latents.latent_samples import LatentSamples
from dfm_core.data.latents.manifest import DamagedLatentsError
from dfm_core.data.latents.prefetch import Prefetch
from dfm_core.data.training_data import TrainingData
from dfm_core.models.flux.text_encoders import TextEncoders
from dfm_core.models.text_tables import TextTable
from orchestration.artifacts.samples.captioned_latents import open_captioned
from orchestration.artifacts.samples.latents import latent_cache, open_latents
from orchestration.artifacts.samples.planned_text_encoders import load_planned_encoders
from orchestration.artifacts.samples.text_encodings import open_text_table
from orchestration.config.workers import WorkersConfig
from orchestration.control.progress_board import find_progress_board
from orchestration.startup.full_precision import multiply_in_fp32
from orchestration.storage.layout import TaskPaths
from orchestration.storage.store import Store
from orchestration.tasks.task import TrainTask
from orchestration.training.train_request import TrainRequest


def worker_device() -> torch.device:
    """Return the accelerator of this worker, and make it the current one."""
    device: torch.device = ray.train.torch.get_device()
    if device.type == "cuda":
        torch.cuda.set_device(device)  # where NCCL puts what it sends without being told a device
    return device


def use_kernels(*, deterministic: bool) -> None:
    """Choose the kernels of this worker's next training."""
    multiply_in_fp32()
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS has no other way
    torch.use_deterministic_algorithms(deterministic)


def gather_texts(text: str, device: torch.device) -> list[str]:
    """Return the texts of all workers, by rank. Collective.

    They travel as bytes: torch's own calls for objects unpickle what arrives. Args: device: one that the group's
    backend sends from."""
    own = torch.tensor(list(text.encode()), dtype=torch.uint8, device=device)
    lengths = [torch.zeros(1, dtype=torch.int64, device=device) for _ in range(dist.get_world_size())]
    dist.all_gather(lengths, torch.tensor([own.numel()], dtype=torch.int64, device=device))
    longest = max(int(length) for length in lengths)
    padded = torch.nn.functional.pad(own, (0, longest - own.numel()))
    gathered = [torch.empty_like(padded) for _ in lengths]
    dist.all_gather(gathered, padded)
    return [bytes(one[: int(length)].tolist()).decode() for one, length in zip(gathered, lengths, strict=True)]


def agreed_reason(request: TrainRequest, reason: str) -> str:
    """Return the first reason of any worker not to start, "" for none, and report it to the board. Collective."""
    context = ray.train.get_context()
    agreed = next(filter(None, gather_texts(reason, worker_device())), "")
    if agreed and context.get_world_rank() == 0:
        ray.get(find_progress_board(request.progress_board).failed.remote(request.task.digest, agreed))
    return agreed


def open_training_data(
    data: DataConfig, latents: str, store: Store, workers: WorkersConfig, batch_size: int = 0
) -> tuple[TrainingData | None, str]:
    """Open the data of a training.

    Args: latents: digest of the task that encoded them; "": the training reads embedded images. batch_size: of a step,
        of all workers together; captioned images need it.

    Returns: the samples, or None and why they cannot be read; a restart would read the same.
    """
    if not latents:
        return load_dataset(data.dataset, "train"), ""
    prefetch = Prefetch(draw_threads=workers.cpus_per_worker)
    try:
        if data.sides:
            assert batch_size, "the shape of captioned images is a step's"
            stores = open_captioned(store, TaskPaths(latents).latents, latent_cache(workers))
            return BucketedLatents(stores, data.step_shares, batch_size, data.window_shards, prefetch), ""
        opened = open_latents(store, TaskPaths(latents).latents, latent_cache(workers))
    except (FileNotFoundError, DamagedLatentsError) as error:
        return None, f"the latents it trains on cannot be read: {error}"
    return LatentSamples(opened, data.window_shards, prefetch), ""


def open_captions(
    request: TrainRequest, task: TrainTask, store: Store, device: torch.device
) -> tuple[TextTable | None, str]:
    """Open a training's captions, with their encoders where these run in its workers.

    Returns: the table, or None and why it cannot be read.
    """
    data = task.config.data

    def encoders() -> TextEncoders:
        captions = data.described and data.described.captions
        assert captions, f"{data.dataset} has captions"
        assert task.encoders is not None, "who reads tokens is told their encoders"
        identity, length = captions.encoders, data.text_length
        return load_planned_encoders(data.text, task.encoders, request.storage, identity, length, device)

    try:
        return open_text_table(store, TaskPaths(task.texts).latents, latent_cache(request.workers), encoders), ""
    except (FileNotFoundError, DamagedLatentsError, ValueError) as error:
        return None, f"the captions it trains on cannot be read: {error}"
