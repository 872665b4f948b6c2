"""Nested mappings addressed by dotted keys, as sweep files write them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


def flatten(data: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield (dotted key, value) of nested mappings; an empty one is a value."""
    for key, value in data.items():
        if isinstance(value, Mapping) and value:
            yield from flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def get_dotted(data: Mapping[str, Any], dotted: str) -> Any:
    """Return data["a"]["b"] for "a.b"; None if there is none."""
    value: Any = data
    for key in dotted.split("."):
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def set_dotted(data: dict[str, Any], dotted: str, value: Any) -> None:
    """Set data["a"]["b"] to the value for "a.b"; a scalar in the way is replaced."""
    *parents, last = dotted.split(".")
    for parent in parents:
        child = data.get(parent)
        data[parent] = dict(child) if isinstance(child, Mapping) else {}
        data = data[parent]
    data[last] = value
