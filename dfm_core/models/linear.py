"""Linear maps that may have a version per stage (DFM, Table 1d and appendix F; numerics 6).

A batch may mix samples of several active stages. The transformer sorts it by stage once; every map then cuts it into
`groups`, the number of samples of each stage, and gives each group its own weights: one pass over the layers, the
FLOPs of one, and the same modules and parameters on every worker whatever it drew, as ZeRO needs.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding, linear

from dfm_core.config.choices import Specialization
from dfm_core.models.empty_weights import draw_on_host

Groups = tuple[int, ...]
"""Samples of each stage, [S]; the batch is sorted by stage."""
LinearKind = Literal["modulation", "projection", "conditioning", "attention", "mlp"]


def by_group(x: Tensor, groups: Groups, apply: Callable[[Tensor, int], Tensor]) -> Tensor:
    """apply(samples of stage q, q) for every stage that has any, put together again. x: [B, ...], sorted by stage."""
    assert sum(groups) == x.shape[0], f"groups {groups} do not add up to a batch of {x.shape[0]}"
    parts = enumerate(torch.split(x, list(groups)))
    results = [apply(part, stage) for stage, part in parts if part.shape[0]]
    return torch.cat(results) if results else apply(x, 0)


class Linear(nn.Linear):
    """One map for all stages; takes the groups and ignores them."""

    def forward(self, x: Tensor, groups: Groups | None = None) -> Tensor:  # noqa: ARG002  the signature of all maps here
        """x: [B, ..., inputs]. Returns: [B, ..., outputs]."""
        return linear(x, self.weight, self.bias)


class SpecializedLinear(nn.Linear):
    """The common weights averaged with those of the active stage: W_q = (W + W[q]) / 2 (numerics 6)."""

    def __init__(self, inputs: int, outputs: int, num_stages: int) -> None:
        super().__init__(inputs, outputs)
        # One tensor for all stages: a worker whose batch lacks a stage still has a gradient, of zeros, for it.
        self.stage_weight = nn.Parameter(torch.empty(num_stages, outputs, inputs))
        self.stage_bias = nn.Parameter(torch.empty(num_stages, outputs))

    def copy_base(self) -> None:
        """Every stage starts as the common map, so that the model starts unspecialised."""
        with torch.no_grad():
            self.stage_weight.copy_(self.weight.expand_as(self.stage_weight))
            self.stage_bias.copy_(self.bias.expand_as(self.stage_bias))

    def forward(self, x: Tensor, groups: Groups | None = None) -> Tensor:
        assert groups is not None, "a specialised map must know the stages of its batch"
        # Unbound, so that the backward pass writes each stage's gradient once, not into zeros of all of them.
        weights, biases = self.stage_weight.unbind(0), self.stage_bias.unbind(0)
        return by_group(
            x, groups, lambda part, q: linear(part, (self.weight + weights[q]) / 2, (self.bias + biases[q]) / 2)
        )


class LoraLinear(nn.Linear):
    """A low-rank addition per stage: y = W x + b + (alpha / rank) B_q A_q x (numerics 6)."""

    def __init__(self, inputs: int, outputs: int, num_stages: int, rank: int, alpha: float) -> None:
        super().__init__(inputs, outputs)
        self.scale = alpha / rank
        self.down = nn.Parameter(torch.empty(num_stages, rank, inputs))
        self.up = nn.Parameter(torch.empty(num_stages, outputs, rank))

    def reset_addition(self, generator: torch.Generator) -> None:
        """A kaiming-uniform with a = sqrt(5), B zero, as peft does: the model starts without additions."""
        for matrix in self.down:
            draw_on_host(matrix, partial(nn.init.kaiming_uniform_, a=math.sqrt(5), generator=generator))
        nn.init.zeros_(self.up)

    def forward(self, x: Tensor, groups: Groups | None = None) -> Tensor:
        assert groups is not None, "an adapted map must know the stages of its batch"
        down, up = self.down.unbind(0), self.up.unbind(0)
        added = by_group(x, groups, lambda part, q: linear(linear(part, self.scale * down[q]), up[q]))
        return linear(x, self.weight, self.bias) + added


class SpecializedEmbedding(nn.Embedding):
    """A table averaged with that of the active stage, row by row."""

    def __init__(self, num_rows: int, width: int, num_stages: int) -> None:
        super().__init__(num_rows, width)
        self.stage_weight = nn.Parameter(torch.empty(num_stages, num_rows, width))

    def copy_base(self) -> None:
        with torch.no_grad():
            self.stage_weight.copy_(self.weight.expand_as(self.stage_weight))

    def forward(self, rows: Tensor, stage: Tensor | None = None) -> Tensor:
        """rows, stage: [B] int64. Returns: [B, width]."""
        assert stage is not None, "a specialised table must know the stages of its batch"
        return (self.weight[rows] + self.stage_weight[stage, rows]) / 2


class Embedding(nn.Embedding):
    """A table for all stages; takes the stage and ignores it."""

    def forward(self, rows: Tensor, stage: Tensor | None = None) -> Tensor:  # noqa: ARG002  the signature of both tables
        """rows: [B] int64. Returns: [B, width]."""
        return embedding(rows, self.weight)


@dataclass(frozen=True)
class LinearFactory:
    """Makes the maps of a transformer: common, specialised or adapted, by what they are for."""

    num_stages: int
    specialization: Specialization = "none"
    lora_rank: int = 0
    lora_alpha: float = 16.0

    @property
    def needs_groups(self) -> bool:
        """True if any map has weights per stage."""
        return self.specialization != "none" or self.lora_rank > 0

    def __call__(self, kind: LinearKind, inputs: int, outputs: int) -> nn.Linear:
        """Return a map outside the blocks, or one that LoRA leaves alone."""
        if self.specialization in (kind, "full"):
            return SpecializedLinear(inputs, outputs, self.num_stages)
        return Linear(inputs, outputs)

    def in_block(self, kind: LinearKind, inputs: int, outputs: int) -> nn.Linear:
        """Return a map inside a block, which LoRA adapts."""
        if self.lora_rank:
            return LoraLinear(inputs, outputs, self.num_stages, self.lora_rank, self.lora_alpha)
        return self(kind, inputs, outputs)

    def embedding(self, num_rows: int, width: int) -> Embedding | SpecializedEmbedding:
        """Return a table of the conditioning."""
        if self.specialization in ("conditioning", "full"):
            return SpecializedEmbedding(num_rows, width, self.num_stages)
        return Embedding(num_rows, width)
