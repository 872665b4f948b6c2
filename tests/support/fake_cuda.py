"""CUDA devices that compute nothing: shapes, types and devices of every operation are checked, and waits are counted.

torch's fake tensors run all code of a GPU's path but the kernels; what a build of torch for CPUs lacks for them,
`cuda_hooks` loads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, TypeVar
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes

from dfm_core.decompositions.constants import constant
from dfm_core.paradigms.base import Batch
from dfm_core.paradigms.draws import Draws
from tests.support.cuda_hooks import present

CUDA = torch.device("cuda", 0)
Module = TypeVar("Module", bound=nn.Module)


class HostWaits(TorchDispatchMode):
    """Counts the moments at which the host would wait for a GPU, and answers what fake tensors do not know."""

    def __init__(self) -> None:
        super().__init__()
        self.reads: list[str] = []
        """Values that the host read, by operation."""
        self.blocking_copies: list[tuple[int, ...]] = []
        """Shapes of tensors that were copied to or from a GPU while the host waited."""

    @property
    def count(self) -> int:
        return len(self.reads) + len(self.blocking_copies)

    def __torch_dispatch__(
        self,
        func: Any,
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        known, name = dict(kwargs or {}), func.overloadpacket.__name__
        tensor = args[0] if args and isinstance(args[0], Tensor) else None
        if tensor is not None and name in ("_to_copy", "copy_"):
            is_copy = name == "copy_"
            other = args[1].device if is_copy else known.get("device", tensor.device)
            waits = not (args[2:] == (True,) or known.get("non_blocking", False))
            if waits and {tensor.device.type, torch.device(other).type} == {"cpu", "cuda"}:
                self.blocking_copies.append(tuple(tensor.shape))
        elif tensor is not None and tensor.device.type == "cuda" and name in ("_local_scalar_dense", "nonzero"):
            self.reads.append(name)
            if name == "nonzero":
                return tensor.new_empty((0, tensor.ndim), dtype=torch.int64)
            return 1.0 if tensor.is_floating_point() else tensor.dtype is not torch.bool
        return func(*args, **known)


class FakeCuda:
    """Fake tensors and modules on a fake GPU; see `fake_cuda`."""

    device = CUDA

    def __init__(self, mode: FakeTensorMode) -> None:
        self._mode = mode

    def tensor(self, tensor: Tensor) -> Tensor:
        """Return a fake tensor of the same shape on the GPU."""
        with torch.no_grad():
            return self._mode.from_tensor(tensor.detach()).to(CUDA, non_blocking=True)

    def module(self, module: Module) -> Module:
        """Move a module, in place: `Module.to` cannot exchange real tensors for fake ones."""
        moved: dict[int, Any] = {}
        for part in module.modules():
            for name, parameter in part._parameters.items():
                if parameter is not None:
                    new = nn.Parameter(self.tensor(parameter), parameter.requires_grad)
                    part._parameters[name] = moved.setdefault(id(parameter), new)
            for name, buffer in part._buffers.items():
                part._buffers[name] = None if buffer is None else self.tensor(buffer)
        return module

    def batch(self, batch: Batch, draw: Callable[[Sequence[int], tuple[int, ...]], Draws]) -> Batch:
        """Return a fake batch on the GPU with its draws, as a step gets it."""
        with _disable_current_modes():  # as on the host
            draws = draw(batch.indices, tuple(batch.images.shape[1:]))
        return replace(
            batch,
            images=self.tensor(batch.images),
            labels=self.tensor(batch.labels),
            draws=draws._each(self.tensor),
        )


@contextmanager
def fake_gpu() -> Iterator[tuple[FakeCuda, HostWaits]]:
    """All tensors made in the block are fake; the host's waits are counted."""
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    with (
        present(),
        patch.multiple("torch.cuda.amp.common", amp_definitely_not_available=lambda: False),
        patch.multiple("torch.cuda", is_bf16_supported=lambda: True),
        mode,
        HostWaits() as waits,
    ):
        constant.cache_clear()  # fake tensors of one mode are none of another's
        yield FakeCuda(mode), waits
    constant.cache_clear()
