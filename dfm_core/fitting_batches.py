"""Batches cut into parts that fit into an accelerator's memory."""

from __future__ import annotations

import logging
from collections.abc import Callable
from math import prod
from typing import TypeVar

import torch
from torch import Tensor

AUTOENCODER_BYTES = 3072
"""Bytes of an fp32 autoencoder for each pixel: 0.75 GiB for an image of 512 x 512, counted on FLUX's and the rest."""
_SHARE = 0.5
"""Share of the free memory that a batch may take by that estimate."""
_LOG = logging.getLogger(__name__)
Result = TypeVar("Result")


class FittingBatches:
    """Calls functions with parts of a batch; where memory runs out, with halves of them from then on."""

    def __init__(self, name: str, bytes_per_pixel: int = 0) -> None:
        """Args: name: for the message. bytes_per_pixel: estimate by which the first part is chosen; 0: all at once."""
        self._name, self._bytes_per_pixel = name, bytes_per_pixel
        self._most: int | None = None

    def map(self, function: Callable[[Tensor], Result], batch: Tensor, pixels: int = 0) -> list[Result]:
        """Return the results of the parts, in order.

        Args: function: must not change its argument. batch: [B, ...]. pixels: of one sample, all frames; 0: those of
            the batch's last axes. Raises: torch.OutOfMemoryError if one sample does not fit.
        """
        size = min(len(batch), self._most or self._estimate(batch, pixels or prod(batch.shape[2:])))
        results: list[Result] = []
        at = 0
        while at < len(batch):
            ran_out = False
            try:
                results.append(function(batch[at : at + size]))
            except torch.OutOfMemoryError:
                if size == 1:
                    raise
                ran_out = True
            if ran_out:  # only here is what the failed call held let go
                size = self._most = halved(self._name, size)
            else:
                at += size
        return results

    def _estimate(self, batch: Tensor, pixels: int) -> int:
        if batch.device.type != "cuda" or not self._bytes_per_pixel:
            return len(batch)
        free, _ = torch.cuda.mem_get_info(batch.device)
        return first_part(free, self._bytes_per_pixel * pixels)


def first_part(free_bytes: int, bytes_per_sample: int) -> int:
    """Return how many samples are tried at first. Args: free_bytes: of the accelerator's memory."""
    return max(1, int(_SHARE * free_bytes / bytes_per_sample))


def halved(name: str, size: int) -> int:
    """Return half of a batch's size, and say so."""
    torch.cuda.empty_cache()
    _LOG.warning("%s: memory ran out at %d samples at a time; going on with %d", name, size, -(-size // 2))
    return -(-size // 2)
