"""The place of a run's artifacts: files on this machine are read without asking, and no stranger is asked."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from urllib.parse import unquote, urlsplit

from analysis.contract.regular_files import IrregularFileError, check_regular
from analysis.tracking.run import Run, RunFiles

_OF_TRACKING_SERVERS = frozenset({"http", "https", "mlflow-artifacts"})


def local_files(run: Run, names: Iterable[str]) -> RunFiles | None:
    """Return those of the named artifacts that a run has; None if its artifacts are not on this machine."""
    files: dict[str, bytes] = {}
    try:
        folder = _local_folder(run.artifact_uri)
        if folder is None:
            return None
        for name in names:
            with suppress(FileNotFoundError, IrregularFileError):  # the run did not get so far, or its kind has none
                check_regular(folder / name)
                files[name] = (folder / name).read_bytes()
        # A run without any artifact has no folder; those of other runs tell then that they are here.
        is_here = bool(files) or any(place.is_dir() for place in (folder, *folder.parents[1:2]))
        return RunFiles(files) if is_here else None
    except (OSError, ValueError) as error:
        return RunFiles({}, str(error))


def _local_folder(uri: str) -> Path | None:
    parts = urlsplit(uri)
    path = unquote(parts.path) if parts.scheme == "file" else uri if not parts.scheme else ""
    return Path(path) if path.startswith("/") and parts.netloc in {"", "localhost"} else None


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
