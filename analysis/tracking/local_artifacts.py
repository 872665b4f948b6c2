"""Artifacts of runs that lie in folders of this machine: read as files, without asking anybody."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from urllib.parse import unquote, urlsplit

from analysis.tracking.run import Run


def local_folder(run: Run) -> Path | None:
    """The folder of a run's artifacts; None if it is not on this machine."""
    parts = urlsplit(run.artifact_uri)
    path = unquote(parts.path) if parts.scheme == "file" else run.artifact_uri if not parts.scheme else ""
    return Path(path) if path.startswith("/") and parts.netloc in {"", "localhost"} else None


def local_files(folder: Path, names: Iterable[str]) -> dict[str, bytes]:
    """Those of the named files that there are. Raises: OSError."""
    found = {}
    for name in names:
        try:
            found[name] = (folder / name).read_bytes()
        except FileNotFoundError:  # of a run that has not got so far, or of a kind that has none
            continue
    return found
