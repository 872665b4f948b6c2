"""Memory that the backward pass of a model keeps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from dfm_core.models.network import VelocityNetwork
from dfm_core.paradigms import Batch, Paradigm

BF16_ACTIVATIONS = 0.59
"""Activations kept under bf16 autocast, in bytes, against fp32: matrix products keep half, norms and the residual
stream the whole. Measured on small models
(tests/orchestration/commands/test_check_models.py); autocast's bf16 weights come on top."""


class FusedAttention(torch.autograd.Function):
    """Stands in for a flash kernel: keeps inputs, output and one number a row, no matrix of attention weights."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        output = torch.empty_like(query)
        ctx.save_for_backward(query, key, value, output, query.new_empty(query.shape[:-1], dtype=torch.float32))
        return output

    @staticmethod
    def backward(ctx: Any, *_gradients: Tensor) -> tuple[Tensor, ...]:
        return tuple(torch.empty_like(tensor) for tensor in ctx.saved_tensors[:3])


def kept_bytes(
    paradigm: Paradigm, model: VelocityNetwork, batch: Batch, *, mixed: bool, frugal: bool
) -> tuple[int, int]:
    """Return the bytes kept for the backward pass, and those of the one block that is computed anew at a time."""
    with saved_bytes(model) as saved, _by_block(model, saved) as per_block:
        paradigm.loss(model, batch).loss.backward()  # type: ignore[no-untyped-call]
    factor = BF16_ACTIVATIONS if mixed else 1.0
    whole = round(factor * sum(saved))
    if not frugal:
        return whole, 0
    # Of equal blocks the mean, to which what surrounds them adds a little.
    largest = max(round(factor * max(per_block)), whole // len(model.blocks))
    model.use_activation_checkpointing()
    with saved_bytes(model) as inputs:  # of the blocks, which are fp32
        paradigm.loss(model, batch)
    # FLUX's tokens are bf16 under autocast, from its first map on; the diffusion transformer's stay fp32.
    half = mixed and model.reads_text
    return sum(inputs) // (2 if half else 1), largest


@contextmanager
def _by_block(model: VelocityNetwork, saved: Sequence[int]) -> Iterator[list[int]]:
    """Collect the sums of what is added to `saved` while each block runs forward."""
    sums: list[int] = []
    began: list[int] = []
    hooks = [block.register_forward_pre_hook(lambda *_: began.append(len(saved))) for block in model.blocks]
    hooks += [block.register_forward_hook(lambda *_: sums.append(sum(saved[began.pop() :]))) for block in model.blocks]
    try:
        yield sums
    finally:
        for hook in hooks:
            hook.remove()


@contextmanager
def saved_bytes(model: VelocityNetwork) -> Iterator[list[int]]:
    """Collect the bytes of each storage that autograd keeps for the backward pass, weights left out."""
    seen = {parameter.untyped_storage()._cdata for parameter in model.parameters()}  # noqa: SLF001  the storage's identity
    sizes: list[int] = []
    kept: list[Tensor] = []  # meta tensors cost nothing, and an identity must not be given away twice

    def pack(tensor: Tensor) -> Tensor:
        identity = tensor.untyped_storage()._cdata  # noqa: SLF001
        if identity not in seen:
            seen.add(identity)
            kept.append(tensor)
            sizes.append(tensor.untyped_storage().nbytes())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        yield sizes
