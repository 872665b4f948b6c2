"""Field types of config dataclasses, worked out once for each: they are asked for every key of every row."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any, Literal, get_args, get_origin, get_type_hints

FieldForm = Literal["section", "sections", "tuple"]
"""A dataclass; a mapping of free keys to dataclasses; a tuple."""
_FIELD_TYPES: dict[type[Any], Mapping[str, Any]] = {}
_COMPOUND_FIELDS: dict[type[Any], Mapping[str, tuple[Any, FieldForm]]] = {}


def field_types(kind: type[Any]) -> Mapping[str, Any]:
    """Return name and type of every field of a config dataclass."""
    if kind not in _FIELD_TYPES:
        hints = get_type_hints(kind, include_extras=False)
        _FIELD_TYPES[kind] = {f.name: hints[f.name] for f in fields(kind)}
    return _FIELD_TYPES[kind]


def all_keys(kind: type[Any], prefix: str = "") -> Iterator[str]:
    """Yield every dotted key of a config dataclass, sections included."""
    for name, hint in field_types(kind).items():
        yield f"{prefix}{name}"
        if is_dataclass(hint):
            assert isinstance(hint, type)
            yield from all_keys(hint, f"{prefix}{name}.")


def type_of_key(hint: Any, key: str) -> Any:
    """Return the type under a key of a dataclass or of a mapping; None if it has no such key."""
    if is_dataclass(hint):
        return _without_none(field_types(hint).get(key))  # type: ignore[arg-type]  # a hint is a type, no instance
    return get_args(hint)[1] if get_origin(hint) is dict else None


def keys_at(hint: Any, path: Sequence[str | int]) -> list[str]:
    """Return the keys of the config dataclass at a place in another one; empty if there is none."""
    for part in path:
        hint = type_of_key(hint, str(part))
    return list(field_types(hint)) if is_dataclass(hint) else []  # type: ignore[arg-type]  # as above


def compound_fields(kind: type[Any]) -> Mapping[str, tuple[Any, FieldForm]]:
    """Return the fields of a config dataclass that hold more than one value: (type, or that of its sections, form)."""
    if kind not in _COMPOUND_FIELDS:
        _COMPOUND_FIELDS[kind] = dict(_find_compound_fields(kind))
    return _COMPOUND_FIELDS[kind]


def _find_compound_fields(kind: type[Any]) -> Iterator[tuple[str, tuple[Any, FieldForm]]]:
    for name, given in field_types(kind).items():
        hint = _without_none(given)
        if get_origin(hint) is dict and is_dataclass(get_args(hint)[1]):
            yield name, (get_args(hint)[1], "sections")
        elif is_dataclass(hint):
            yield name, (hint, "section")
        elif get_origin(hint) is tuple:
            yield name, (hint, "tuple")


def _without_none(hint: Any) -> Any:
    """Return an optional dataclass as the dataclass; any other type as it is."""
    return next((part for part in get_args(hint) if is_dataclass(part)), hint) if type(None) in get_args(hint) else hint
