"""Images to tokens and back (numerics 5.3). All scales share one token grid; only the patch side differs."""

from __future__ import annotations

from torch import Tensor


def patchify(image: Tensor, patch: int) -> Tensor:
    """Cuts an image into square patches.

    Args: image: [B, C, H, W]; patch divides H and W.
    Returns: tokens in row-major order, [B, (H/p)(W/p), C p p]; features ordered (channel, row, column), as a strided
        convolution's weight is.
    """
    batch, channels, height, width = image.shape
    grid = image.reshape(batch, channels, height // patch, patch, width // patch, patch)
    return grid.permute(0, 2, 4, 1, 3, 5).reshape(batch, -1, channels * patch * patch)


def unpatchify(tokens: Tensor, patch: int, channels: int) -> Tensor:
    """Puts a square grid of patches together; features are ordered (row, column, channel), as in DiT.

    Args: tokens: [B, n * n, p p C]. Returns: [B, C, n p, n p].
    """
    batch, count, _ = tokens.shape
    side = round(count**0.5)
    assert side * side == count, f"{count} tokens are not a square grid"
    grid = tokens.reshape(batch, side, side, patch, patch, channels)
    return grid.permute(0, 5, 1, 3, 2, 4).reshape(batch, channels, side * patch, side * patch)
