"""Low-rank additions to linear maps whose own weights stay as they are (LoRA, Hu et al. 2021)."""

from __future__ import annotations

import math
from collections.abc import Collection
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from dfm_core.models.empty_weights import draw_on_host

DOWN, UP = "adapter_down", "adapter_up"


class AdaptedLinear(nn.Linear):
    """y = W x + b + B A x, with A `adapter_down` and B `adapter_up`, which starts at zero."""

    def __init__(self, inputs: int, outputs: int, rank: int, *, bias: bool) -> None:
        super().__init__(inputs, outputs, bias=bias)
        self.adapter_down = nn.Parameter(torch.empty(rank, inputs))
        self.adapter_up = nn.Parameter(torch.empty(outputs, rank))
        self.reset_addition(None)

    def forward(self, x: Tensor) -> Tensor:
        """x: [..., inputs]. Returns: [..., outputs]."""
        return super().forward(x) + linear(linear(x, self.adapter_down), self.adapter_up)

    def reset_addition(self, generator: torch.Generator | None) -> None:
        """A kaiming-uniform, B zero: the map alone."""
        uniform = partial(nn.init.kaiming_uniform_, a=math.sqrt(5.0), generator=generator)
        draw_on_host(self.adapter_down, uniform)
        nn.init.zeros_(self.adapter_up)

    def merged(self) -> Tensor:
        """Return the one weight that does the same, [outputs, inputs]."""
        return self.weight + self.adapter_up @ self.adapter_down


def add_adapters(blocks: Collection[nn.Module], rank: int, targets: Collection[str]) -> None:
    """Put low-rank additions on linear maps of some blocks, in place.

    Args: targets: names of maps inside a block. Raises: ValueError naming those that no block has.
    """
    unknown = set(targets)
    for block in blocks:
        for name, module in list(block.named_modules()):
            if name in targets and isinstance(module, nn.Linear):
                parent, _, own = name.rpartition(".")
                setattr(block.get_submodule(parent), own, _adapted(module, rank))
                unknown.discard(name)
    if unknown:
        raise ValueError(f"no block has a linear map {', '.join(sorted(unknown))}")


def _adapted(module: nn.Linear, rank: int) -> AdaptedLinear:
    adapted = AdaptedLinear(module.in_features, module.out_features, rank, bias=module.bias is not None)
    adapted.weight = module.weight
    if module.bias is not None:
        adapted.bias = module.bias
    return adapted
