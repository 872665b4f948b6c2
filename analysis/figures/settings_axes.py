"""The settings that vary over the rows of a part, as axes: numbers, and lists of numbers entry by entry."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from analysis.plan.protocol import shown


@dataclass(frozen=True)
class Axis:
    """One number that differs between rows."""

    key: str
    """Dotted key, e.g. sampling.tau; entries of lists as sampling.steps[0]."""
    title: str
    values: Mapping[str, float]
    """Number by row, for the rows that have it."""

    @property
    def num_values(self) -> int:
        return len(set(self.values.values()))


def find_varying_settings(
    settings: Mapping[str, Mapping[str, Any]],
) -> tuple[tuple[Axis, ...], Mapping[str, Mapping[str, str]]]:
    """Find the settings that vary over rows.

    Args: settings: row -> key -> value.
    Returns: the axes, in the order of the keys; then by row the settings that vary and are no number, as text.
    """
    keys = dict.fromkeys(key for row in settings.values() for key in row)
    axes: list[Axis] = []
    others: dict[str, dict[str, str]] = {row: {} for row in settings}
    for key in keys:
        values = {row: row_settings.get(key) for row, row_settings in settings.items()}
        if len({repr(value) for value in values.values()}) < 2:
            continue
        numeric = _numeric_axes(key, {row: value for row, value in values.items() if value is not None})
        axes += [axis for axis in numeric if axis.num_values > 1]
        off = {row: value for row, value in values.items() if not any(row in axis.values for axis in numeric)}
        for row, value in off.items():
            others[row][key] = shown(value)
    return tuple(axes), others


def _numeric_axes(key: str, values: Mapping[str, Any]) -> list[Axis]:
    numbers = {row: float(value) for row, value in values.items() if _is_number(value)}
    if numbers:
        return [Axis(key, axis_title(key), numbers)]
    lists = {row: value for row, value in values.items() if isinstance(value, list) and all(map(_is_number, value))}
    if lists and len({len(value) for value in lists.values()}) == 1:
        length = len(next(iter(lists.values())))
        # A list of one, such as tau of two stages, is the number itself.
        names = [key] if length == 1 else [f"{key}[{index}]" for index in range(length)]
        titles = [axis_title(key)] if length == 1 else [f"{axis_title(key)} of stage {i}" for i in range(length)]
        return [
            Axis(name, title, {row: float(value[index]) for row, value in lists.items()})
            for index, (name, title) in enumerate(zip(names, titles, strict=True))
        ]
    return []


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def axis_title(key: str) -> str:
    """Format sampling.steps as "sampling steps", training.first_stage_probability as "first stage probability"."""
    section, _, name = key.rpartition(".")
    return f"{section} {name}".replace("_", " ") if name in {"steps", "seed"} and section else name.replace("_", " ")
