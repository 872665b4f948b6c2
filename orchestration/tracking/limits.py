"""The longest texts that MLflow's tables take: SQLite checks none of them, Postgres and MySQL refuse the whole call."""

from __future__ import annotations

import hashlib
import re

MAX_NAME = 250
"""Characters of a run's or model's name, and of the key of a metric, param or tag."""
MAX_PARAM = 6000
MAX_TAG = 5000
"""Characters of a tag; newer servers take 8000."""
MAX_PARAMS_AT_ONCE = 100
MAX_METRICS_AT_ONCE = 900
MAX_ARTIFACT_LOCATION = 200 - len("/") - 32 - len("/artifacts")
"""Characters of an experiment's place of artifacts; a run's own, 200 at most, has its id in it."""
_NOT_IN_METRIC_NAMES = re.compile(r"[^\w/. :-]")


def storable(text: str, most: int) -> str:
    """Return a text that every database can store: cut to its limit, without NUL and halves of surrogate pairs."""
    clean = text.replace("\0", "").encode(errors="replace").decode()
    return clean if len(clean) <= most else f"{clean[: most - 1]}…"


def metric_name(name: str) -> str:
    """Return a name that MLflow takes for a metric: of a long one, its beginning and a digest of the whole."""
    clean = _NOT_IN_METRIC_NAMES.sub("_", name)
    if len(clean) <= MAX_NAME:
        return clean
    ending = hashlib.sha256(name.encode(errors="replace")).hexdigest()[:12]
    return f"{clean[: MAX_NAME - len(ending) - 1]} {ending}"
