"""Datasets and autoencoders of the user's, opened as the sweep names them."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from dfm_core.autoencoders.identity import CONFIG, WEIGHTS
from dfm_core.data.files.class_folders import CLIP_EXTENSIONS, open_class_folders, open_list
from dfm_core.data.files.image_files import EXTENSIONS
from dfm_core.data.files.image_shards import open_image_shards
from dfm_core.data.files.raw_samples import DataFile, Listing, RawDataset
from orchestration.common.urls import is_url
from orchestration.config.datasets import DatasetConfig
from orchestration.config.storage import StorageConfig
from orchestration.storage.store import Store


def open_raw(config: DatasetConfig, storage: StorageConfig, *, reference: bool, clips: bool) -> RawDataset:
    """Open the training or the reference files of a dataset.

    Args: storage: the sweep's; a place of its protocol is read with its options. clips: the files are videos.
    Raises: ValueError, FileNotFoundError if files are not as described; errors of `Store`.
    """
    store = open_place(config.place(reference=reference), storage)
    names = _lines(store, config.class_list) if config.class_list else None
    files, extensions = StoreFiles(store), CLIP_EXTENSIONS if clips else EXTENSIONS
    if config.layout == "image_shards":
        return open_image_shards(files, names or ())
    if config.layout == "list":
        return open_list(files, _text(store, config.list_file), extensions, names)
    return open_class_folders(files, extensions, names)


def open_place(place: str, storage: StorageConfig) -> Store:
    """Open a place that is only read."""
    return Store(place, storage.options_for(place) if is_url(place) else {}, storage.retry_policy)


def _lines(store: Store, name: str) -> tuple[str, ...]:
    return tuple(line.strip() for line in _text(store, name).splitlines() if line.strip())


def _text(store: Store, name: str) -> str:
    """Raises: FileNotFoundError, ValueError naming the file."""
    try:
        return store.read(name).decode()
    except FileNotFoundError:
        raise FileNotFoundError(f"{store.uri(name)}: is not there") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"{store.uri(name)}: is no text in UTF-8 ({error})") from None


@contextmanager
def autoencoder_folder(store: Store) -> Iterator[Path]:
    """Yield the folder that `load_autoencoder` reads: the root of the store, or a copy for the length of the block.

    Raises: FileNotFoundError naming a missing file; errors of `Store`.
    """
    with tempfile.TemporaryDirectory(prefix="dfm-autoencoder-", ignore_cleanup_errors=True) as scratch:
        for name in (CONFIG, WEIGHTS):
            if not store.exists(name):
                raise FileNotFoundError(f"{store.uri(name)}: is not there; needed are {CONFIG} and {WEIGHTS}")
        paths = [store.fetch(name, Path(scratch), store.num_bytes(name)) for name in (CONFIG, WEIGHTS)]
        yield paths[0].parent


class StoreFiles:
    """All files under the root of a store that is only read."""

    def __init__(self, store: Store) -> None:
        self._store = store

    @property
    def place(self) -> str:
        return self._store.root

    def listing(self) -> Listing:
        """Return files and folders. Raises: FileNotFoundError if there is no such place; errors of `Store`."""
        tree = self._store.tree()
        if not tree:
            raise FileNotFoundError(f"{self.place}: there is nothing")
        files = [DataFile(name, num_bytes) for name, num_bytes in tree.items() if num_bytes is not None]
        folders = sorted(name for name, num_bytes in tree.items() if num_bytes is None)
        return Listing(tuple(sorted(files, key=lambda file: file.name)), tuple(folders))

    @contextmanager
    def opened(self, file: DataFile) -> Iterator[BinaryIO]:
        with tempfile.TemporaryDirectory(prefix="dfm-data-", ignore_cleanup_errors=True) as scratch:
            path = self._store.fetch(file.name, Path(scratch), file.num_bytes)
            with path.open("rb") as content:
                yield content
