"""Grids of videos: every frame where and when it belongs."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
from PIL import Image

from orchestration.evaluation.sample_grids import (
    FRAME_MILLISECONDS,
    GRID_COLUMNS,
    GRID_KEY,
    moving_grid_gif,
    shown_frames,
    strips_png,
)

CAPTION = 14


def clips(count: int, frames: int, channels: int = 1, side: int = 32) -> np.ndarray:
    """Frame t of clip i is of the one colour 10 i + t."""
    colours = 10 * np.arange(count)[:, None] + np.arange(frames)
    shape = (count, channels, frames, side, side)
    return np.broadcast_to(colours.astype(np.uint8)[:, None, :, None, None], shape).copy()


def frames_of(gif: bytes) -> list[np.ndarray]:
    with Image.open(io.BytesIO(gif)) as image:
        assert image.info["loop"] == 0
        found = []
        for frame in range(image.n_frames):
            image.seek(frame)
            assert image.info["duration"] == FRAME_MILLISECONDS
            found.append(np.asarray(image.convert("RGB")))
        return found


def test_each_frame_of_the_animation_shows_that_frame_of_every_clip() -> None:
    found = frames_of(moving_grid_gif(clips(13, 5), ["bag"] * 13))
    assert len(found) == 5
    for time, grid in enumerate(found):
        assert grid.shape == (2 * (96 + CAPTION), GRID_COLUMNS * 96, 3)
        for clip in range(13):
            row, column = divmod(clip, GRID_COLUMNS)
            top, left = row * (96 + CAPTION), column * 96
            assert (grid[top : top + 96, left : left + 96] == 10 * clip + time).all()
        assert (grid[96 : 96 + CAPTION, :96] < 128).any()  # its caption


def test_grey_pixels_are_shown_exactly_and_coloured_ones_nearly() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (1, 3, 2, 32, 32), dtype=np.uint8)
    grey = frames_of(moving_grid_gif(noise[:, :1], [""]))
    assert all((grey[t][:96:3, :96:3, 0] == noise[0, 0, t]).all() for t in range(2))
    smooth = clips(2, 2, channels=3)
    smooth[:, 0] = 200
    coloured = frames_of(moving_grid_gif(smooth, ["", ""]))
    assert np.abs(coloured[1][:96, :96].astype(int) - [200, 1, 1]).max() <= 8


def test_large_clips_move_in_a_smaller_grid() -> None:
    (first, _) = frames_of(moving_grid_gif(clips(1, 2, side=300), ["x"]))
    assert first.shape == (100 + CAPTION, GRID_COLUMNS * 100, 3)


@pytest.mark.parametrize("channels", [1, 3])
def test_strips_have_a_clip_a_row_and_say_how_to_cut_them(channels: int) -> None:
    given = clips(10, 4, channels)
    given[:, 1:] = 200  # green and blue
    image = Image.open(io.BytesIO(strips_png(given, [f"class {i}" for i in range(10)])))
    layout = json.loads(image.text[GRID_KEY])
    assert (layout["columns"], layout["frames"], layout["num_frames"]) == (4, [0, 1, 2, 3], 4)
    assert layout["labels"] == [f"class {i}" for i in range(8)]
    pixels, side = np.asarray(image), layout["side"][0] * layout["factor"]
    assert pixels.shape == (8 * (side + layout["caption"]), 4 * side, 3)
    for clip in range(8):
        top = clip * (side + layout["caption"])
        for column, frame in enumerate(layout["frames"]):
            cell = pixels[top : top + side, column * side : (column + 1) * side]
            assert (cell[..., 0] == 10 * clip + frame).all()
            assert channels == 1 or (cell[..., 1:] == 200).all()
        caption = pixels[top + side : top + side + CAPTION]
        assert (caption[:, :side] < 128).any()
        assert (caption[:, side:] == 255).all()


@pytest.mark.parametrize(
    ("num_frames", "expected"),
    [(1, [0]), (10, [*range(10)]), (19, [*range(0, 19, 2)]), (49, [0, 5, 11, 16, 21, 27, 32, 37, 43, 48])],
)
def test_the_frames_of_a_strip_are_evenly_spaced_with_both_ends(num_frames: int, expected: list[int]) -> None:
    assert shown_frames(num_frames) == expected


def test_a_clip_without_a_label_is_our_mistake() -> None:
    with pytest.raises(AssertionError, match="1 labels for 2 clips"):
        strips_png(clips(2, 3), ["a"])
