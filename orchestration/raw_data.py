"""A dataset's files, opened as the sweep names them."""

from __future__ import annotations

from dfm_core.data.class_folders import CLIP_EXTENSIONS, open_class_folders, open_list
from dfm_core.data.image_files import EXTENSIONS
from dfm_core.data.image_shards import open_image_shards
from dfm_core.data.raw_samples import RawDataset
from orchestration.data_sections import DatasetConfig
from orchestration.dataset_files import StoreFiles
from orchestration.runtime import StorageConfig
from orchestration.storage import Store
from orchestration.urls import is_url


def open_raw(config: DatasetConfig, storage: StorageConfig, *, reference: bool, clips: bool) -> RawDataset:
    """The training or the reference files of a dataset.

    Args: storage: the sweep's; a place of its protocol is read with its options. clips: the files are videos.
    Raises: ValueError, FileNotFoundError for what is not there as it is described; what `Store` does.
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
    """A place that is only read."""
    return Store(place, storage.options_for(place) if is_url(place) else {}, storage.patience)


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
