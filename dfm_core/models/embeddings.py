"""Features of timesteps and positions (numerics 5.4, 5.5)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dfm_core.models.linear import Groups, LinearFactory

NUM_TIMESTEP_FEATURES = 256


def timestep_features(t: Tensor, num_features: int = NUM_TIMESTEP_FEATURES) -> Tensor:
    """Sin-cos features, cosines first: f_i = 10000^(-i / (n/2)) (numerics 5.4).

    Args: t: timestep as it is to be fed, already scaled, [B]. Returns: [B, num_features] float32.
    """
    half = num_features // 2
    exponent = torch.arange(half, dtype=torch.float32, device=t.device) / half
    angles = t.float()[:, None] * torch.exp(-torch.log(torch.tensor(10_000.0)) * exponent)
    return torch.cat([angles.cos(), angles.sin()], dim=-1)


class TimestepEmbedder(nn.Module):
    """Linear-SiLU-Linear over the sin-cos features of one scale's timestep."""

    def __init__(self, width: int, linears: LinearFactory) -> None:
        super().__init__()
        first, last = linears("conditioning", NUM_TIMESTEP_FEATURES, width), linears("conditioning", width, width)
        self.mlp = nn.ModuleList([first, nn.SiLU(), last])

    @property
    def layers(self) -> tuple[nn.Linear, nn.Linear]:
        first, _, last = self.mlp
        assert isinstance(first, nn.Linear)
        assert isinstance(last, nn.Linear)
        return first, last

    def forward(self, t: Tensor, groups: Groups | None = None) -> Tensor:
        """t: [B], scaled. Returns: [B, D]."""
        first, last = self.layers
        embedded: Tensor = last(self.mlp[1](first(timestep_features(t), groups)), groups)
        return embedded


def sincos_positions(width: int, side: int) -> Tensor:
    """The fixed position table of DiT, [side * side, width] float32: half the features for the column, half for the
    row, each [sin, cos] of the coordinate."""
    quarter = width // 4
    omega = 10_000.0 ** (-torch.arange(quarter, dtype=torch.float64) / quarter)
    angles = torch.arange(side, dtype=torch.float64)[:, None] * omega
    axis = torch.cat([angles.sin(), angles.cos()], dim=1)  # [side, width / 2]
    column = axis[None, :, :].expand(side, side, -1)
    row = axis[:, None, :].expand(side, side, -1)
    return torch.cat([column, row], dim=-1).reshape(side * side, width).float()
