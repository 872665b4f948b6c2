"""Ten images a class, an autoencoder of random weights, and encodings of them on one evaluator in this process."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from dfm_core.config import ExperimentConfig
from orchestration.artifacts.samples.latents import latent_cache, open_latents
from orchestration.config.datasets import AutoencoderConfig, DatasetConfig
from orchestration.config.runtime import RuntimeConfig
from orchestration.data.describe import DatasetInspector
from orchestration.encoding.shard_encoder import ShardEncoder
from orchestration.storage.layout import TaskPaths
from orchestration.storage.store import Store
from orchestration.tasks.task import Task
from tests.support.dataset_files import png
from tests.support.measuring import WORKERS, Bench
from tests.support.models import with_values
from tests.support.tiny_autoencoders import save_kl

SIDE = 16
CLASSES = ("ant", "bee")
LATENTS: dict[str, Any] = {
    "data.dataset": "insects",
    "data.side": SIDE,
    "data.autoencoder": "tiny",
    "model.size": "nano",
    "model.patch_sizes": (1, 2),
    "sampling.steps": (2, 1),
    "evaluation.num_samples": 20,
    "evaluation.metrics": ("fd_lite0_block10",),
}


def make_files(folder: Path) -> Path:
    """Ten images a class to train on, and four to compare with. Returns: the folder."""
    save_kl(folder / "vae")
    for part, count in (("train", 10), ("reference", 4)):
        for number, name in enumerate(CLASSES):
            images = folder / part / name
            images.mkdir(parents=True)
            for at in range(count):
                (images / f"{at}.png").write_bytes(png(at + 100 * number + 1000 * (part == "reference"), side=24))
    return folder


def runtime_of(files: Path, **changed: Any) -> RuntimeConfig:
    dataset = DatasetConfig(str(files / "train"), reference=str(files / "reference"))
    return RuntimeConfig(
        workers=WORKERS,
        datasets={"insects": replace(dataset, **changed)},
        autoencoders={"tiny": AutoencoderConfig("kl", str(files / "vae"))},
    )


def described(runtime: RuntimeConfig, **values: Any) -> ExperimentConfig:
    """Names with two underscores in the place of a dot."""
    changed = {key.replace("__", "."): value for key, value in values.items()}
    config = with_values(ExperimentConfig(), {**LATENTS, **changed})
    data, problems = DatasetInspector(runtime).describe(config.data)
    assert not problems, problems
    assert data.described is not None
    side = data.described.resolution
    return replace(config, data=data, decomposition=replace(config.decomposition, resolutions=(side // 2, side)))


def small_parts(task: Task | None, size: int = 6) -> Task:
    """The same task with parts of a few files: how many they are decides the store, not what is in it."""
    assert task is not None
    return replace(task, payload={**task.payload, "samples_per_shard": size})


def latents_of(store: Store, task: Task) -> dict[str, torch.Tensor]:
    opened = open_latents(store, TaskPaths(task.digest).latents, latent_cache(WORKERS))
    batch = opened.read(range(len(opened)))
    return {**batch.tensors, "label": batch.labels}


class Counting(ShardEncoder):
    """Fails when it is told to, and counts what it makes."""

    made: list[int]
    fails_at: int | None = None

    def encode(self, task: Task, number: int, num_parts: int, batch_samples: int) -> float:
        if number == self.fails_at:
            raise ConnectionError("the evaluator was killed")
        self.made.append(number)
        return super().encode(task, number, num_parts, batch_samples)


def counting_bench(store: Store, runtime: RuntimeConfig) -> tuple[Bench, Counting]:
    """An evaluator that counts the parts that it makes."""
    bench = Bench(store, runtime=runtime)
    encoder = Counting(bench.evaluator._store, runtime, torch.device("cpu"), bench.evaluator._resources.autoencoder)
    encoder.made = []
    bench.evaluator._encoder = encoder
    return bench, encoder
