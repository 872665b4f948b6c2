"""Listings of the user's files, kept on this machine: a known dataset is planned without listing it again.

Under `listings/` of the cache lie, for each key of a dataset, its facts, which planning reads, and the listing, which
encodings read. Facts tell when they are stale: the folders of a local place have other times, a remote one has other
entries at its first level. What that misses is found by a run, which lists anew.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import logging
import time
import zlib
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path

from dfm_core.data.files.folder_report import BadFile
from dfm_core.data.files.left_behind import left_behind
from dfm_core.data.files.raw_samples import DataFile, Listing, RawDataset
from orchestration.common.errors import UserError
from orchestration.data.dataset_facts import DatasetFacts
from orchestration.data.file_cache import CACHE_VARIABLE, default_cache_directory
from orchestration.data.user_files import StoreFiles, UserDataset
from orchestration.parsing.documents import parse_document
from orchestration.parsing.validation import validate
from orchestration.storage.local_files import LocalFiles
from orchestration.storage.store import Store

WORTH_KEEPING_SECONDS = 1.0
"""Listings that are made faster are made again."""
_UNSETTLED_SECONDS = 2.0
"""A folder that changed so shortly before it was listed may have changed again within the resolution of its time."""
_NO_CACHE = (OSError, RuntimeError, UserError)
"""Errors of a cache without a home, or one that cannot be read or written."""
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Kept:
    """Facts with all that tells whether they are stale."""

    facts: DatasetFacts
    listed: str
    folders: tuple[str, ...]
    state: str


def facts_of(dataset: UserDataset, *, kept: bool) -> DatasetFacts:
    """Return the facts of a dataset.

    Args: kept: those of an earlier listing will do, if they are not stale. Raises: as `UserDataset.open`.
    """
    kept_listing = _read(dataset) if kept else None
    if kept_listing is not None and kept_listing.state == _state(dataset.store, kept_listing.folders)[0]:
        return replace(kept_listing.facts, listed=kept_listing.listed)
    _, facts = _list_now(dataset)
    return replace(facts, stale=kept_listing.listed) if kept_listing is not None else facts


def open_planned(dataset: UserDataset, fingerprint: str) -> RawDataset:
    """Open a dataset by the listing with which it was planned, if that is kept and not stale; else as it is now.

    Raises: as `UserDataset.open`.
    """
    kept_listing = _read(dataset)
    if kept_listing is not None and kept_listing.facts.fingerprint == fingerprint:
        listing = _read_listing(dataset)
        if listing is not None and kept_listing.state == _state(dataset.store, kept_listing.folders)[0]:
            raw = dataset.open(listing)
            if raw.fingerprint == fingerprint:
                return raw
    return _list_now(dataset)[0]


def _list_now(dataset: UserDataset) -> tuple[RawDataset, DatasetFacts]:
    """List the files, and keep the listing if that took long. Raises: as `UserDataset.open`."""
    began, clock = datetime.now().astimezone(), time.monotonic()
    listing = StoreFiles(dataset.store).listing()
    seconds = time.monotonic() - clock
    raw = dataset.open(listing)
    facts = DatasetFacts.of(raw, listing)
    folders = tuple(folder for folder in listing.folders if not left_behind(folder))
    state, newest = _state(dataset.store, folders)
    if seconds >= WORTH_KEEPING_SECONDS and newest < began.timestamp() - _UNSETTLED_SECONDS:
        kept = _Kept(facts, began.isoformat(" ", "minutes"), folders, state)
        _write(dataset, kept, listing)
    return raw, facts


def _state(store: Store, folders: tuple[str, ...]) -> tuple[str, float]:
    """Return a digest of what can be seen quickly, and the time of the last change, if it can be known."""
    if not store.is_local:
        return hashlib.sha256("\n".join(store.names("")).encode()).hexdigest(), 0.0
    digest, newest = hashlib.sha256(), 0
    for folder in ("", *folders):
        try:
            changed = Path(store.path(folder)).stat().st_mtime_ns
        except FileNotFoundError:
            changed = 0
        digest.update(f"{changed}\n".encode())
        newest = max(newest, changed)
    return digest.hexdigest(), newest / 1e9


def _paths(dataset: UserDataset) -> tuple[Path, Path]:
    """Return the places of facts and listing."""
    folder = default_cache_directory() / "listings"
    return folder / f"{dataset.key}.json", folder / f"{dataset.key}.files.gz"


def _read(dataset: UserDataset) -> _Kept | None:
    """Return what is kept; None: nothing, or it is damaged."""
    try:
        document = parse_document(_paths(dataset)[0].read_bytes())
    except (ValueError, *_NO_CACHE):
        return None
    return validate(_Kept, document, str).config


def _read_listing(dataset: UserDataset) -> Listing | None:
    """Return the kept listing, whose fingerprint tells whether it is whole."""
    try:
        document = json.loads(gzip.decompress(_paths(dataset)[1].read_bytes()))
        files = tuple(DataFile(name, num_bytes) for name, num_bytes in document["files"].items())
        unusable = tuple(BadFile(**one) for one in document["unusable"])
        return Listing(files, tuple(document["folders"]), unusable)
    except (OSError, EOFError, zlib.error, ValueError, TypeError, KeyError, AttributeError):
        return None


def _write(dataset: UserDataset, kept: _Kept, listing: Listing) -> None:
    document = {
        "files": {file.name: file.num_bytes for file in listing.files},
        "folders": listing.folders,
        "unusable": [asdict(one) for one in listing.unusable],
    }
    try:
        facts_path, listing_path = _paths(dataset)
        LocalFiles().write(str(listing_path), gzip.compress(json.dumps(document).encode(), compresslevel=1))
        LocalFiles().write(str(facts_path), json.dumps(asdict(kept)).encode())
    except _NO_CACHE as error:
        hint = f"make room there, or name another folder in {CACHE_VARIABLE}"
        _LOG.warning("The listing of %s is not kept (%s); %s", dataset.store.root, error, hint)
