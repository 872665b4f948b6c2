"""Plain data into config dataclasses, with every mistake reported at once.

pydantic checks types and ranges from the annotations; unknown keys are checked here, where the nearest known key can be
named.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import is_dataclass
from typing import Any, Generic, NamedTuple, TypeVar

from pydantic import TypeAdapter, ValidationError

from orchestration.common.errors import Problem, nearest, unknown_key
from orchestration.common.redaction import is_secret_name
from orchestration.common.redaction import shown as redacted
from orchestration.parsing.config_types import all_keys, compound_fields, field_types, keys_at, type_of_key

Config = TypeVar("Config")
_MAX_SHOWN = 80
Locate = Callable[[str], str]
"""Dotted key -> the place where the user wrote it."""
_WHOLE_NUMBER, _BOOLEAN = re.compile(r"[-+]?(0|[1-9]\d{0,17})"), re.compile(r"true|false")
_NUMBER = re.compile(r"[-+]?(0|[1-9]\d{0,17})(\.\d{1,17})?(e[-+]?\d{1,3})?")
_ADAPTERS: dict[type[Any], TypeAdapter[Any]] = {}


def _adapter(kind: type[Any]) -> TypeAdapter[Any]:
    """Return pydantic's validator of a config dataclass, built once for each."""
    if kind not in _ADAPTERS:
        _ADAPTERS[kind] = TypeAdapter(kind)
    return _ADAPTERS[kind]


class Validated(NamedTuple, Generic[Config]):
    """A config, or None and the mistakes in it."""

    config: Config | None
    problems: tuple[Problem, ...]


def validate(kind: type[Config], data: Mapping[str, Any], locate: Locate) -> Validated[Config]:
    """Build `kind` from nested plain data; `config` is None if there are problems."""
    problems = [*_unknown_keys(kind, data, "", locate, kind), *_non_finite(data, "", locate)]
    shaped = _tuples_from_scalars(kind, data)
    try:
        config = _adapter(kind).validate_json(json.dumps(shaped), strict=True)
    except ValidationError as error:
        details = error.errors(include_url=False)
        problems.extend(_explain(detail, kind, locate) for detail in details if not _follows(detail, details))
        config = None
    return Validated(None if problems else config, tuple(problems))


def revive(kind: type[Config], data: Mapping[str, Any]) -> Config:
    """Return the config that `as_plain` made plain to send it to another process."""
    config, problems = validate(kind, data, str)
    assert config is not None, f"a {kind.__name__} cannot be read back: {problems}"
    return config


def _unknown_keys(hint: Any, data: Any, prefix: str, locate: Locate, root: type[Any]) -> Iterator[Problem]:
    """Yield unknown keys of a config dataclass and of those in it, also as values of a mapping with free keys.

    Args: root: the whole config, in another section of which a key may be at home.
    """
    if not isinstance(data, Mapping):
        return
    for key, value in data.items():
        dotted, inner = f"{prefix}{key}", type_of_key(hint, key)
        if inner is not None:
            yield from _unknown_keys(inner, value, f"{dotted}.", locate, root)
        elif is_dataclass(hint):
            known = list(field_types(hint))  # type: ignore[arg-type]  # a type hint is a type, not an instance
            elsewhere = "" if nearest(key, known) else nearest(key, tuple(all_keys(root)), cutoff=1.0)
            yield Problem(locate(dotted), unknown_key(key, known, elsewhere))


def _non_finite(value: Any, key: str, locate: Locate) -> Iterator[Problem]:
    if isinstance(value, float) and not math.isfinite(value):
        yield Problem(locate(key), f"{value} must be a finite number")
    items = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list) else ()
    for name, child in items:
        yield from _non_finite(child, f"{key}.{name}" if key else str(name), locate)


def _tuples_from_scalars(kind: type[Any], data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the data with lists where a single value stands for a tuple: `tau: 0.7` for `tau: [0.7]`."""
    shaped, compound = dict(data), compound_fields(kind)
    for name, value in data.items():
        hint, form = compound.get(name, (Any, None))
        if form == "sections" and isinstance(value, Mapping):
            shaped[name] = {
                key: _tuples_from_scalars(hint, own) if isinstance(own, Mapping) else own for key, own in value.items()
            }
        elif form == "section" and isinstance(value, Mapping):
            shaped[name] = _tuples_from_scalars(hint, value)
        elif form == "tuple" and isinstance(value, int | float | str) and not isinstance(value, bool):
            shaped[name] = [value]
    return shaped


def _follows(detail: Any, details: Sequence[Any]) -> bool:
    """Return whether a mistake follows from another one: a key is missing since it is misspelt, which is reported
    already; a list is too short without its wrong values."""
    if detail["type"] == "too_short":
        own = detail["loc"]
        return any(other["loc"][: len(own)] == own and other is not detail for other in details)
    return detail["type"] == "missing" and bool(nearest(detail["loc"][-1], list(detail["input"])))


def _missing(key: str, given: Mapping[str, Any], locate: Locate) -> Problem:
    """Return the problem at the place of a key beside it: a key that was not written has none."""
    parent, dot, name = key.rpartition(".")
    for beside in given:
        return Problem(locate(f"{parent}{dot}{beside}"), f"is given without {name}; both are needed")
    return Problem(locate(key), "is needed, but missing")


def _explain(detail: Any, kind: type[Any], locate: Locate) -> Problem:
    """Return a pydantic error in our words: the given value, and what is allowed."""
    key = ".".join(part for part in map(str, detail["loc"]) if not part.startswith(("tuple[", "constrained-")))
    given = detail["input"]
    if detail["type"] == "missing":
        return _missing(key, given, locate)
    if is_secret_name(key.rpartition(".")[2]):
        given = "***"
    if detail["type"] == "dataclass_type" and (keys := keys_at(kind, detail["loc"])):
        return Problem(locate(key), f"{shown(given)} should be a mapping with {', '.join(keys)}")
    if detail["type"] == "literal_error":
        expected = str(detail["ctx"]["expected"])
        allowed = [name.strip().strip("'") for name in expected.replace(" or ", ", ").split(",")]
        hint = ("" if str(given) in allowed else nearest(given, allowed)) or ";"
        return Problem(locate(key), f"{shown(given)} is not allowed{hint} allowed: {', '.join(allowed)}")
    message = str(detail["msg"]).removeprefix("Input ").removeprefix("Value error, ")
    separator = " " if message.startswith("should") else ": "
    message = message.replace("an object", "a mapping").replace("array", "list")
    return Problem(locate(key), f"{shown(given)}{separator}{message}{_as_the_type(detail['type'], given)}")


def _as_the_type(mistake: str, given: Any) -> str:
    """Return how to write a value of another type that looks like the right one; "" if it does not."""
    if mistake == "string_type" and isinstance(given, int | float):
        return f": write '{str(given).lower() if isinstance(given, bool) else given}' in quotes"
    if mistake == "int_type" and isinstance(given, float) and given.is_integer():
        return f": write {given:.0f}"
    pattern = {"int_type": _WHOLE_NUMBER, "float_type": _NUMBER, "bool_type": _BOOLEAN}.get(mistake)
    if pattern is not None and isinstance(given, str) and pattern.fullmatch(given):
        return f": write {given} without quotes"
    return ""


def shown(value: Any) -> str:
    """Return a value as the user gave it, cut to fit a line."""
    text = redacted(repr(value))
    return text if len(text) <= _MAX_SHOWN else f"{text[: _MAX_SHOWN - 3]}..."
