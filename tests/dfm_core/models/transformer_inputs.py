"""Inputs of a bare transformer, and the rows of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from dfm_core.catalog.datasets import DataShape
from dfm_core.config import ExperimentConfig
from dfm_core.models.velocity import scale_shapes
from tests.support.models import NUM_CLASSES, SHAPE

Inputs = tuple[list[Tensor], Tensor, Tensor, Tensor]
"""scales, timesteps, labels, active stages."""


def random_inputs(config: ExperimentConfig, stages: Sequence[int], shape: DataShape = SHAPE) -> Inputs:
    """Samples of the given active stages; no scale is masked."""
    batch = len(stages)
    scales = [torch.randn(batch, *sizes) for sizes in scale_shapes(config, shape)]
    return scales, torch.rand(batch, config.num_stages), torch.arange(batch) % NUM_CLASSES, torch.tensor(stages)


def rows(inputs: Inputs, which: list[int]) -> Inputs:
    """Some samples of a batch."""
    scales, *rest = inputs
    t, labels, stage = (x[which] for x in rest)
    return [scale[which] for scale in scales], t, labels, stage


def assert_all_close(found: Iterable[Tensor], expected: Iterable[Tensor], atol: float = 1e-5) -> None:
    """Tensor by tensor."""
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=atol)
