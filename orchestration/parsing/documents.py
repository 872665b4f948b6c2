"""JSON from files that others could have written or cut off: bounded in size and depth, finite, an object at its root.

Parsing such a file with `json.loads` alone can end in RecursionError, or in infinities that later calls cannot convert.
"""

from __future__ import annotations

import json
import re
from typing import Any

MOST_BYTES = 2**30
MOST_DEPTH = 64
"""Plans and records have fewer than 20 levels."""
_STRUCTURE = re.compile(rb'"(?:[^"\\]|\\.)*"?|[\[{]|[\]}]', re.DOTALL)


class DamagedDocumentError(ValueError):
    """A file is not a JSON object within the limits."""


def parse_document(content: bytes, *, finite: bool = True) -> dict[str, Any]:
    """Parse a JSON object.

    Args: finite: refuse NaN and infinities, which only measured numbers may be.
    Raises: DamagedDocumentError.
    """
    if len(content) > MOST_BYTES:
        raise DamagedDocumentError(f"{len(content):,} bytes are more than the {MOST_BYTES:,} allowed")
    _check_depth(content)
    try:
        document = json.loads(content, parse_constant=_refuse if finite else None)
    except DamagedDocumentError:
        raise
    except ValueError as error:
        raise DamagedDocumentError(str(error)) from None
    if not isinstance(document, dict):
        raise DamagedDocumentError(f"a JSON object is needed, this is a {type(document).__name__}")
    return document


def _check_depth(content: bytes) -> None:
    if content.count(b"[") + content.count(b"{") <= MOST_DEPTH:
        return
    depth = 0
    for token in _STRUCTURE.finditer(content):
        first = content[token.start()]
        depth += (first in b"[{") - (first in b"]}")
        if depth > MOST_DEPTH:
            raise DamagedDocumentError(f"more than {MOST_DEPTH} levels of brackets")


def _refuse(name: str) -> float:
    raise DamagedDocumentError(f"{name} is no number here")
