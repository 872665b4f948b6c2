"""Writing of a report's files to a folder or an fsspec URL; report.html comes last and is never half-written.

`files.json` lists the files written, with checksums. Files of a previous report that this one does not have are
removed, unless somebody has changed them; other files stay.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from fsspec import AbstractFileSystem
from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem

from analysis.contract.regular_files import IrregularFileError, read_file
from analysis.errors import UserError

MANIFEST = "files.json"


def write_files(files: Mapping[str, bytes], output: str, storage_options: Mapping[str, Any] | None = None) -> None:
    """Write files, by path inside `output`, in their order; remove those of a previous report that are not among them.

    Raises: UserError if `output` cannot be written.
    """
    try:
        filesystem, root = url_to_fs(output, **(storage_options or {}))
        previous = read_manifest(filesystem, root)
        listed = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
        # Both lists while files are replaced: an interrupted report leaves no file that is not listed.
        _write({MANIFEST: _manifest({**previous, **listed}), **files}, filesystem, root)
        for name in previous.keys() - listed.keys():
            _remove(filesystem, root, name, previous[name])
        if previous.keys() - listed.keys():
            _write({MANIFEST: _manifest(listed)}, filesystem, root)
    except Exception as error:  # each fsspec backend raises its own family
        why = error or type(error).__name__
        raise UserError(f"{output}: the report cannot be written ({why}); choose another --output") from error


def _manifest(listed: Mapping[str, str]) -> bytes:
    return f"{json.dumps({'sha256': dict(sorted(listed.items()))}, indent=1)}\n".encode()


def read_manifest(filesystem: AbstractFileSystem, root: str) -> dict[str, str]:
    """Read the sha256 of a previous report's files by name; empty if there is no readable list."""
    try:
        entries = json.loads(read_file(filesystem, f"{root}/{MANIFEST}"))["sha256"].items()
    except (FileNotFoundError, ValueError, TypeError, KeyError, AttributeError):
        return {}
    return {name: checksum for name, checksum in entries if _is_inside(name) and isinstance(checksum, str)}


def _is_inside(name: str) -> bool:
    """Return True if a path leads into the folder; an edited list could name anything."""
    path = PurePosixPath(name)
    return bool(path.parts) and not path.is_absolute() and ".." not in path.parts and "\\" not in name


def _remove(filesystem: AbstractFileSystem, root: str, name: str, checksum: str) -> None:
    """Remove a file that is as it was written, and its folder if that leaves it empty."""
    path = f"{root}/{name}"
    try:
        if hashlib.sha256(read_file(filesystem, path)).hexdigest() != checksum:
            return
        filesystem.rm_file(path)
    except (FileNotFoundError, IrregularFileError):
        return
    if isinstance(filesystem, LocalFileSystem):
        for folder in PurePosixPath(name).parents:  # innermost first
            if not folder.parts or any(Path(root, folder).iterdir()):
                return
            Path(root, folder).rmdir()


def _write(files: Mapping[str, bytes], filesystem: AbstractFileSystem, root: str) -> None:
    if isinstance(filesystem, LocalFileSystem):
        _replace_local(files, Path(root))
    else:
        for name, data in files.items():
            filesystem.pipe_file(f"{root}/{name}", data)


def _replace_local(files: Mapping[str, bytes], root: Path) -> None:
    """Write all files beside the target first, so that only complete files are moved."""
    root.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{root.name}.", dir=root.parent, ignore_cleanup_errors=True) as scratch:
        for name, data in files.items():
            path = Path(scratch, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        for name in files:
            target = root / name
            target.parent.mkdir(parents=True, exist_ok=True)
            Path(scratch, name).replace(target)
