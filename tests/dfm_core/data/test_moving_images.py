"""Clips of still images in motion: what moves, where to, and that nothing else does."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from dfm_core.catalog.datasets import DATASETS, Motion
from dfm_core.config.experiment import NUMERICS_VERSION
from dfm_core.data.image_dataset import load_dataset
from dfm_core.data.moving_images import corner_positions, moving_clips, shrink

MOTION = Motion(side=6, max_speed=1.5)
FRAMES, CANVAS = 25, 14
ROOM = CANVAS - MOTION.side


def images(count: int = 40) -> np.ndarray:
    return np.random.default_rng(1).integers(1, 256, (count, 12, 12), dtype=np.uint8)


def test_every_frame_shows_the_same_image_at_its_corner_on_black() -> None:
    clips = moving_clips(images(), MOTION, FRAMES, CANVAS, "train")
    corners, shrunk = corner_positions(40, MOTION, FRAMES, CANVAS, "train"), shrink(images(), 6)
    assert clips.shape == (40, FRAMES, CANVAS, CANVAS)
    for clip in range(40):
        for frame, (top, left) in enumerate(corners[clip]):
            assert np.array_equal(clips[clip, frame, top : top + 6, left : left + 6], shrunk[clip])
    assert np.array_equal((clips > 0).sum(axis=(2, 3)), np.full((40, FRAMES), 36))  # all else is black


def test_images_stay_on_the_canvas_reach_all_walls_and_turn_there() -> None:
    corners = corner_positions(300, MOTION, FRAMES, CANVAS, "train")
    assert (corners.min(axis=(0, 1)).tolist(), corners.max(axis=(0, 1)).tolist()) == ([0, 0], [ROOM, ROOM])
    steps = np.diff(corners, axis=1)
    assert np.abs(steps).max() == 2  # speeds of up to 1.5 in whole pixels
    turns = (steps.max(axis=1) > 0) & (steps.min(axis=1) < 0)
    assert 0.5 < turns.mean() < 1.0
    beside_a_wall = np.isin(corners, (0, 1, ROOM - 1, ROOM)).any(axis=1)  # it may turn between two frames
    assert beside_a_wall[turns].all()


def test_the_way_is_straight_and_even_until_it_meets_a_wall() -> None:
    """A canvas so large that none is met from its middle: then rounding is all that bends the way."""
    corners = corner_positions(200, MOTION, FRAMES, 1000, "train")
    free = ((corners > 40) & (corners < 950)).all(axis=(1, 2))
    times = np.arange(FRAMES)
    for way in corners[free].transpose(0, 2, 1).reshape(-1, FRAMES):
        slope, start = np.polyfit(times, way, 1)
        assert np.abs(way - (start + slope * times)).max() < 1.0
        assert abs(slope) < 1.51
    assert np.std(np.diff(corners[free][..., 0], axis=1).mean(axis=1)) > 0.5  # speeds differ, as do directions


def test_a_clip_depends_on_its_image_split_and_position_alone() -> None:
    whole = moving_clips(images(), MOTION, FRAMES, CANVAS, "train")
    assert np.array_equal(moving_clips(images()[:7], MOTION, FRAMES, CANVAS, "train"), whole[:7])
    assert np.array_equal(moving_clips(images(), MOTION, 9, CANVAS, "train"), whole[:, :9])
    assert not np.array_equal(moving_clips(images(), MOTION, FRAMES, CANVAS, "reference"), whole)


def test_an_image_as_large_as_the_canvas_stands_still() -> None:
    clips = moving_clips(images(), Motion(12, 1.5), FRAMES, 12, "train")
    assert np.array_equal(clips, np.repeat(images()[:, None], FRAMES, axis=1))


def test_shrinking_takes_means_over_areas() -> None:
    image = np.array([[[0, 100, 200], [30, 60, 90], [7, 7, 7]]], np.uint8)
    # A new pixel covers 9/4 old ones: one whole, two halves, a quarter.
    upper_left = (0 + 100 / 2 + 30 / 2 + 60 / 4) / 2.25
    assert shrink(image, 2)[0, 0, 0] == round(upper_left)
    assert np.array_equal(shrink(image, 3), image)
    assert shrink(np.array([[[0, 1], [0, 1]]], np.uint8), 1).tolist() == [[[1]]]  # a half is rounded up
    assert shrink(np.full((1, 28, 28), 255, np.uint8), 12).tolist() == [[[255] * 12] * 12]


@pytest.mark.parametrize(("split", "recorded"), [("train", "bc53ffc6d4cae8c9"), ("reference", "1c9ffec097c890da")])
def test_the_clips_are_those_recorded_for_this_numerics_version(split: str, recorded: str) -> None:
    """Others are other data: then `NUMERICS_VERSION` has to be raised, since no digest sees the code behind them."""
    pixels = load_dataset("moving_fashion", split).pixels.numpy()
    assert (NUMERICS_VERSION, hashlib.sha256(pixels.tobytes()).hexdigest()[:16]) == (2, recorded)


@pytest.mark.parametrize("split", ["train", "reference"])
def test_moving_fashion_is_fashion_mnist_with_its_labels(split: str) -> None:
    card, clips = DATASETS["moving_fashion"], load_dataset("moving_fashion", split)
    still = load_dataset("fashion_mnist", split)
    assert card.motion is not None
    assert (still.labels[: len(clips)] == clips.labels).all()
    inner = still.pixels[: len(clips), 0, 2:30, 2:30].numpy()
    assert np.array_equal(
        clips.pixels[:, 0].numpy(), moving_clips(inner, card.motion, card.frames or 0, card.resolution, split)
    )
    counts = np.bincount(clips.labels.numpy(), minlength=10)
    assert counts.min() > 0.7 * len(clips) / 10
