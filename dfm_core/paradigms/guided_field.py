"""The model's velocity under classifier-free guidance, as a field that solvers can follow (numerics 1, 4.3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dfm_core.config import SamplingConfig
from dfm_core.flow.guidance import guide
from dfm_core.flow.schedules import guided_scales
from dfm_core.flow.solvers import Times
from dfm_core.paradigms.base import VelocityPredictor


@dataclass
class GuidedField:
    """A velocity field that counts its evaluations."""

    model: VelocityPredictor
    labels: Tensor
    """[B] int64."""
    sampling: SamplingConfig
    num_evaluations: int = 0
    """Network evaluations per image so far; guidance counts twice."""
    num_calls: int = 0
    """Calls of the network so far; guidance asks twice in one."""

    def __call__(self, state: Sequence[Tensor], times: Times, moving: range) -> list[Tensor]:
        """Velocities of all scales, float32; one guidance weight for all, each scale only in its interval of t."""
        labels, batch = self.labels, self.labels.shape[0]
        scales = [scale.float() for scale in state]
        t = torch.tensor(times, dtype=torch.float32, device=labels.device).expand(batch, -1)
        mask = (torch.arange(len(scales), device=labels.device) < moving.stop).float().expand(batch, -1)
        guided = guided_scales(times, moving, self.sampling)
        counts = tuple(batch if scale == moving.stop - 1 else 0 for scale in range(len(scales)))
        self.num_calls += 1
        if not guided:
            self.num_evaluations += 1
            return self.model(scales, t, mask, labels, counts)
        self.num_evaluations += 2
        null = torch.full_like(labels, self.model.null_class)
        both = self.model(
            [torch.cat([scale, scale]) for scale in scales],
            torch.cat([t, t]),
            torch.cat([mask, mask]),
            torch.cat([labels, null]),
            tuple(2 * count for count in counts),
        )
        return [
            guide(v[:batch], v[batch:], self.sampling.guidance) if scale in guided else v[:batch]
            for scale, v in enumerate(both)
        ]
