"""Counters of torch's operations, torch.distributed's collectives among them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch.utils._python_dispatch import TorchDispatchMode


class CountOperations(TorchDispatchMode):
    """Counts the operations of a kind that a `with` block starts in this thread."""

    def __init__(self, is_counted: Callable[[Any], bool]) -> None:
        super().__init__()
        self.count, self._is_counted = 0, is_counted

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        self.count += self._is_counted(func)
        return func(*args, **(kwargs or {}))


class CountCollectives(CountOperations):
    """Counts collectives."""

    def __init__(self) -> None:
        super().__init__(lambda func: func.namespace == "c10d")
