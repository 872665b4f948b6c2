"""Config dataclasses as plain JSON data and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import is_dataclass
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

_SCALARS = frozenset({str, int, float, bool, type(None)})
Config = TypeVar("Config")


def from_plain(kind: type[Config], data: Mapping[str, Any]) -> Config:
    """Return the inverse of `as_plain` for a config dataclass. Checks names and choices, not ranges.

    Raises: ValueError naming keys that the dataclass does not have, or a choice that it does not offer; TypeError.
    """
    if not isinstance(data, Mapping):
        raise TypeError(f"{kind.__name__} is a mapping, got {data!r}")
    hints = get_type_hints(kind)
    unknown = sorted(set(data) - set(hints))
    if unknown:
        raise ValueError(f"{kind.__name__} has no {', '.join(unknown)}; it was written by another version")
    values: dict[str, Any] = {}
    for name, value in data.items():
        section = next((part for part in (hints[name], *get_args(hints[name])) if is_dataclass(part)), None)
        if isinstance(section, type) and isinstance(value, list):
            values[name] = tuple(from_plain(section, one) for one in value)
        elif isinstance(section, type) and value is not None:
            values[name] = from_plain(section, value)
        elif get_origin(hints[name]) is Literal and value not in get_args(hints[name]):
            raise ValueError(
                f"{kind.__name__}.{name} {value!r} is none of {', '.join(map(str, get_args(hints[name])))}"
            )
        else:
            values[name] = _with_tuples(value)
    return kind(**values)


def _with_tuples(value: Any) -> Any:
    return tuple(map(_with_tuples, value)) if isinstance(value, list) else value


def as_plain(config: object) -> Any:
    """Nested dicts, lists and scalars of a config dataclass, for JSON and digests."""
    if type(config) in _SCALARS:
        return config
    if hasattr(config, "__dataclass_fields__"):
        return {name: as_plain(getattr(config, name)) for name in config.__dataclass_fields__}
    if isinstance(config, tuple | list):
        return [as_plain(value) for value in config]
    return config
