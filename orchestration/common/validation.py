"""Plain data into config dataclasses, with every mistake found at once.

pydantic checks types and ranges from the annotations; unknown keys are found here, where the nearest known key can be
named.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any, Generic, Literal, NamedTuple, TypeVar, get_args, get_origin, get_type_hints

from pydantic import TypeAdapter, ValidationError

from orchestration.common.errors import Problem, nearest
from orchestration.common.redaction import without_credentials

Config = TypeVar("Config")
_MAX_SHOWN = 80
Locate = Callable[[str], str]
"""Dotted key -> where the user wrote it."""
_ADAPTERS: dict[type[Any], TypeAdapter[Any]] = {}
_FIELD_TYPES: dict[type[Any], Mapping[str, Any]] = {}
_Form = Literal["section", "sections", "tuple"]
_FORMS: dict[type[Any], Mapping[str, tuple[Any, _Form]]] = {}


def _adapter(kind: type[Any]) -> TypeAdapter[Any]:
    """pydantic's validator of a config dataclass; built once for each."""
    if kind not in _ADAPTERS:
        _ADAPTERS[kind] = TypeAdapter(kind)
    return _ADAPTERS[kind]


def field_types(kind: type[Any]) -> Mapping[str, Any]:
    """Name and type of every field of a config dataclass; worked out once for each."""
    if kind not in _FIELD_TYPES:
        hints = get_type_hints(kind, include_extras=False)
        _FIELD_TYPES[kind] = {f.name: hints[f.name] for f in fields(kind)}
    return _FIELD_TYPES[kind]


def all_keys(kind: type[Any], prefix: str = "") -> Iterator[str]:
    """Every dotted key of a config dataclass, sections included."""
    for name, hint in field_types(kind).items():
        yield f"{prefix}{name}"
        if is_dataclass(hint):
            assert isinstance(hint, type)
            yield from all_keys(hint, f"{prefix}{name}.")


class Validated(NamedTuple, Generic[Config]):
    """A config, or None and the mistakes in it."""

    config: Config | None
    problems: tuple[Problem, ...]


def validate(kind: type[Config], data: Mapping[str, Any], locate: Locate) -> Validated[Config]:
    """Build `kind` from nested plain data; `config` is None if there are problems."""
    problems = [*_unknown_keys(kind, data, "", locate), *_non_finite(data, "", locate)]
    shaped = _tuples_from_scalars(kind, data)
    try:
        config = _adapter(kind).validate_json(json.dumps(shaped), strict=True)
    except ValidationError as error:
        details = error.errors(include_url=False)
        problems.extend(_explain(detail, kind, locate) for detail in details if not _is_misspelt(detail))
        config = None
    return Validated(None if problems else config, tuple(problems))


def revive(kind: type[Config], data: Mapping[str, Any]) -> Config:
    """A config that `as_plain` made plain for a journey between processes."""
    checked = validate(kind, data, str)
    assert checked.config is not None, f"a {kind.__name__} did not survive its journey: {checked.problems}"
    return checked.config


def _unknown_keys(hint: Any, data: Any, prefix: str, locate: Locate) -> Iterator[Problem]:
    """Of a config dataclass, and of those in it, also as values of a mapping, whose own keys are free."""
    if not isinstance(data, Mapping):
        return
    for key, value in data.items():
        dotted, inner = f"{prefix}{key}", _type_of_key(hint, key)
        if inner is not None:
            yield from _unknown_keys(inner, value, f"{dotted}.", locate)
        elif is_dataclass(hint):
            known = list(field_types(hint))  # type: ignore[arg-type]  # a type hint is a type, not an instance
            yield Problem(locate(dotted), f"unknown key{nearest(key, known)}; known here: {', '.join(known)}")


def _type_of_key(hint: Any, key: str) -> Any:
    """The type under a key of a dataclass or of a mapping; None if it has no such key."""
    if is_dataclass(hint):
        return _section(field_types(hint).get(key))  # type: ignore[arg-type]  # as above
    return get_args(hint)[1] if get_origin(hint) is dict else None


def _section(hint: Any) -> Any:
    """A dataclass that may be left out as the dataclass; any other type as it is."""
    return next((part for part in get_args(hint) if is_dataclass(part)), hint) if type(None) in get_args(hint) else hint


def _non_finite(value: Any, key: str, locate: Locate) -> Iterator[Problem]:
    if isinstance(value, float) and not math.isfinite(value):
        yield Problem(locate(key), f"{value} must be a finite number")
    items = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list) else ()
    for name, child in items:
        yield from _non_finite(child, f"{key}.{name}" if key else str(name), locate)


def _tuples_from_scalars(kind: type[Any], data: Mapping[str, Any]) -> dict[str, Any]:
    """`tau: 0.7` may stand for `tau: [0.7]`."""
    shaped, forms = dict(data), _forms(kind)
    for name, value in data.items():
        hint, form = forms.get(name, (Any, None))
        if form == "sections" and isinstance(value, Mapping):
            shaped[name] = {
                key: _tuples_from_scalars(hint, own) if isinstance(own, Mapping) else own for key, own in value.items()
            }
        elif form == "section" and isinstance(value, Mapping):
            shaped[name] = _tuples_from_scalars(hint, value)
        elif form == "tuple" and isinstance(value, int | float | str) and not isinstance(value, bool):
            shaped[name] = [value]
    return shaped


def _forms(kind: type[Any]) -> Mapping[str, tuple[Any, _Form]]:
    """The fields of a config dataclass that hold more than one value: (its type, or that of its sections, form)."""
    if kind not in _FORMS:
        _FORMS[kind] = dict(_find_forms(kind))
    return _FORMS[kind]


def _find_forms(kind: type[Any]) -> Iterator[tuple[str, tuple[Any, _Form]]]:
    for name, given in field_types(kind).items():
        hint = _section(given)
        if get_origin(hint) is dict and is_dataclass(get_args(hint)[1]):
            yield name, (get_args(hint)[1], "sections")
        elif is_dataclass(hint):
            yield name, (hint, "section")
        elif get_origin(hint) is tuple:
            yield name, (hint, "tuple")


def _keys_at(hint: Any, path: Sequence[str | int]) -> list[str]:
    """Keys of the config dataclass at a place in another one; empty if there is none."""
    for part in path:
        hint = _type_of_key(hint, str(part))
    return list(field_types(hint)) if is_dataclass(hint) else []  # type: ignore[arg-type]  # as above


def _is_misspelt(detail: Any) -> bool:
    """Whether a key is missing because it is misspelt, which its unknown key tells already."""
    return detail["type"] == "missing" and bool(nearest(detail["loc"][-1], list(detail["input"])))


def _missing(key: str, given: Mapping[str, Any], locate: Locate) -> Problem:
    """Told where something beside it was written: what was not written has no place."""
    parent, dot, name = key.rpartition(".")
    for beside in given:
        return Problem(locate(f"{parent}{dot}{beside}"), f"is given without {name}; both are needed")
    return Problem(locate(key), "is needed, but missing")


def _explain(detail: Any, kind: type[Any], locate: Locate) -> Problem:
    """One pydantic error in our words: what was given, what is allowed."""
    key = ".".join(part for part in map(str, detail["loc"]) if not part.startswith(("tuple[", "constrained-")))
    given = detail["input"]
    if detail["type"] == "missing":
        return _missing(key, given, locate)
    if detail["type"] == "dataclass_type" and (keys := _keys_at(kind, detail["loc"])):
        return Problem(locate(key), f"{shown(given)} should be a mapping with {', '.join(keys)}")
    if detail["type"] == "literal_error":
        expected = str(detail["ctx"]["expected"])
        allowed = [name.strip().strip("'") for name in expected.replace(" or ", ", ").split(",")]
        hint = ("" if str(given) in allowed else nearest(given, allowed)) or ";"
        return Problem(locate(key), f"{shown(given)} is not allowed{hint} allowed: {', '.join(allowed)}")
    message = str(detail["msg"]).removeprefix("Input ").removeprefix("Value error, ")
    separator = " " if message.startswith("should") else ": "
    return Problem(
        locate(key), f"{shown(given)}{separator}{message.replace('an object', 'a mapping').replace('array', 'list')}"
    )


def shown(value: Any) -> str:
    """A value as the user gave it, cut to what fits a line."""
    text = without_credentials(repr(value))
    return text if len(text) <= _MAX_SHOWN else f"{text[: _MAX_SHOWN - 3]}..."
