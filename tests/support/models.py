"""Small objects that the tests share: golden numbers, tiny configs, models whose every parameter matters."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dfm_core.catalog.datasets import DataShape
from dfm_core.config import DecompositionConfig, ExperimentConfig, ModelConfig, SamplingConfig, TrainingConfig
from dfm_core.config.training import ExpertsConfig
from dfm_core.data.image_dataset import ImageDataset
from dfm_core.data.training_data import TrainingData
from dfm_core.decompositions import build_decomposition
from dfm_core.models.experts import StageExperts
from dfm_core.models.velocity import VelocityModel
from dfm_core.paradigms import Batch, Paradigm, build_paradigm
from dfm_core.training.state import build_model

GOLDEN = Path(__file__).parents[1] / "golden"
NUM_CLASSES = 3
SHAPE = DataShape(channels=1, num_classes=NUM_CLASSES)


def golden_arrays(name: str) -> dict[str, np.ndarray]:
    """The arrays of tests/golden/NAME.npz."""
    with np.load(GOLDEN / f"{name}.npz") as archive:
        return {key: archive[key] for key in archive.files}


def golden_tensors(name: str) -> dict[str, Tensor]:
    """The arrays of tests/golden/NAME.npz as tensors."""
    return {key: torch.from_numpy(value) for key, value in golden_arrays(name).items()}


def golden_json(name: str) -> Any:
    """The content of tests/golden/NAME.json."""
    return json.loads((GOLDEN / f"{name}.json").read_text())


def with_values(config: ExperimentConfig, values: Mapping[str, Any]) -> ExperimentConfig:
    """A copy with other values; keys are dotted, as in a sweep file."""
    for key, value in values.items():
        section, _, name = key.rpartition(".")
        config = (
            replace(config, **{section: replace(getattr(config, section), **{name: value})})
            if section
            else replace(config, **{name: value})
        )
    return config


def tiny_dfm(values: Mapping[str, Any] | None = None) -> ExperimentConfig:
    """DFM with two scales of sides 4 and 8 and 16 tokens; fast enough to train in a test."""
    config = ExperimentConfig(
        paradigm="dfm",
        decomposition=DecompositionConfig(name="laplacian", resolutions=(4, 8)),
        model=ModelConfig(size="nano", patch_sizes=(1, 2)),
        training=TrainingConfig(
            steps=6,
            batch_size=8,
            first_stage_probability=0.6,
            class_dropout=0.25,
            learning_rate=1e-2,
            warmup_steps=3,
            ema_decay=0.9,
        ),
        sampling=SamplingConfig(steps=(3, 2), tau=(0.7,)),
    )
    return with_values(config, values or {})


def tiny_flow_matching(values: Mapping[str, Any] | None = None) -> ExperimentConfig:
    """Flow matching on images of side 8 with 16 tokens."""
    one_scale = {
        "paradigm": "flow_matching",
        "decomposition": DecompositionConfig(name="identity", resolutions=(8,)),
        "model.patch_sizes": (2,),
        "sampling": SamplingConfig(steps=(5,), tau=()),
    }
    return with_values(tiny_dfm(), {**one_scale, **(values or {})})


THREE_SCALES: dict[str, Any] = {
    "decomposition.resolutions": (2, 4, 8),
    "model.patch_sizes": (1, 2, 4),
    "sampling": SamplingConfig((2, 3, 2), (0.6, 0.8)),
}
"""Values that give `tiny_dfm` a third scale."""


def tiny_cascade(stage: int | None, values: Mapping[str, Any] | None = None) -> ExperimentConfig:
    """A cascade of sides 4 and 8 with 16 tokens: the training of one stage's network, or with None the whole."""
    whole = {
        "paradigm": "cascaded",
        "decomposition": DecompositionConfig(name="levels", resolutions=(4, 8)),
        "sampling": SamplingConfig(steps=(3, 2), tau=()),
        "experts.steps": (6, 6),
    }
    config = with_values(tiny_dfm(), {**whole, **(values or {})})
    return config if stage is None else one_network(config, stage)


def one_network(config: ExperimentConfig, stage: int) -> ExperimentConfig:
    """The config that trains one stage's network of several."""
    shares = tuple(float(other == stage) for other in range(config.num_stages))
    return with_values(config, {"training.stage_probabilities": shares, "experts": ExpertsConfig()})


def tiny_pyramidal_flow(values: Mapping[str, Any] | None = None) -> ExperimentConfig:
    """Pyramidal Flow with two stages of sides 4 and 8 and 16 tokens each."""
    own = {
        "paradigm": "pyramidal_flow",
        "decomposition": DecompositionConfig(name="levels", resolutions=(4, 8)),
        "sampling": SamplingConfig(steps=(3, 2), tau=()),
    }
    return with_values(tiny_dfm(), {**own, **(values or {})})


SAMPLED: dict[str, ExperimentConfig] = {
    "flow_matching": tiny_flow_matching(),
    "S2": tiny_dfm(),
    "S3": tiny_dfm(THREE_SCALES),
    "haar": tiny_dfm({"decomposition": DecompositionConfig("wavelet", (4, 8))}),
    "bands": tiny_dfm(
        {
            "decomposition": DecompositionConfig("cosine", (4, 8), block_size=4, domain="frequency"),
            "model.patch_sizes": (1, 1),
        }
    ),
    "tied": tiny_dfm({"training.timesteps": "tied"}),
    "cascade": tiny_cascade(None),
    "pyramid": tiny_pyramidal_flow(),
    "pyramid_S3": tiny_pyramidal_flow({**THREE_SCALES, "sampling": SamplingConfig((2, 3, 2), ())}),
}
"""Every way to sample, for suites that hold for all of them."""


PARADIGM_CONFIGS = {
    "dfm": tiny_dfm(),
    "flow_matching": tiny_flow_matching(),
    "cascaded": tiny_cascade(None),
    "pyramidal_flow": tiny_pyramidal_flow(),
}
"""A config of every paradigm, for what all of them promise."""


def random_model(
    config: ExperimentConfig, channels: int = 1, scale_std: Sequence[float] | None = None, frames: int | None = None
) -> VelocityModel:
    """A model whose parameters are all random: at DiT's initialisation zero heads hide everything behind them."""
    std = tuple(scale_std or (1.0,) * config.num_stages)
    model = build_model(config, DataShape(channels, NUM_CLASSES, frames), std)
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.15, generator=generator)
    return model


def trainings(config: ExperimentConfig) -> tuple[ExperimentConfig, ...]:
    """The trainings behind a config: its own, or that of each network."""
    if not config.experts.steps:
        return (config,)
    return tuple(one_network(config, stage) for stage in range(config.num_stages))


def random_sampler(
    config: ExperimentConfig, channels: int = 1, scale_std: Sequence[float] | None = None
) -> VelocityModel | StageExperts:
    """Return the sampler of a config: `random_model`, or one for each stage."""
    models = [random_model(own, channels, scale_std) for own in trainings(config)]
    return StageExperts(models) if config.experts.steps else models[0]


def random_dataset(num_images: int = 20, side: int = 8, channels: int = 1) -> ImageDataset:
    """Random pixels with random classes."""
    generator = torch.Generator().manual_seed(11)
    pixels = torch.randint(0, 256, (num_images, channels, side, side), generator=generator, dtype=torch.uint8)
    return ImageDataset(pixels, torch.randint(0, NUM_CLASSES, (num_images,), generator=generator))


def random_batch(num_images: int = 4, side: int = 8, channels: int = 1, first_index: int = 0) -> Batch:
    """The first images of `random_dataset` with consecutive sample indices."""
    dataset = random_dataset(num_images, side, channels)
    return Batch(dataset.images(slice(None)), dataset.labels, range(first_index, first_index + num_images))


def paradigm_of(config: ExperimentConfig, scale_std: Sequence[float] | None = None) -> Paradigm:
    """The paradigm of a config whose decomposition needs no weights."""
    return build_paradigm(
        config, build_decomposition(config.decomposition), tuple(scale_std or (1.0,) * config.num_stages)
    )


VelocityFunction = Callable[[Sequence[Tensor], Tensor, Tensor, Tensor], list[Tensor]]


class FormulaModel:
    """Stands in for a `VelocityModel` where the velocity is known in closed form; remembers its calls."""

    def __init__(
        self, velocity: VelocityFunction, scale_shapes: Sequence[tuple[int, ...]] = ((1, 4, 4), (1, 8, 8))
    ) -> None:
        self.null_class = NUM_CLASSES
        self.scale_shapes = tuple(scale_shapes)
        self.calls: list[tuple[Sequence[Tensor], Tensor, Tensor, Tensor]] = []
        self._velocity = velocity

    def __call__(
        self,
        scales: Sequence[Tensor],
        t: Tensor,
        mask: Tensor,
        labels: Tensor,
        stage_counts: tuple[int, ...] | None = None,
    ) -> list[Tensor]:
        assert stage_counts in (None, _counts(mask))
        self.calls.append((scales, t, mask, labels))
        return self._velocity(scales, t, mask, labels)


def _counts(mask: Tensor) -> tuple[int, ...]:
    return tuple(int((mask.sum(dim=1) == stage + 1).sum()) for stage in range(mask.shape[1]))


def training_batch(config: ExperimentConfig, dataset: TrainingData, indices: range) -> Batch:
    """The training images of these global sample indices."""
    ((images, labels),) = dataset.batches(config.seed, [indices])
    return Batch(images, labels, indices)
