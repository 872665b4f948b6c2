"""Entries that operating systems, archivers and editors leave in folders: never a sample, and never a class.

The list is here alone. Every reader leaves them out by name, beside the samples that it counts.
"""

from __future__ import annotations

import re

from dfm_core.data.files.folder_report import BadFile
from dfm_core.data.files.raw_samples import Listing

_NAMES = (
    "__MACOSX",  # macOS's archiver; its other entries, .DS_Store and ._x, are hidden
    "Icon\r",
    "Network Trash Folder",
    "Temporary Items",
    "Thumbs.db",  # Windows
    "ehthumbs*.db",
    "desktop.ini",
    "$RECYCLE.BIN",
    "RECYCLER",
    "System Volume Information",
    "lost+found",  # fsck
    "@eaDir",  # network storages of Synology and QNAP
    "#recycle",
    "@Recycle",
    "__pycache__",
    "*~",  # editors and office programs
    "~$*",
    "#*#",
    "*.swp",
    "*.swo",
    "cache-*.arrow",  # Hugging Face's `Dataset.map`, beside the data
)
_HIDDEN = r"\.(?!\.?(?:/|$))[^/]*"
"""Whatever begins with a dot: .git, .ipynb_checkpoints, .Trash-1000, .snapshot, ..."""
_ANY = "|".join([_HIDDEN, *("[^/]*".join(map(re.escape, name.split("*"))) for name in _NAMES)])
_PATTERN = re.compile(f"(?:^|(?<=/))(?:{_ANY})(?=/|$)", re.IGNORECASE)


def left_behind(path: str) -> str:
    """Return the beginning of a path that ends in such an entry; "" if there is none in it."""
    match = _PATTERN.search(path)
    return path[: match.end()] if match else ""


def as_left_behind(path: str) -> BadFile:
    return BadFile(path, "left behind", "is what operating systems, archivers or editors leave behind")


def without_left_behind(listing: Listing) -> tuple[Listing, list[BadFile]]:
    """Return the rest of a listing, and each such entry once: a folder stands for all in it."""
    entries: dict[str, None] = {}
    files, folders = [], []
    for folder in listing.folders:
        if entry := left_behind(folder):
            entries[entry] = None
        else:
            folders.append(folder)
    for file in listing.files:
        if entry := left_behind(file.name):
            entries[entry] = None
        else:
            files.append(file)
    unusable = tuple(one for one in listing.unusable if not left_behind(one.file))
    return Listing(tuple(files), tuple(folders), unusable), [as_left_behind(entry) for entry in sorted(entries)]
