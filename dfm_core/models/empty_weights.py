"""Models that are built without memory for their weights: whoever trains or loads them says where these come to lie.

`torch.device("meta")` would take the buffers too, whose values a model computes while it is built.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


@contextmanager
def without_weights() -> Iterator[None]:
    """Build modules in a `with` block whose weights are on the meta device; one thread of a process at a time."""
    register = nn.Module.register_parameter

    def register_empty(self: nn.Module, name: str, param: nn.Parameter | None) -> None:
        register(self, name, None if param is None else nn.Parameter(param.data.to("meta"), param.requires_grad))

    nn.Module.register_parameter = register_empty  # type: ignore[method-assign]
    try:
        yield
    finally:
        nn.Module.register_parameter = register  # type: ignore[method-assign]


def give_weights(
    model: nn.Module, device: torch.device, deal_out: Callable[[nn.Parameter], None] = lambda _weight: None
) -> None:
    """Set all weights that are on the meta device to zeros on this one, in the model's order.

    Args: deal_out: called with each before the next one is made; it may keep a share of it only.
    """
    for module in model.modules():
        for name, weight in list(module.named_parameters(recurse=False)):
            if weight.is_meta:
                given = nn.Parameter(torch.zeros_like(weight, device=device), weight.requires_grad)
                module.register_parameter(name, given)
                deal_out(given)


def draw_on_host(weight: Tensor, draw: Callable[[Tensor], object]) -> None:
    """Set a weight, on any device, to what `draw` writes into a tensor of its shape on the CPU, with the
    same bits for all devices."""
    if weight.device.type == "cpu":
        draw(weight)
        return
    drawn = torch.empty(weight.shape, dtype=weight.dtype)
    draw(drawn)
    with torch.no_grad():
        weight.copy_(drawn)
