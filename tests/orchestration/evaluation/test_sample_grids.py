"""Grids of samples for people."""

from __future__ import annotations

import numpy as np
import pytest

from orchestration.evaluation.sample_grids import GRID_COLUMNS, image_grid

CAPTION = 14


def pixels(count: int, channels: int = 1, side: int = 32) -> np.ndarray:
    """Image i is of the one colour i."""
    return np.broadcast_to(np.arange(count, dtype=np.uint8)[:, None, None, None], (count, channels, side, side)).copy()


def test_every_image_stands_above_its_own_caption() -> None:
    grid = np.asarray(image_grid(pixels(13), ["bag"] * 12 + [""]))
    cell = 96
    assert grid.shape == (2 * (cell + CAPTION), GRID_COLUMNS * cell, 3)
    assert grid[50, 3 * cell + 50].tolist() == [3, 3, 3]
    assert grid[cell + CAPTION + 50, 2 * cell + 50].tolist() == [12, 12, 12]
    captions = grid[cell : cell + CAPTION]
    assert all((captions[:, c * cell : (c + 1) * cell] < 128).any() for c in range(GRID_COLUMNS))
    assert (grid[-CAPTION:, 2 * cell : 3 * cell] == 255).all()  # its label is empty


def test_no_more_than_forty_are_shown_and_large_ones_are_not_enlarged() -> None:
    grid = image_grid(pixels(50, channels=3, side=128), ["x"] * 50)
    assert grid.size == (GRID_COLUMNS * 128, 4 * (128 + CAPTION))


def test_a_video_shows_its_middle_frame() -> None:
    frames = np.stack([pixels(2) + 10 * t for t in range(5)], axis=2)
    grid = np.asarray(image_grid(frames, ["a", "b"]))
    assert grid[50, 96 + 50].tolist() == [21, 21, 21]


def test_a_long_name_is_cut_with_an_ellipsis_inside_its_cell() -> None:
    grid = np.asarray(image_grid(pixels(2), ["great white shark, white shark, man-eater, man-eating shark", ""]))
    assert (grid[96:, 96:192] == 255).all()
    assert (grid[96:, :96] < 128).any()


def test_an_image_without_a_label_is_our_mistake() -> None:
    with pytest.raises(AssertionError, match="1 labels for 2 images"):
        image_grid(pixels(2), ["a"])
