"""Smaller pixels and smaller latents, by the same operator; videos frame by frame."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate

from dfm_core.autoencoder_training.config import Downscaling


def downscale(x: Tensor, side: tuple[int, int], how: Downscaling) -> Tensor:
    """Args: x: [B, C, H, W] or [B, C, T, H, W]. side: height and width of the result; for `mean` divisors of x's.

    Returns: [B, C, *side] or [B, C, T, *side]. Raises: ValueError if the mean would have uneven cells.
    """
    images = x if x.ndim == 4 else x.transpose(1, 2).flatten(0, 1)
    height, width = images.shape[-2:]
    if how == "bilinear":
        small = interpolate(images, size=side, mode="bilinear", align_corners=True)
    else:
        cells = (height // side[0], width // side[1])
        if (cells[0] * side[0], cells[1] * side[1]) != (height, width):
            raise ValueError(f"{height} x {width} is not made of {side[0]} x {side[1]} equal cells")
        small = avg_pool2d(images, cells)
    return small if x.ndim == 4 else small.view(x.shape[0], x.shape[2], *small.shape[1:]).transpose(1, 2)


def downscale_both(pixels: Tensor, latents: Tensor, factor: int, how: Downscaling) -> tuple[Tensor, Tensor]:
    """Pixels and their latents, both smaller by a factor; a pixel still belongs to the position that it belonged to.

    Where the factor does not divide the latent's side, that is rounded down and the pixels' follows from it.
    """
    height, width = (max(1, side // factor) for side in latents.shape[-2:])
    per_position = pixels.shape[-1] // latents.shape[-1]
    small_pixels = downscale(pixels, (height * per_position, width * per_position), how)
    return small_pixels, downscale(latents, (height, width), how)
