"""A counter of the memory that tensors hold, be they real, fake or on the meta device."""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class HeldBytes(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the bytes of the storages that operations in a `with` block make, as long as these live."""

    def __init__(self, device_type: str) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now = self.peak = 0
        self._device_type = device_type
        self._known: set[int] = set()

    def __torch_dispatch__(
        self,
        func: Any,
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        for tensor in self._own(args):
            self._hold(tensor, is_new=False)  # made outside: views of it hold nothing more
        result = func(*args, **(kwargs or {}))
        for tensor in self._own(result):
            self._hold(tensor, is_new=True)
        return result

    def _own(self, values: Any) -> Iterator[Tensor]:
        for value in tree_leaves(values):
            if isinstance(value, Tensor) and value.device.type == self._device_type:
                yield value

    def _hold(self, tensor: Tensor, *, is_new: bool) -> None:
        storage = tensor.untyped_storage()
        identity, num_bytes = storage._cdata, storage.nbytes() if is_new else 0  # noqa: SLF001  the identity of the storage
        if identity not in self._known:
            self._known.add(identity)
            self.now += num_bytes
            self.peak = max(self.peak, self.now)
            weakref.finalize(storage, self._free, identity, num_bytes)

    def _free(self, identity: int, num_bytes: int) -> None:
        self._known.discard(identity)
        self.now -= num_bytes
