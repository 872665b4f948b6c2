"""Artifacts of runs that lie on this machine, read without asking a server."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from urllib.parse import unquote, urlsplit

from analysis.contract.regular_files import IrregularFileError, check_regular
from analysis.tracking.run import Run


def local_folder(run: Run) -> Path | None:
    """Return the folder of a run's artifacts; None if it is not on this machine."""
    parts = urlsplit(run.artifact_uri)
    path = unquote(parts.path) if parts.scheme == "file" else run.artifact_uri if not parts.scheme else ""
    return Path(path) if path.startswith("/") and parts.netloc in {"", "localhost"} else None


def local_files(folder: Path, names: Iterable[str]) -> dict[str, bytes]:
    """Return those of the named files that exist. Raises: OSError."""
    files = {}
    for name in names:
        try:
            check_regular(folder / name)
            files[name] = (folder / name).read_bytes()
        except (FileNotFoundError, IrregularFileError):  # the run did not get so far, or its kind has no such file
            continue
    return files
