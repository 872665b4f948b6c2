"""Videos in every paradigm: a clip of one frame is an image, every frame counts, and trainings go on as they were."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from dfm_core.catalog.datasets import DataShape
from dfm_core.config import ExperimentConfig
from dfm_core.data.image_dataset import ImageDataset
from dfm_core.decompositions import build_decomposition
from dfm_core.models.experts import StageExperts
from dfm_core.models.velocity import VelocityModel
from dfm_core.paradigms import Batch
from dfm_core.paradigms.standardization import measure_scale_std
from dfm_core.training.engine import STATE_KINDS, PlainEngine
from dfm_core.training.loop import train
from dfm_core.training.state import build_model
from dfm_core.training.steps import LoopPlan
from tests.support.models import (
    NUM_CLASSES,
    PARADIGM_CONFIGS,
    paradigm_of,
    random_batch,
    random_dataset,
    random_model,
    training_batch,
    trainings,
)
from tests.support.state_folders import read_folder
from tests.support.training_recorder import Recorder

TRAININGS = {
    f"{name}-{number}": training
    for name, config in PARADIGM_CONFIGS.items()
    for number, training in enumerate(trainings(config))
}
FRAMES = 3


def clips(num_clips: int = 20) -> ImageDataset:
    """Random pixels, each frame another."""
    flat = random_dataset(num_clips * FRAMES).pixels
    pixels = flat.reshape(num_clips, FRAMES, 1, 8, 8).transpose(1, 2).contiguous()
    return ImageDataset(pixels, random_dataset(num_clips).labels)


def image_and_video_model(config: ExperimentConfig) -> tuple[VelocityModel, VelocityModel]:
    """The same weights for images and for clips of one frame; with the clips' rotation, which leaves a part of each
    head to the frame's axis."""
    image, video = random_model(config), random_model(config, frames=1)
    for name, rotation in video.network.named_buffers():
        if name.startswith("rotation_"):
            setattr(image.network, name, rotation)
    return image, video


@pytest.mark.parametrize("config", TRAININGS.values(), ids=TRAININGS)
def test_a_clip_of_one_frame_has_the_loss_and_the_gradient_of_the_image(config: ExperimentConfig) -> None:
    image, video = image_and_video_model(config)
    batch = random_batch(8)
    alone = paradigm_of(config).loss(image, batch)
    clip = paradigm_of(config).loss(video, replace(batch, images=batch.images.unsqueeze(2)))
    assert torch.equal(clip.loss, alone.loss)
    assert torch.equal(clip.stage_losses, alone.stage_losses)
    for result in (alone, clip):
        result.loss.backward()
    for one, other in zip(video.parameters(), image.parameters(), strict=True):
        assert torch.equal(one.grad, other.grad)


@pytest.mark.parametrize("config", PARADIGM_CONFIGS.values(), ids=PARADIGM_CONFIGS)
@torch.no_grad()
def test_a_sampled_clip_of_one_frame_is_the_sampled_image(config: ExperimentConfig) -> None:
    pairs = [image_and_video_model(own) for own in trainings(config)]
    image, video = ([pair[kind] for pair in pairs] for kind in (0, 1))
    labels = torch.tensor([0, 2])
    found = [
        paradigm_of(config).sample(
            StageExperts(models) if len(models) > 1 else models[0], labels, range(2), 5, config.sampling
        )
        for models in (image, video)
    ]
    assert torch.equal(found[1].images, found[0].images.unsqueeze(2))
    assert found[1].num_evaluations == found[0].num_evaluations


@pytest.mark.parametrize("config", TRAININGS.values(), ids=TRAININGS)
def test_the_loss_of_a_clip_depends_on_every_frame(config: ExperimentConfig) -> None:
    model = random_model(config, frames=FRAMES)
    dataset = clips(8)
    batch = Batch(dataset.images(slice(None)).requires_grad_(), dataset.labels, range(8))
    (gradient,) = torch.autograd.grad(paradigm_of(config).loss(model, batch).loss, batch.images)
    assert gradient.abs().amax(dim=(1, 3, 4)).min() > 1e-6  # [B, T]


def test_scale_statistics_of_clips_are_those_of_their_frames() -> None:
    decomposition, videos = build_decomposition(TRAININGS["dfm-0"].decomposition), clips()
    frames = ImageDataset(videos.pixels.transpose(1, 2).flatten(0, 1), videos.labels.repeat_interleave(FRAMES))
    assert measure_scale_std(decomposition, videos) == pytest.approx(
        measure_scale_std(decomposition, frames), rel=1e-12
    )


def engine_of(config: ExperimentConfig, num_micro_batches: int = 1) -> PlainEngine:
    shape, std = DataShape(1, NUM_CLASSES, FRAMES), (1.0,) * config.num_stages
    return PlainEngine(build_model(config, shape, std), config.training, num_micro_batches)


@pytest.mark.parametrize("config", TRAININGS.values(), ids=TRAININGS)
def test_a_resumed_training_on_clips_is_the_uninterrupted_one_bit_for_bit(
    config: ExperimentConfig, tmp_path: Path
) -> None:
    plan = LoopPlan(until_step=4, micro_batch_size=8, log_every=1, save_at=frozenset({2}))
    whole = engine_of(config)
    recorder = Recorder(whole, tmp_path)
    curve = train(config, paradigm_of(config), clips(), whole, plan, recorder)
    resumed = engine_of(replace(config, seed=123))
    resumed.load(read_folder(tmp_path / "2"), num_steps=2)
    rest = train(config, paradigm_of(config), clips(), resumed, plan, start_step=2, curve=recorder.saved[2])
    assert rest == curve
    for kind in STATE_KINDS:
        for (name, one), (_, other) in zip(whole.tensors(kind), resumed.tensors(kind), strict=True):
            assert torch.equal(one, other), f"{kind} {name}"


@pytest.mark.parametrize("name", ["dfm-0", "pyramidal_flow-0"])
def test_micro_batches_of_clips_change_nothing_but_rounding(name: str) -> None:
    config, curves = TRAININGS[name], []
    for micro in (8, 2):
        plan = LoopPlan(until_step=3, micro_batch_size=micro, log_every=1, save_at=frozenset())
        curves.append(train(config, paradigm_of(config), clips(), engine_of(config, 8 // micro), plan))
    for whole, split in zip(*curves, strict=True):
        assert split == pytest.approx(whole, rel=1e-5)


def test_a_batch_of_clips_holds_the_clips_of_its_indices() -> None:
    config, dataset = TRAININGS["dfm-0"], clips()
    whole = training_batch(config, dataset, range(16))
    part = training_batch(config, dataset, range(5, 9))
    assert whole.images.shape == (16, 1, FRAMES, 8, 8)
    assert torch.equal(part.images, whole.images[5:9])
    assert torch.equal(part.labels, whole.labels[5:9])
