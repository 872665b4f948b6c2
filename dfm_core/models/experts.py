"""One network per stage in the place of one for all (paper, appendix F)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from dfm_core.models.network import VelocityNetwork


class StageExperts(nn.Module):
    """Sends each sample to the network of its active stage."""

    def __init__(self, experts: Sequence[VelocityNetwork]) -> None:
        """experts: of stage 0, 1, ..., S - 1; each maps all S scales."""
        super().__init__()
        self.experts = nn.ModuleList(experts)
        self.null_class, self.scale_shapes = experts[0].null_class, experts[0].scale_shapes
        assert len(experts) == len(self.scale_shapes), f"{len(experts)} experts for {len(self.scale_shapes)} stages"

    def forward(
        self,
        scales: Sequence[Tensor],
        t: Tensor,
        mask: Tensor,
        labels: Tensor,
        stage_counts: tuple[int, ...] | None = None,
    ) -> list[Tensor]:
        """Run the stage's expert; arguments and result are those of `VelocityNetwork.forward`."""
        if stage_counts is not None and max(stage_counts) == len(labels):  # as in sampling
            only: list[Tensor] = self.experts[stage_counts.index(len(labels))](scales, t, mask, labels, stage_counts)
            return only
        stage = mask.sum(dim=1).long() - 1
        velocities = [torch.empty_like(scale, dtype=torch.float32) for scale in scales]
        for active in sorted(set(stage.tolist())):
            rows = (stage == active).nonzero()[:, 0]
            parts = self.experts[active]([scale[rows] for scale in scales], t[rows], mask[rows], labels[rows])
            for whole, part in zip(velocities, parts, strict=True):
                whole[rows] = part
        return velocities
