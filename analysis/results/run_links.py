"""Where the numbers of a row come from: a link to each run, or what it is found by. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import quote

from analysis.records.record import MISSING, Record

_DIGITS = 12
_OF_AN_ADDRESS = ":/#?&=%+,;@~!*'[]"
_OF_A_DIGEST = " @._-"
"""Beside letters and digits; a plan that somebody wrote by hand could have any."""


@dataclass(frozen=True)
class RunLink:
    """A run, or a record, that numbers come from."""

    digest: str
    """Of its task."""
    url: str
    """Its page; "" where MLflow is a database, or away."""
    source: str
    """Its page, else its id, else the record's file."""

    @property
    def label(self) -> str:
        """The beginning of the digest, which is the tag `dfm.digest` of the run."""
        return "".join(sign if sign.isalnum() or sign in _OF_A_DIGEST else "?" for sign in self.digest[:_DIGITS])


def run_links(digests: Iterable[str], records: Mapping[str, Record]) -> tuple[RunLink, ...]:
    """A link for each task that was recorded, in the given order."""
    found = ((digest, records.get(digest, MISSING)) for digest in digests)
    return tuple(
        RunLink(digest, quote(record.url, _OF_AN_ADDRESS), record.source) for digest, record in found if record.source
    )
