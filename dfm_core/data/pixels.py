"""A check of samples before they become 8-bit pixels: after it, NaN is a black pixel that nobody notices."""

from __future__ import annotations

from torch import Tensor


def check_pixels(images: Tensor) -> None:
    """Raises if samples cannot become pixels. Values out of range are no mistake: strong guidance saturates.

    Args: images: [B, C, H, W] or [B, C, T, H, W], float, about [-1, 1].
    Raises: ValueError with how many samples are bad and which (indices in the batch), or for another shape or type.
    """
    if images.ndim not in (4, 5) or not images.is_floating_point():
        raise ValueError(
            f"samples are floats [B, C, H, W] or [B, C, T, H, W], got {images.dtype} of shape {list(images.shape)}"
        )
    if bad := unsound_samples(images):
        named = f"samples {', '.join(map(str, bad))}"
        count = int((~images.isfinite()).sum())
        raise ValueError(f"{len(bad)} of {len(images)} samples hold {count} NaN or infinite values: {named}")


def unsound_samples(images: Tensor) -> list[int]:
    """Return positions in the batch of samples, [B, ...], that hold NaN or infinite values."""
    positions: list[int] = (~images.flatten(1).isfinite().all(dim=1)).nonzero().flatten().tolist()
    return positions
