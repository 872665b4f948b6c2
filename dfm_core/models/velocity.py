"""The velocity model: masks, preconditioning and precision around the transformer."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from dfm_core.config import MODEL_SIZES, ExperimentConfig
from dfm_core.models.dit import DiT
from dfm_core.models.preconditioning import preconditioning_factors


class VelocityModel(nn.Module):
    """Predicts the velocity of every scale from their noisy states."""

    def __init__(self, config: ExperimentConfig, *, channels: int, num_classes: int, data_std: Sequence[float]) -> None:
        """data_std: standard deviation of each clean scale as the model sees it, [S]; ones if standardised."""
        super().__init__()
        assert len(data_std) == config.num_stages, f"{len(data_std)} data_std for {config.num_stages} scales"
        self.preconditioning = config.model.preconditioning
        self.input_masking = config.model.input_masking
        self.precision = config.training.precision
        self.null_class = num_classes
        self.network = DiT(
            size=MODEL_SIZES[config.model.size],
            channels=channels,
            num_classes=num_classes,
            resolutions=config.decomposition.resolutions,
            patch_sizes=config.model.patch_sizes,
            positions=config.model.positions,
            stage_embedding=config.model.stage_embedding,
            timestep_scale=config.model.timestep_scale,
        )
        self.register_buffer("data_std", torch.tensor(data_std, dtype=torch.float32), persistent=False)
        self.data_std: Tensor

    def forward(self, scales: Sequence[Tensor], t: Tensor, mask: Tensor, labels: Tensor) -> list[Tensor]:
        """Velocities of all scales; those of masked scales mean nothing.

        Args: scales: noisy scales, scale s is [B, C, r_s, r_s]. t: [B, S] in [0, 1]. mask: [B, S], 1 for active scales.
            labels: [B] int64.
        Returns: scale s is [B, C, r_s, r_s] float32.
        """
        factors = preconditioning_factors(t, self.data_std, self.preconditioning)
        c_in = factors.c_in * mask if self.input_masking else factors.c_in
        inputs = [c_in[:, s, None, None, None] * scale for s, scale in enumerate(scales)]
        stage = mask.sum(dim=1).long() - 1
        with torch.autocast(labels.device.type, dtype=torch.bfloat16, enabled=self.precision == "bf16"):
            outputs = self.network(inputs, t, labels, stage)
        return [
            factors.c_skip[:, s, None, None, None] * scale + factors.c_out[:, s, None, None, None] * output.float()
            for s, (scale, output) in enumerate(zip(scales, outputs, strict=True))
        ]
