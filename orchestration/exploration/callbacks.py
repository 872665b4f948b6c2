"""The callbacks of Ray Tune that `callbacks:` may name, and those that installed packages add."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ray.tune import Callback
from ray.tune.logger import CSVLoggerCallback, JsonLoggerCallback, TBXLoggerCallback

from orchestration.exploration.entry_points import load_entry_point
from orchestration.spec.search.section import CALLBACKS_GROUP

_CALLBACKS: dict[str, Callable[[], Callback]] = {
    "csv": CSVLoggerCallback,
    "json": JsonLoggerCallback,
    "tensorboard": TBXLoggerCallback,
}


def make_callbacks(names: Sequence[str]) -> list[Callback]:
    """Return new callbacks; an entry point of `dfm.callbacks` is called without arguments. Raises: its errors."""
    return [(_CALLBACKS.get(name) or load_entry_point(CALLBACKS_GROUP, name))() for name in names]
