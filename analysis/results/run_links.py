"""Sources of a row's numbers: a link to each run, or its id. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import quote

from analysis.records.record import MISSING, Record

_DIGITS = 12
_SAFE_IN_URL = ":/#?&=%+,;@~!*'[]"
_SAFE_IN_DIGEST = " @._-"
"""Characters allowed beside letters and digits; a plan written by hand could have any."""


@dataclass(frozen=True)
class RunLink:
    """A run, or a record, that numbers come from."""

    digest: str
    """Digest of its task."""
    url: str
    """Page of the run; "" where MLflow is a database, or away."""
    source: str
    """Page of the run, else its id, else the record's file."""

    @property
    def label(self) -> str:
        """Return the beginning of the digest, which is the tag `dfm.digest` of the run."""
        return "".join(sign if sign.isalnum() or sign in _SAFE_IN_DIGEST else "?" for sign in self.digest[:_DIGITS])


def link_runs(digests: Iterable[str], records: Mapping[str, Record]) -> tuple[RunLink, ...]:
    """Return a link for each task that was recorded, in the given order."""
    pairs = ((digest, records.get(digest, MISSING)) for digest in digests)
    return tuple(
        RunLink(digest, quote(record.url, _SAFE_IN_URL), record.source) for digest, record in pairs if record.source
    )
