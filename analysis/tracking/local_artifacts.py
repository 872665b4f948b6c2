"""The place of a run's artifacts: files on this machine are read without asking, and no stranger is asked."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from urllib.parse import unquote, urlsplit

from analysis.contract.regular_files import IrregularFileError, check_regular
from analysis.tracking.run import Run

_OF_TRACKING_SERVERS = frozenset({"http", "https", "mlflow-artifacts"})


def local_folder(run: Run) -> Path | None:
    """Return the folder of a run's artifacts; None if it is not on this machine. Raises: ValueError if it is no URI."""
    parts = urlsplit(run.artifact_uri)
    path = unquote(parts.path) if parts.scheme == "file" else run.artifact_uri if not parts.scheme else ""
    return Path(path) if path.startswith("/") and parts.netloc in {"", "localhost"} else None


def local_files(folder: Path, names: Iterable[str]) -> dict[str, bytes]:
    """Return those of the named files that exist. Raises: OSError, ValueError."""
    files = {}
    for name in names:
        try:
            check_regular(folder / name)
            files[name] = (folder / name).read_bytes()
        except (FileNotFoundError, IrregularFileError):  # the run did not get so far, or its kind has no such file
            continue
    return files


def store_of(place: str) -> str:
    """Return scheme and host of a place outside this machine; "" for a path. Raises: ValueError if it is no URI."""
    parts = urlsplit(place)
    return f"{parts.scheme}://{parts.netloc}" if parts.netloc else ""


def is_served(place: str, tracking_uri: str) -> bool:
    """Return whether the tracking server hands out the artifacts of a place.

    Raises: PermissionError if another server does: MLflow's client would send it the tracking server's credentials.
    """
    parts, own = urlsplit(place), urlsplit(tracking_uri)
    if parts.scheme not in _OF_TRACKING_SERVERS:
        return False
    if parts.netloc and (parts.hostname, parts.port) != (own.hostname, own.port):
        raise PermissionError(f"they lie on another server, {parts.hostname}")
    return own.scheme in _OF_TRACKING_SERVERS
