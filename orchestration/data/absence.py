"""Files that planning can do without: those that are not there yet, and those that this machine may not read."""

from __future__ import annotations

from collections.abc import Mapping

from orchestration.common.redaction import reason_of, without_credentials
from orchestration.storage.retry import is_refusal, lacks_credentials


def is_absence(error: Exception) -> bool:
    """Return whether an error says that files are not there, or that nobody here may ask: they may be elsewhere."""
    return isinstance(error, FileNotFoundError) or lacks_credentials(error) or is_refusal(error)


def absence_text(error: Exception, place: str, options: Mapping[str, str]) -> str:
    """Return why the files of a place cannot be used here. Args: options: see `reason_of`."""
    if isinstance(error, FileNotFoundError):
        return str(error)
    return f"{without_credentials(place)}: cannot be read from this machine ({reason_of(error, options)})"
