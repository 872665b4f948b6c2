"""Losses by bins of the timestep, by hand."""

from __future__ import annotations

import torch

from dfm_core.paradigms.losses import NUM_BINS, binned


def test_every_counted_loss_is_in_the_bin_of_its_timestep_and_no_other() -> None:
    t = torch.tensor([[0.0, 0.124], [0.125, 1.0], [0.99, 0.5]])
    losses = torch.tensor([[1.0, 2.0], [4.0, 8.0], [16.0, 32.0]], requires_grad=True)
    counted = torch.tensor([[1.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    sums, counts = binned(losses, counted, t)
    assert not sums.requires_grad
    assert sums.tolist() == [[1, 4, 0, 0, 0, 0, 0, 16], [2, 0, 0, 0, 32, 0, 0, 0]]
    assert counts.tolist() == [[1, 1, 0, 0, 0, 0, 0, 1], [1, 0, 0, 0, 1, 0, 0, 0]]


def test_the_bins_of_a_batch_are_the_sum_of_those_of_its_halves() -> None:
    generator = torch.Generator().manual_seed(0)
    losses, t = torch.rand(10, 3, generator=generator), torch.rand(10, 3, generator=generator)
    counted = (torch.rand(10, 3, generator=generator) > 0.5).float()
    parts = [binned(losses[part], counted[part], t[part]) for part in (slice(0, 4), slice(4, 10))]
    whole = binned(losses, counted, t)
    assert whole.shape == (2, 3, NUM_BINS)
    assert torch.allclose(parts[0] + parts[1], whole, atol=1e-6)
