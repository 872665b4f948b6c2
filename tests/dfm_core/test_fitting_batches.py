"""Batches that fit: halves where memory runs out, the same results."""

from __future__ import annotations

import logging

import pytest
import torch
from torch import Tensor

from dfm_core import fitting_batches
from dfm_core.fitting_batches import FittingBatches


class Device:
    """Doubles samples, as many at a time as fit."""

    def __init__(self, room: int) -> None:
        self.room, self.sizes = room, list[int]()

    def __call__(self, batch: Tensor) -> Tensor:
        self.sizes.append(len(batch))
        if len(batch) > self.room:
            raise torch.OutOfMemoryError("full")
        return 2 * batch


def test_where_memory_runs_out_halves_follow_and_it_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    device, fitting, batch = Device(room=3), FittingBatches("decoder"), torch.arange(10.0)[:, None]
    with caplog.at_level(logging.WARNING):
        parts = fitting.map(device, batch)
        again = fitting.map(device, batch)
    assert torch.equal(torch.cat(parts), 2 * batch)
    assert torch.equal(torch.cat(again), 2 * batch)
    assert device.sizes == [10, 5, 3, 3, 3, 1, 3, 3, 3, 1]
    assert [record.getMessage() for record in caplog.records] == [
        "decoder: memory ran out at 10 samples at a time; going on with 5",
        "decoder: memory ran out at 5 samples at a time; going on with 3",
    ]


def test_one_sample_that_does_not_fit_is_an_error() -> None:
    with pytest.raises(torch.OutOfMemoryError):
        FittingBatches("decoder").map(Device(room=0), torch.ones(4, 1))


def test_the_first_part_is_chosen_by_pixels_and_free_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _device: (80 * 2**30, 80 * 2**30))
    fitting = FittingBatches("decoder", fitting_batches.AUTOENCODER_BYTES)
    latents = torch.empty(250, 16, 64, 64, device="meta")

    class OnGpu(Tensor):
        device = torch.device("cuda")

    assert fitting._estimate(latents.as_subclass(OnGpu), 512 * 512) == 53
    assert fitting._estimate(latents, 512 * 512) == 250  # not on a GPU
