"""Tokenformer: linear maps as attention over parameter tokens, some shared, some a stage's own (numerics 6).

The paper reports it as worse than a DiT of equal compute (appendix F); it is here so that this can be checked.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, linear, normalize

from dfm_core.compute import own_tokens
from dfm_core.models.empty_weights import draw_on_host
from dfm_core.models.linear import Groups, by_group


def attend_to_parameters(x: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """O = Theta(x K^T) V with Theta(a) = sqrt(n) gelu(a) / |gelu(a)|_2 over the n tokens (numerics 6).

    Args: x: [..., inputs]. keys: [n, inputs]. values: [n, outputs]. Returns: [..., outputs].
    """
    weights = keys.shape[0] ** 0.5 * normalize(gelu(linear(x, keys)), dim=-1)
    return linear(weights, values.T)


class ParameterAttention(nn.Module):
    """Stands in for a linear map of the same FLOPs; the active stage's tokens join the shared ones."""

    def __init__(self, inputs: int, outputs: int, num_tokens: int, num_stages: int) -> None:
        """num_tokens: that a sample attends to, its stage's included; a multiple of 4."""
        super().__init__()
        own = own_tokens(num_tokens, num_stages)
        self.keys = nn.Parameter(torch.empty(num_tokens - own, inputs))
        self.values = nn.Parameter(torch.empty(num_tokens - own, outputs))
        self.stage_keys = nn.Parameter(torch.empty(num_stages, own, inputs)) if own else None
        self.stage_values = nn.Parameter(torch.empty(num_stages, own, outputs)) if own else None

    def reset_parameters(self, generator: torch.Generator) -> None:
        """Keys N(0, 1 / inputs), values N(0, 1 / n): unit-variance inputs give unit-variance outputs."""
        own = 0 if self.stage_keys is None else self.stage_keys.shape[1]
        num_tokens = self.keys.shape[0] + own
        for keys in (self.keys, self.stage_keys):
            if keys is not None:
                draw_on_host(keys, partial(nn.init.normal_, std=keys.shape[-1] ** -0.5, generator=generator))
        for values in (self.values, self.stage_values):
            if values is not None:
                draw_on_host(values, partial(nn.init.normal_, std=num_tokens**-0.5, generator=generator))

    def forward(self, x: Tensor, groups: Groups | None = None) -> Tensor:
        """x: [B, ..., inputs]. Returns: [B, ..., outputs]."""
        if self.stage_keys is None or self.stage_values is None:
            return attend_to_parameters(x, self.keys, self.values)
        assert groups is not None, "parameter tokens of a stage need the stages of the batch"
        stage_keys, stage_values = self.stage_keys, self.stage_values

        def attend(part: Tensor, q: int) -> Tensor:
            keys, values = torch.cat([self.keys, stage_keys[q]]), torch.cat([self.values, stage_values[q]])
            return attend_to_parameters(part, keys, values)

        return by_group(x, groups, attend)
