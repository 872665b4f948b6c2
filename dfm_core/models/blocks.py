"""Transformer block and final layer under adaLN-Zero (numerics 5.2)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, scaled_dot_product_attention

from dfm_core.compute import parameter_tokens
from dfm_core.config.choices import Backbone
from dfm_core.models.linear import Groups, LinearFactory
from dfm_core.models.rope import apply_rope
from dfm_core.models.tokenformer import ParameterAttention

NORM_EPSILON = 1e-6
MLP_RATIO = 4


def modulate(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """x: [B, N, D]; shift, scale: [B, D]."""
    return torch.addcmul(shift[:, None], x, 1 + scale[:, None])


class Attention(nn.Module):
    """Multi-head self-attention; queries and keys are rotated if a rotation is given."""

    def __init__(self, width: int, heads: int, linears: LinearFactory, backbone: Backbone) -> None:
        super().__init__()
        self.heads = heads
        self.attend: Callable[[Tensor, Tensor, Tensor], Tensor] = scaled_dot_product_attention
        self.qkv: nn.Module
        self.proj: nn.Module
        if backbone == "dit":
            self.qkv = linears.in_block("attention", width, 3 * width)
            self.proj = linears.in_block("attention", width, width)
        else:
            stages = linears.num_stages
            self.qkv = ParameterAttention(width, 3 * width, parameter_tokens(width, 3 * width), stages)
            self.proj = ParameterAttention(width, width, parameter_tokens(width, width), stages)

    def forward(self, x: Tensor, rotation: Tensor | None, groups: Groups | None = None) -> Tensor:
        """x: [B, N, D]. Returns: [B, N, D]."""
        batch, tokens, width = x.shape
        qkv = self.qkv(x, groups).reshape(batch, tokens, 3, self.heads, width // self.heads)
        query, key, value = qkv.unbind(2)
        if rotation is not None:  # both at once, before the heads move: half the kernels, no copies
            query, key = apply_rope(qkv[:, :, :2], rotation[:, None, None]).unbind(2)
        query, key, value = query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2)  # [B, heads, N, ...]
        # A stage without samples runs on an empty batch, which some of CUDA's attention kernels refuse.
        attended = self.attend(query, key, value) if batch else value
        projected: Tensor = self.proj(attended.transpose(1, 2).flatten(2), groups)
        return projected


class Mlp(nn.Module):
    """Linear, GELU (tanh), Linear."""

    def __init__(self, width: int, linears: LinearFactory) -> None:
        super().__init__()
        self.fc1 = linears.in_block("mlp", width, MLP_RATIO * width)
        self.fc2 = linears.in_block("mlp", MLP_RATIO * width, width)

    def forward(self, x: Tensor, groups: Groups | None = None) -> Tensor:
        """x: [B, N, D]. Returns: [B, N, D]."""
        projected: Tensor = self.fc2(gelu(self.fc1(x, groups), approximate="tanh"), groups)
        return projected


class Block(nn.Module):
    """Attention and MLP under adaLN-Zero: x + gate * f(norm(x) (1 + scale) + shift) (numerics 5.2)."""

    def __init__(self, width: int, heads: int, linears: LinearFactory, backbone: Backbone = "dit") -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=NORM_EPSILON, elementwise_affine=False)
        self.attention = Attention(width, heads, linears, backbone)
        self.norm2 = nn.LayerNorm(width, eps=NORM_EPSILON, elementwise_affine=False)
        # 2 * MLP_RATIO D^2 multiply-accumulates a token either way: n (D + D) with n = MLP_RATIO D parameter tokens.
        self.mlp = (
            Mlp(width, linears)
            if backbone == "dit"
            else ParameterAttention(width, width, MLP_RATIO * width, linears.num_stages)
        )
        self.modulation = linears.in_block("modulation", width, 6 * width)

    def forward(self, x: Tensor, condition: Tensor, rotation: Tensor | None, groups: Groups | None = None) -> Tensor:
        """x: [B, N, D]; condition: [B, D] after SiLU. Returns: [B, N, D]."""
        shift_a, scale_a, gate_a, shift_m, scale_m, gate_m = self.modulation(condition, groups).chunk(6, dim=-1)
        x = x + gate_a[:, None] * self.attention(modulate(self.norm1(x), shift_a, scale_a), rotation, groups)
        out: Tensor = x + gate_m[:, None] * self.mlp(modulate(self.norm2(x), shift_m, scale_m), groups)
        return out


class Head(nn.Module):
    """Final layer of one scale: modulated norm and a linear map to patches."""

    def __init__(self, width: int, num_outputs: int, linears: LinearFactory) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, eps=NORM_EPSILON, elementwise_affine=False)
        self.linear = linears("projection", width, num_outputs)
        self.modulation = linears("modulation", width, 2 * width)

    def forward(self, x: Tensor, condition: Tensor, groups: Groups | None = None) -> Tensor:
        """x: [B, N, D]; condition: [B, D] after SiLU. Returns: [B, N, num_outputs]."""
        shift, scale = self.modulation(condition, groups).chunk(2, dim=-1)
        projected: Tensor = self.linear(modulate(self.norm(x), shift, scale), groups)
        return projected
