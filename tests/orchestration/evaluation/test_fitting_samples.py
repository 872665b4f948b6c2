"""Sampling where memory runs out: halves of the batch, each sample of each point once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from orchestration.artifacts.samples.features import Group
from orchestration.evaluation.sample_batches import SampleBatch, fitting_samples


def test_each_sample_of_each_point_comes_once() -> None:
    def sampled(indices: range) -> Iterator[SampleBatch]:
        for point in (1, 0):
            if len(indices) > (8 if point else 3):  # the second point needs more
                raise torch.OutOfMemoryError("full")
            yield SampleBatch(point, indices, torch.zeros(len(indices)), None)

    found: dict[int, list[int]] = {0: [], 1: []}
    for batch in fitting_samples(sampled, Group(0, 20), 8):
        found[batch.point] += batch.indices
    assert found == {0: list(range(20)), 1: list(range(20))}


def test_one_sample_that_does_not_fit_is_an_error() -> None:
    def sampled(_indices: range) -> Iterator[SampleBatch]:
        raise torch.OutOfMemoryError("full")
        yield

    with pytest.raises(torch.OutOfMemoryError):
        list(fitting_samples(sampled, Group(0, 4), 4))
