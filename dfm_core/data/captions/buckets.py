"""Shapes of images: every image is brought to the one of a few shapes that is nearest to its own.

A step has images of one shape, so that nothing is padded; shapes of one side have about the same number of tokens.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

_MOST_RATIO = 2
_CELLS = 16
"""Cells along the side of a square; fewer where an autoencoder's tokens are larger than such a cell."""


class Bucket(NamedTuple):
    """Height and width in pixels."""

    height: int
    width: int

    @property
    def log_ratio(self) -> float:
        return math.log(self.height / self.width)

    def __str__(self) -> str:
        return f"{self.height}x{self.width}"


def buckets_of(side: int, token_pixels: int) -> tuple[Bucket, ...]:
    """Return the shapes of a side, from the widest to the tallest.

    They are rectangles of cells with at most the area of the square and a ratio of at most 2, to which neither a row
    nor a column can be added. Side 1024 and tokens of 16 pixels give 11, of 3872 to 4096 tokens.

    Args: side: of the square, in pixels. token_pixels: side of a token in pixels: the autoencoder's factor times the
        patch size. Raises: ValueError if the side holds no whole number of cells.
    """
    cell = max(side // _CELLS, token_pixels)
    if side % cell or cell % token_pixels:
        raise ValueError(f"a side of {side} pixels is no multiple of {cell}, or that none of {token_pixels}")
    across = side // cell

    def fits(rows: int, columns: int) -> bool:
        return rows * columns <= across**2 and max(rows, columns) <= _MOST_RATIO * min(rows, columns)

    shapes = [
        Bucket(rows * cell, columns * cell)
        for rows in range(1, _MOST_RATIO * across + 1)
        for columns in range(1, _MOST_RATIO * across + 1)
        if fits(rows, columns) and not fits(rows + 1, columns) and not fits(rows, columns + 1)
    ]
    return tuple(sorted(shapes, key=lambda shape: (shape.log_ratio, shape)))


def bucket_of(height: int, width: int, buckets: Sequence[Bucket]) -> Bucket | None:
    """Return the shape whose ratio is nearest to that of an image, the flatter of two that are as near.

    Returns: None if the image would have to be enlarged for it.
    """
    ratio = math.log(height / width)
    nearest = min(buckets, key=lambda bucket: (abs(bucket.log_ratio - ratio), bucket.log_ratio))
    return nearest if height >= nearest.height and width >= nearest.width else None
