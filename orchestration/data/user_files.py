"""Datasets and autoencoders of the user's, opened as the sweep names them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import BinaryIO

from dfm_core.autoencoders.identity import CONFIG, WEIGHTS
from dfm_core.data.captions.caption import CAPTION_KEY
from dfm_core.data.captions.captioned_folder import open_captioned_folder
from dfm_core.data.captions.captioned_shards import open_captioned_shards
from dfm_core.data.files.class_folders import open_class_folders, open_list
from dfm_core.data.files.folder_report import BadFile
from dfm_core.data.files.image_files import EXTENSIONS
from dfm_core.data.files.image_shards import open_image_shards
from dfm_core.data.files.left_behind import left_behind
from dfm_core.data.files.other_layouts import CLIP_EXTENSIONS
from dfm_core.data.files.raw_samples import DataFile, Listing, RawDataset
from orchestration.common.digests import digest_of
from orchestration.common.urls import is_url
from orchestration.config.datasets import DatasetConfig
from orchestration.config.storage import StorageConfig
from orchestration.storage.safe_names import safe_name
from orchestration.storage.scratch import scratch_folder
from orchestration.storage.store import Store

_MAX_TEXT_BYTES = 2**30


@dataclass(frozen=True)
class UserDataset:
    """The training or the reference files of a dataset, as the sweep names them."""

    config: DatasetConfig
    storage: StorageConfig
    """The sweep's; a place of its protocol is read with its options."""
    reference: bool
    clips: bool
    """The files are videos."""

    @cached_property
    def store(self) -> Store:
        return open_place(self.config.place(reference=self.reference), self.storage)

    @cached_property
    def lists(self) -> tuple[str | None, str | None]:
        """Texts of the class list and of the CSV, if they are read. Raises: as `open`."""
        class_list, is_list = self.config.class_list, self.config.layout == "list"
        return (
            _text(self.store, class_list) if class_list else None,
            _text(self.store, self.config.list_file) if is_list else None,
        )

    @cached_property
    def key(self) -> str:
        """Digest of all that decides what is found, but the files."""
        options = self.store.options
        return digest_of(
            {"place": self.store.root, "options": options, "layout": self.config.layout, "clips": self.clips}
            | {"lists": self.lists}
            | ({"captions": self.config.caption_key} if self.config.has_captions else {})
        )

    def open(self, listing: Listing | None = None) -> RawDataset:
        """Args: listing: one that was made before.

        Raises: ValueError, FileNotFoundError if files are not as described; errors of `Store`.
        """
        class_list, listed = self.lists
        names = None if class_list is None else [line.strip() for line in class_list.splitlines() if line.strip()]
        files, extensions = StoreFiles(self.store, listing), CLIP_EXTENSIONS if self.clips else EXTENSIONS
        if self.config.has_captions:
            is_folder, key = self.config.layout == "captioned_folder", self.config.caption_key or CAPTION_KEY
            return open_captioned_folder(files, key) if is_folder else open_captioned_shards(files, key)
        if self.config.layout == "image_shards":
            return open_image_shards(files, names or ())
        if listed is not None:
            return open_list(files, listed, extensions, names)
        return open_class_folders(files, extensions, names)


def open_place(place: str, storage: StorageConfig) -> Store:
    """Open a place that is only read."""
    return Store(place, storage.options_for(place) if is_url(place) else {}, storage.retry_policy)


def _text(store: Store, name: str) -> str:
    """Raises: FileNotFoundError, ValueError naming the file."""
    if (num_bytes := store.num_bytes(name)) > _MAX_TEXT_BYTES:
        raise ValueError(f"{store.uri(name)}: has {num_bytes} bytes; a list has at most {_MAX_TEXT_BYTES}")
    try:
        return store.read(name).decode("utf-8-sig")
    except FileNotFoundError:
        raise FileNotFoundError(f"{store.uri(name)}: is not there as a regular file") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"{store.uri(name)}: is no text in UTF-8 ({error})") from None


@contextmanager
def autoencoder_folder(store: Store) -> Iterator[Path]:
    """Yield the folder that `load_autoencoder` reads: the root of the store, or a copy for the length of the block.

    Raises: FileNotFoundError naming a missing file; errors of `Store`.
    """
    with scratch_folder("autoencoder") as scratch:
        for name in (CONFIG, WEIGHTS):
            if not store.exists(name):
                raise FileNotFoundError(f"{store.uri(name)}: is not there; needed are {CONFIG} and {WEIGHTS}")
        paths = [store.fetch(name, scratch, store.num_bytes(name)) for name in (CONFIG, WEIGHTS)]
        yield paths[0].parent


def _name_problem(name: str) -> str:
    """Return why no file of this name is read; "": it is read."""
    try:
        safe_name(name).encode()
    except ValueError:
        return "has a name that cannot be used (UTF-8 of at most 255 bytes, no backslash): rename it"
    return ""


class StoreFiles:
    """All files under the root of a store that is only read."""

    def __init__(self, store: Store, listing: Listing | None = None) -> None:
        """Args: listing: one that was made before."""
        self._store, self._listing = store, listing

    @property
    def place(self) -> str:
        return self._store.root

    def listing(self) -> Listing:
        """Return files and folders.

        Raises: FileNotFoundError if there is no such place, or nothing in it; ValueError if it is a file; errors of
            `Store`.
        """
        if self._listing is not None:
            return self._listing
        tree = self._store.tree(closed=lambda name: left_behind(name) or _name_problem(name))
        if not tree:
            raise self._emptiness()
        files: list[DataFile] = []
        folders: list[str] = []
        unusable: list[BadFile] = []
        for path, size in sorted(tree.items()):
            problem = size if isinstance(size, str) else _name_problem(path.rpartition("/")[2])
            if problem:
                unusable.append(BadFile(path if size is not None else f"{path}/", "unreadable", problem))
            elif isinstance(size, int):
                files.append(DataFile(path, size))
            else:
                folders.append(path)
        return Listing(tuple(files), tuple(folders), tuple(unusable))

    def _emptiness(self) -> Exception:
        """Return the reason why nothing is listed: files may still come into a folder, but not into a file."""
        local = next(iter(self._store.local_directories()), None)
        place = self.place if local is None else str(local.absolute())
        if local is not None and local.is_file():
            how = "give its folder, with layout: image_shards" if local.suffix == ".tar" else "give a folder of files"
            return ValueError(f"{place} is a file; {how}")
        if self._store.exists(""):
            return FileNotFoundError(f"{place}: is a file or an empty folder; give the folder of the files")
        beside = [path.name for path in local.parent.glob("*")] if local is not None else []
        close = get_close_matches(Path(place).name, beside, n=1)
        meant = f"; did you mean {Path(place).with_name(close[0])}?" if close else ""
        return FileNotFoundError(f"{place}: there is nothing{meant}")

    @contextmanager
    def opened(self, file: DataFile) -> Iterator[BinaryIO]:
        with scratch_folder("data") as scratch:
            path = self._store.fetch(file.name, scratch, file.num_bytes)
            with path.open("rb") as content:
                yield content
