"""Where the workers of a training of any kind work."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from dfm_core.config import as_plain
from orchestration.patience import Patience
from orchestration.runtime import StorageConfig, WorkersConfig
from orchestration.storage import Store


@dataclass(frozen=True)
class Workplace:
    """The store, the board and how they are laid out; plain data for a journey between processes."""

    workers: dict[str, Any]
    """`WorkersConfig`."""
    store_root: str
    store_options: dict[str, str] = field(repr=False)
    patience: Patience
    board: str

    def open_store(self) -> Store:
        return Store(self.store_root, self.store_options, self.patience)

    @property
    def storage(self) -> StorageConfig:
        """For what opens files of users' beside the store."""
        patience = self.patience
        return StorageConfig(self.store_root, self.store_options, patience.call_seconds, patience.retry_seconds)


def workplace(store: Store, workers: WorkersConfig, board: str) -> Workplace:
    """Args: board: its name."""
    return Workplace(as_plain(workers), store.root, store.options, store.patience, board)
