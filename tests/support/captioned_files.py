"""Captioned images of several sizes, and text encoders of random weights."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from dfm_core.config import ExperimentConfig
from orchestration.config.datasets import AutoencoderConfig, DatasetConfig, TextEncodersConfig
from orchestration.config.runtime import RuntimeConfig
from orchestration.data.describe import DatasetInspector
from tests.support.dataset_files import encoded
from tests.support.measuring import WORKERS
from tests.support.models import with_values
from tests.support.tiny_autoencoders import save_kl
from tests.support.tiny_text_encoders import make_text_encoders

SIZES = ((36, 36), (40, 34), (70, 70), (30, 60), (64, 30))
"""Height and width; the images of a set take turns."""
COLOURS = ("blue", "red", "green")
THINGS = ("rose", "tree", "house")


def caption(number: int) -> str:
    return f"{THINGS[number % 3]} on a {COLOURS[number // 3 % 3]} background"


def make_captioned(folder: Path, num_train: int = 20, num_reference: int = 5) -> Path:
    """Write images beside their captions, an autoencoder and text encoders. Returns: the folder."""
    save_kl(folder / "vae")
    make_text_encoders(folder / "encoders")
    for part, count in (("train", num_train), ("reference", num_reference)):
        (folder / part).mkdir(parents=True)
        for number in range(count):
            pixels = np.random.default_rng(number + 1000 * (part == "reference")).integers(
                0, 256, (*SIZES[number % len(SIZES)], 3), dtype=np.uint8
            )
            (folder / part / f"{number}.png").write_bytes(encoded(pixels, "PNG"))
            (folder / part / f"{number}.txt").write_text(caption(number), encoding="utf-8")
    return folder


def captioned_runtime(files: Path, **changed: Any) -> RuntimeConfig:
    dataset = DatasetConfig(str(files / "train"), layout="captioned_folder", reference=str(files / "reference"))
    return RuntimeConfig(
        workers=WORKERS,
        datasets={"flowers": replace(dataset, **changed)},
        autoencoders={"tiny": AutoencoderConfig("kl", str(files / "vae"))},
        text_encoders={"tiny": TextEncodersConfig(str(files / "encoders"), precision="fp32")},
    )


def captioned_config(runtime: RuntimeConfig, **values: Any) -> ExperimentConfig:
    """Names with two underscores in the place of a dot."""
    base = {
        "data.dataset": "flowers",
        "data.sides": (32,),
        "data.autoencoder": "tiny",
        "data.text": "tiny",
        "data.text_length": 16,
        "evaluation.num_samples": 5,
        "evaluation.metrics": ("fd_lite0_block10",),
    }
    changed = {key.replace("__", "."): value for key, value in values.items()}
    config = with_values(ExperimentConfig(), {**base, **changed})
    data, problems = DatasetInspector(runtime).describe(config.data)
    assert not problems, problems
    return replace(config, data=data)
