"""Held-out samples on which an autoencoder is measured: all of them once, and no more at a time than memory holds."""

from __future__ import annotations

import pytest
import torch

from orchestration.artifacts.samples.real_images import RealSamples
from orchestration.training import autoencoder_worker
from orchestration.training.autoencoder_worker import MEASURED_SAMPLES


def real(count: int, shape: tuple[int, ...]) -> RealSamples:
    pixels = (torch.arange(count) % 256).to(torch.uint8)

    def read(rows: range) -> tuple[torch.Tensor, torch.Tensor]:
        chosen = pixels[rows.start : rows.stop].view(-1, *[1] * len(shape)).expand(-1, *shape)
        return chosen, torch.zeros(len(rows), dtype=torch.int64)

    return RealSamples(count, read)


@pytest.mark.parametrize(
    ("shape", "sizes"),
    [
        ((1, 32, 32), [50, 50, 20]),
        ((3, 256, 256), [32, 32, 32, 24]),
        ((3, 17, 512, 512), [1, 1]),
    ],
)
def test_batches_hold_all_samples_once_and_are_smaller_where_samples_are_large(
    shape: tuple[int, ...], sizes: list[int]
) -> None:
    batches = autoencoder_worker._pixels(real(sum(sizes), shape))
    first = [(len(batch), batch.shape[1], batch.flatten(1)[:, 0]) for batch in batches]
    assert [size for size, _, _ in first] == sizes
    assert {channels for _, channels, _ in first} == {3}
    assert ((torch.cat([values for _, _, values in first]) + 1) * 127.5).round().tolist() == list(range(sum(sizes)))


def test_of_many_the_first_are_taken() -> None:
    batches = autoencoder_worker._pixels(real(MEASURED_SAMPLES + 7, (1, 4, 4)))
    assert sum(map(len, batches)) == MEASURED_SAMPLES
