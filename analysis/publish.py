"""A report's files into a folder or an fsspec URL; report.html comes last and never stands there half."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem

from analysis.errors import UserError


def publish(files: Mapping[str, bytes], output: str, storage_options: Mapping[str, Any] | None = None) -> None:
    """Write files, by path inside `output`, in their order. Other files there are left alone.

    Raises: UserError if `output` cannot be written.
    """
    try:
        filesystem, root = url_to_fs(output, **(storage_options or {}))
        if isinstance(filesystem, LocalFileSystem):
            _replace_local(files, Path(root))
        else:
            for name, data in files.items():
                filesystem.pipe_file(f"{root}/{name}", data)
    except Exception as error:  # each fsspec backend raises its own family
        why = error or type(error).__name__
        raise UserError(f"{output}: the report cannot be written ({why}); choose another --output") from error


def _replace_local(files: Mapping[str, bytes], root: Path) -> None:
    """All of it beside the target first, so that what is then moved is complete."""
    root.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{root.name}.", dir=root.parent) as scratch:
        for name, data in files.items():
            path = Path(scratch, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        for name in files:
            target = root / name
            target.parent.mkdir(parents=True, exist_ok=True)
            Path(scratch, name).replace(target)
