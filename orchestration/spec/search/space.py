"""The space of a search: which keys may take which values, read from a sweep file with every mistake at once.

A choice is carried as its JSON text, so that lists can be chosen from as well as names, and are the same in every
storage.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal

from dfm_core.config import ExperimentConfig
from orchestration.common.errors import Problem, nearest
from orchestration.parsing.config_types import all_keys

Kind = Literal["uniform", "log", "int", "choice"]
_KINDS: tuple[Kind, ...] = ("uniform", "log", "int", "choice")
_PARAMETER_KEYS = (*_KINDS, "step", "when")
_COMPARED_BY = ("evaluation", "data.dataset", "seed")
"""Keys by which trials are compared; they have to be the same for all."""


@dataclass(frozen=True)
class Parameter:
    """One key of the space."""

    key: str
    kind: Kind
    low: float = 0.0
    high: float = 0.0
    step: float | None = None
    choices: tuple[str, ...] = ()
    """As JSON texts."""
    when: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """Conditions under which this key is read: keys of choices, each with its values; all have to hold."""

    def is_read(self, chosen: Mapping[str, Any]) -> bool:
        """Return whether the values chosen for the keys before make this one matter."""
        return all(key in chosen and json.dumps(chosen[key]) in texts for key, texts in self.when)

    @property
    def ends(self) -> tuple[Any, ...]:
        """Lowest and highest value; all values of a choice."""
        if self.kind == "choice":
            return tuple(map(json.loads, self.choices))
        numbers = (self.low, self.high)
        return tuple(map(int, numbers)) if self.kind == "int" else numbers

    @property
    def points(self) -> tuple[Any, ...] | None:
        """All its values; None if they cannot be counted."""
        if self.kind == "choice":
            return self.ends
        if self.step is None:
            return None
        count = int((self.high - self.low) / self.step + 1e-9) + 1
        values = (self.on_step(self.low + self.step * number) for number in range(count))
        return tuple(map(int, values)) if self.kind == "int" else tuple(values)

    def on_step(self, value: float) -> float:
        """Return the number that a person would write for a value on a step: 0.85, not 0.8500000000000001."""
        if self.step is None:
            return value
        low, step = Decimal(repr(self.low)), Decimal(repr(self.step))
        return float(low + step * round((Decimal(value) - low) / step))

    def __str__(self) -> str:
        """Return e.g. "training.learning_rate: log 0.0001 to 0.01"."""
        if self.kind == "choice":
            text = f"one of {', '.join(self.choices)}"
        else:
            text = f"{self.kind} {self.low:g} to {self.high:g}"
            text += f" by {self.step:g}" if self.step is not None and (self.kind, self.step) != ("int", 1) else ""
        conditions = " and ".join(f"{key} is {' or '.join(texts)}" for key, texts in self.when)
        return f"{self.key}: {text}{f', when {conditions}' if conditions else ''}"


def read_space(space: Mapping[str, Any], where: str) -> tuple[tuple[Parameter, ...], list[Problem]]:
    """Return the sound parameters, and the mistakes in the others. Args: where: the place of the space."""
    parameters: dict[str, Parameter] = {}
    problems: list[Problem] = []
    for key, given in space.items():
        messages = [*_key_problems(str(key)), *_form_problems(given)]
        if not messages:
            messages = list(_range_problems(given))
        if not messages:
            messages = list(_when_problems(given.get("when") or {}, parameters, [str(other) for other in space]))
        problems.extend(Problem(f"{where}.{key}", message) for message in messages)
        if not messages:
            parameters[str(key)] = _parameter(str(key), given, parameters)
    return tuple(parameters.values()), problems


def grid_points(parameters: Sequence[Parameter]) -> list[dict[str, Any]]:
    """Return all points of a countable space, each once; keys that are not read at a point are left out."""
    points: dict[str, dict[str, Any]] = {}
    for chosen in itertools.product(*(parameter.points or () for parameter in parameters)):
        point: dict[str, Any] = {}
        for parameter, value in zip(parameters, chosen, strict=True):
            if parameter.is_read(point):
                point[parameter.key] = value
        points[json.dumps(point)] = point
    return list(points.values())


def _key_problems(key: str) -> Iterator[str]:
    every = [key for key in all_keys(ExperimentConfig) if key != "seed"]
    sections = {name.rpartition(".")[0] for name in every}
    leaves = [name for name in every if name not in sections]
    if key.startswith(_COMPARED_BY):
        yield "trials are compared by it: it has to be the same for all of them"
    elif key in sections:
        yield f"is a section; give one of its keys, e.g. {next(name for name in leaves if name.startswith(f'{key}.'))}"
    elif key not in leaves:
        yield f"unknown key{nearest(key, leaves)}"


def _form_problems(given: Any) -> Iterator[str]:
    if not isinstance(given, Mapping):
        yield f"{given!r} must be a mapping with one of {', '.join(_KINDS)}"
        return
    for name in given:
        if name not in _PARAMETER_KEYS:
            yield f"unknown key {name!r}{nearest(name, _PARAMETER_KEYS)}; known here: {', '.join(_PARAMETER_KEYS)}"
    if len([kind for kind in _KINDS if kind in given]) != 1:
        yield f"give exactly one of {', '.join(_KINDS)}"


def _range_problems(given: Mapping[str, Any]) -> Iterator[str]:
    kind = next(kind for kind in _KINDS if kind in given)
    values = given[kind]
    if kind == "choice":
        if not isinstance(values, Sequence) or isinstance(values, str) or not values:
            yield f"choice: {values!r} must be a list of values"
        elif len({json.dumps(value) for value in values}) < len(values):
            yield f"choice: {values!r} has a value twice"
        if "step" in given:
            yield "step: a choice has none"
        return
    if not isinstance(values, Sequence) or len(values) != 2 or not all(map(_is_number, values)):
        yield f"{kind}: {values!r} must be the lowest and the highest number, e.g. [1, 8]"
        return
    if values[0] >= values[1]:
        yield f"{kind}: {values!r}: the first must be less than the second"
    if kind == "log" and values[0] <= 0:
        yield f"log: {values!r} must be greater than 0"
    if kind == "int" and not all(isinstance(value, int) for value in (*values, given.get("step", 1))):
        yield f"int: {values!r} and its step must be whole numbers"
    yield from _step_problems(given, kind, values)


def _step_problems(given: Mapping[str, Any], kind: Kind, values: Sequence[float]) -> Iterator[str]:
    if "step" not in given:
        return
    step = given["step"]
    if kind == "log":
        yield "step: a logarithmic range has none"
    elif not _is_number(step) or step <= 0:
        yield f"step: {step!r} must be a number greater than 0"
    elif abs((values[1] - values[0]) / step - round((values[1] - values[0]) / step)) > 1e-9:
        yield f"step: {step!r} does not lead from {values[0]} to {values[1]}"


def _when_problems(when: Any, before: Mapping[str, Parameter], keys: Sequence[str]) -> Iterator[str]:
    if not isinstance(when, Mapping):
        yield f"when: {when!r} must be a mapping of a key of the space to the value, or values, that it has then"
        return
    for key, values in when.items():
        other = before.get(str(key))
        if other is None:
            why = "is given after it, or is wrong" if key in keys else f"is not in the space{nearest(key, keys)}"
            yield f"when: {key!r} {why}"
        elif other.kind != "choice":
            yield f"when: {key!r} is no choice"
        else:
            missing = [text for text in _texts(values, other) if text not in other.choices]
            if missing:
                yield f"when: {key!r} is never {', '.join(missing)}; it is one of {', '.join(other.choices)}"


def _texts(values: Any, parameter: Parameter) -> tuple[str, ...]:
    """Return the values of a condition: one, or a list of several, unless that list is itself a choice."""
    whole = json.dumps(values)
    if whole in parameter.choices or not isinstance(values, list):
        return (whole,)
    return tuple(map(json.dumps, values))


def _parameter(key: str, given: Mapping[str, Any], before: Mapping[str, Parameter]) -> Parameter:
    """Build a parameter from settings that were checked."""
    kind = next(kind for kind in _KINDS if kind in given)
    conditions = (given.get("when") or {}).items()
    when = tuple((str(other), _texts(values, before[str(other)])) for other, values in conditions)
    if kind == "choice":
        return Parameter(key, kind, choices=tuple(map(json.dumps, given[kind])), when=when)
    step = given.get("step", 1 if kind == "int" else None)
    low, high = map(float, given[kind])
    return Parameter(key, kind, low, high, None if step is None else float(step), when=when)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
