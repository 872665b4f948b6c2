"""Images and videos to tokens and back (numerics 5.3). A video's frames are cut one by one and their tokens joined."""

from __future__ import annotations

from torch import Tensor


def patchify(data: Tensor, patch: int) -> Tensor:
    """Cuts images, or the frames of videos, into square patches.

    Args: data: [B, C, H, W] or [B, C, T, H, W]; patch divides H and W.
    Returns: tokens in row-major order, frame after frame, [B, T (H/p)(W/p), C p p]; features ordered (channel, row,
        column), as a strided convolution's weight is.
    """
    *_, height, width = data.shape
    frames = data.unsqueeze(2) if data.ndim == 4 else data
    batch, channels, count = frames.shape[:3]
    grid = frames.reshape(batch, channels, count, height // patch, patch, width // patch, patch)
    return grid.permute(0, 2, 3, 5, 1, 4, 6).reshape(
        batch, count * (height // patch) * (width // patch), channels * patch * patch
    )


def unpatchify(tokens: Tensor, patch: int, channels: int, frames: int | None = None) -> Tensor:
    """Puts square grids of patches together; features are ordered (row, column, channel), as in DiT.

    Args: tokens: [B, T n n, p p C]. frames: T of a video; None for images.
    Returns: [B, C, n p, n p], or [B, C, T, n p, n p].
    """
    batch, total, _ = tokens.shape
    count = frames or 1
    side = round((total / count) ** 0.5)
    assert side * side * count == total, f"{total} tokens are not {count} square grid(s)"
    grid = tokens.reshape(batch, count, side, side, patch, patch, channels)
    data = grid.permute(0, 6, 1, 2, 4, 3, 5).reshape(batch, channels, count, side * patch, side * patch)
    return data if frames is not None else data[:, :, 0]


def spread_tokens(tokens: Tensor, side: int, finer: int) -> Tensor:
    """Repeats each token over the cells of a finer grid that it covers.

    Args: tokens: [B, T side side, D]; side divides finer. Returns: [B, T finer finer, D].
    """
    if side == finer:
        return tokens
    ratio, (batch, total, width) = finer // side, tokens.shape
    grids = tokens.reshape(batch, total // side**2, side, 1, side, 1, width)
    return grids.expand(-1, -1, -1, ratio, -1, ratio, -1).reshape(batch, total * ratio**2, width)


def gather_tokens(tokens: Tensor, side: int, coarser: int) -> Tensor:
    """Return the mean over the cells that a coarser token covers: [B, T side side, D] -> [B, T coarser coarser, D]."""
    if side == coarser:
        return tokens
    ratio, (batch, total, width) = side // coarser, tokens.shape
    grids = tokens.reshape(batch, total // side**2, coarser, ratio, coarser, ratio, width)
    return grids.mean(dim=(3, 5)).reshape(batch, total // ratio**2, width)
