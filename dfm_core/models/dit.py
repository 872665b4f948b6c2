"""The diffusion transformer with one patchify, timestep embedder and head per scale (DFM, section 3.4; numerics 5)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, scaled_dot_product_attention, silu

from dfm_core.config import ModelSizeSpec, Positions
from dfm_core.models.embeddings import TimestepEmbedder, sincos_positions
from dfm_core.models.patches import patchify, unpatchify
from dfm_core.models.rope import apply_rope, grid_rotation

NORM_EPSILON = 1e-6
MLP_RATIO = 4


def modulate(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """x: [B, N, D]; shift, scale: [B, D]."""
    return x * (1 + scale[:, None]) + shift[:, None]


class Attention(nn.Module):
    """Multi-head self-attention; queries and keys are rotated if a rotation is given."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor, rotation: Tensor | None) -> Tensor:
        """x: [B, N, D]. Returns: [B, N, D]."""
        batch, tokens, width = x.shape
        qkv = self.qkv(x).reshape(batch, tokens, 3, self.heads, width // self.heads)
        qkv = qkv.permute(2, 0, 3, 1, 4)  # [3, B, heads, N, D / heads]
        query, key, value = qkv.unbind(0)
        if rotation is not None:
            query, key = apply_rope(query, rotation), apply_rope(key, rotation)
        attended = scaled_dot_product_attention(query, key, value)
        projected: Tensor = self.proj(attended.transpose(1, 2).flatten(2))
        return projected


class Block(nn.Module):
    """Attention and MLP under adaLN-Zero: x + gate * f(norm(x) (1 + scale) + shift) (numerics 5.2)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=NORM_EPSILON, elementwise_affine=False)
        self.attention = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width, eps=NORM_EPSILON, elementwise_affine=False)
        self.fc1 = nn.Linear(width, MLP_RATIO * width)
        self.fc2 = nn.Linear(MLP_RATIO * width, width)
        self.modulation = nn.Linear(width, 6 * width)

    def forward(self, x: Tensor, condition: Tensor, rotation: Tensor | None) -> Tensor:
        """x: [B, N, D]; condition: [B, D] after SiLU. Returns: [B, N, D]."""
        shift_a, scale_a, gate_a, shift_m, scale_m, gate_m = self.modulation(condition).chunk(6, dim=-1)
        x = x + gate_a[:, None] * self.attention(modulate(self.norm1(x), shift_a, scale_a), rotation)
        hidden = gelu(self.fc1(modulate(self.norm2(x), shift_m, scale_m)), approximate="tanh")
        out: Tensor = x + gate_m[:, None] * self.fc2(hidden)
        return out


class Head(nn.Module):
    """Final layer of one scale: modulated norm and a linear map to patches."""

    def __init__(self, width: int, num_outputs: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, eps=NORM_EPSILON, elementwise_affine=False)
        self.linear = nn.Linear(width, num_outputs)
        self.modulation = nn.Linear(width, 2 * width)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """x: [B, N, D]; condition: [B, D] after SiLU. Returns: [B, N, num_outputs]."""
        shift, scale = self.modulation(condition).chunk(2, dim=-1)
        projected: Tensor = self.linear(modulate(self.norm(x), shift, scale))
        return projected


class DiT(nn.Module):
    """Diffusion transformer over S scales that share one token grid (numerics 5.3).

    h = sum_s Patchify_s(X^s),  c = sum_s TEmb_s(t_s) + YEmb(y) + StageEmb(stage),  out_s = Head_s(blocks(h, c), c)
    """

    def __init__(
        self,
        *,
        size: ModelSizeSpec,
        channels: int,
        num_classes: int,
        resolutions: Sequence[int],
        patch_sizes: Sequence[int],
        positions: Positions = "rope",
        stage_embedding: bool = True,
        timestep_scale: float = 1000.0,
    ) -> None:
        super().__init__()
        width, grid_side = size.width, resolutions[0] // patch_sizes[0]
        self.channels, self.patch_sizes, self.timestep_scale = channels, tuple(patch_sizes), timestep_scale
        self.patch_embedders = nn.ModuleList(nn.Linear(channels * p * p, width) for p in patch_sizes)
        self.timestep_embedders = nn.ModuleList(TimestepEmbedder(width) for _ in patch_sizes)
        self.label_table = nn.Embedding(num_classes + 1, width)  # the last row is the null class
        self.stage_table = nn.Embedding(len(patch_sizes), width) if stage_embedding else None
        self.blocks = nn.ModuleList(Block(width, size.heads) for _ in range(size.depth))
        self.heads = nn.ModuleList(Head(width, p * p * channels) for p in patch_sizes)
        rotation = grid_rotation(grid_side, width // size.heads) if positions == "rope" else None
        table = sincos_positions(width, grid_side) if positions == "sincos" else None
        self.register_buffer("rotation", rotation, persistent=False)
        self.register_buffer("position_table", table, persistent=False)
        self.rotation: Tensor | None
        self.position_table: Tensor | None

    def reset_parameters(self, generator: torch.Generator) -> None:
        """DiT's initialisation: xavier-uniform linears with zero bias, N(0, 0.02) embedders, zero adaLN and heads."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight, generator=generator)
                nn.init.zeros_(module.bias)
            elif isinstance(module, nn.Embedding):
                nn.init.normal_(module.weight, std=0.02, generator=generator)
        for module in self.modules():
            if isinstance(module, TimestepEmbedder):
                for layer in module.layers:
                    nn.init.normal_(layer.weight, std=0.02, generator=generator)
            elif isinstance(module, Block):
                nn.init.zeros_(module.modulation.weight)
            elif isinstance(module, Head):
                nn.init.zeros_(module.modulation.weight)
                nn.init.zeros_(module.linear.weight)

    def forward(self, scales: Sequence[Tensor], t: Tensor, labels: Tensor, stage: Tensor) -> list[Tensor]:
        """One output per scale.

        Args: scales: scale s is [B, C, r_s, r_s]. t: timesteps in [0, 1], [B, S]. labels: class indices, [B] int64;
            num_classes is the null class. stage: active stage, [B] int64.
        Returns: scale s is [B, C, r_s, r_s].
        """
        x = sum(
            embed(patchify(scale, patch))
            for embed, scale, patch in zip(self.patch_embedders, scales, self.patch_sizes, strict=True)
        )  # [B, N, D]
        if self.position_table is not None:
            x = x + self.position_table
        condition = self.label_table(labels)
        for embed, time in zip(self.timestep_embedders, t.unbind(1), strict=True):
            condition = condition + embed(time * self.timestep_scale)
        if self.stage_table is not None:
            condition = condition + self.stage_table(stage)
        condition = silu(condition)
        for block in self.blocks:
            x = block(x, condition, self.rotation)
        return [
            unpatchify(head(x, condition), patch, self.channels)
            for head, patch in zip(self.heads, self.patch_sizes, strict=True)
        ]
