"""A dataset's files behind any fsspec URL, or in a folder of this machine: `DataFiles`, with a storage's patience."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from dfm_core.data.raw_samples import DataFile, Listing
from orchestration.storage import Store


class StoreFiles:
    """All files under the root of a store that is only read."""

    def __init__(self, store: Store) -> None:
        self._store = store

    @property
    def place(self) -> str:
        return self._store.root

    def listing(self) -> Listing:
        """Raises: FileNotFoundError if there is no such place; what `Store` does."""
        found = self._store.tree()
        if not found:
            raise FileNotFoundError(f"{self.place}: there is nothing")
        files = [DataFile(name, num_bytes) for name, num_bytes in found.items() if num_bytes is not None]
        folders = sorted(name for name, num_bytes in found.items() if num_bytes is None)
        return Listing(tuple(sorted(files, key=lambda file: file.name)), tuple(folders))

    @contextmanager
    def opened(self, file: DataFile) -> Iterator[BinaryIO]:
        with tempfile.TemporaryDirectory(prefix="dfm-data-") as scratch:
            path = self._store.fetch(file.name, Path(scratch), file.num_bytes)
            with path.open("rb") as content:
                yield content
