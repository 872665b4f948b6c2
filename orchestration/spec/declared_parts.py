"""The parts of a sweep as the file declares them: `rows:`, `grid:`, `search:`, without a look into rows' settings."""

from __future__ import annotations

import itertools
import math
import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from dfm_core.config import ExperimentConfig
from orchestration.common.errors import Problem, nearest, unknown_key
from orchestration.config.published_table import PublishedPart
from orchestration.parsing.config_types import all_keys
from orchestration.parsing.dotted_keys import flatten
from orchestration.parsing.validation import validate
from orchestration.spec.compose import ComposedFile
from orchestration.spec.search.reader import read_search
from orchestration.spec.search.section import SearchSpec

MAX_TRIALS = 10_000
MOST_OF_NAME = 64
NAME = re.compile(rf"[A-Za-z0-9][A-Za-z0-9._-]{{0,{MOST_OF_NAME - 1}}}")
_SECTIONS = frozenset(name for key in all_keys(ExperimentConfig) if (name := key.rpartition(".")[0]))
_HOLDERS = ("grid", "rows", "search")
"""Keys of a part that hold its rows."""
_PART_KEYS = ("title", "published", "settings", *_HOLDERS)


class DeclaredRow(NamedTuple):
    """A row as the file declares it, or as a search proposes it."""

    label: str
    settings: dict[str, Any]
    """Deviations from the sweep's shared sections, by dotted key."""
    where: str
    """The place of the row in the file."""
    point: tuple[tuple[str, Any], ...] = ()
    """Keys and values of a grid's point; empty for other rows."""
    short: str = ""
    """Label in few letters; "": the label itself, see `orchestration.spec.short_labels`."""

    def has(self, key: str) -> bool:
        """Return whether the row itself sets a key, a section around it or a key in it."""
        return any(_overlap(key, own) for own in self.settings)


@dataclass(frozen=True)
class DeclaredPart:
    """A part as the file declares it."""

    name: str
    title: str
    published: PublishedPart | None
    where: str
    rows: tuple[DeclaredRow, ...]
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Settings of all its rows, by dotted key; a row's own win."""
    search: SearchSpec | None = None

    def without(self, keys: Collection[str]) -> DeclaredPart:
        """Return the part with rows that leave some keys to the sweep."""
        if not keys:
            return self
        rows = tuple(row._replace(settings=_without(row.settings, keys)) for row in self.rows)
        return replace(self, rows=rows, settings=_without(self.settings, keys))


def _overlap(key: str, other: str) -> bool:
    """Return whether two dotted keys are the same, or one is a section around the other."""
    return key == other or key.startswith(f"{other}.") or other.startswith(f"{key}.")


def _without(settings: Mapping[str, Any], keys: Collection[str]) -> dict[str, Any]:
    return {own: value for own, value in settings.items() if not any(_overlap(own, key) for key in keys)}


def unheeded_overrides(overrides: Sequence[str], parts: Sequence[DeclaredPart]) -> Iterator[str]:
    """Yield a sentence for each `key=value` that rows win over."""
    for override in overrides:
        key = override.partition("=")[0]
        rows = [f"{part.name} / {row.label}" for part in parts for row in part.rows if row.has(key)]
        if rows:
            more = f" and {len(rows) - 1} more" if len(rows) > 1 else ""
            yield f"{override} is not for {rows[0]}{more}: a row's own {key} wins; --with FILE wins over rows"


def declared_parts(composed: ComposedFile, num_seeds: int) -> tuple[list[DeclaredPart], list[Problem]]:
    """Return the parts of a file, and the mistakes in their form."""
    given = composed.data.get("parts", {"main": {"rows": {"default": {}}}})
    where = composed.locate("parts")
    if not isinstance(given, Mapping) or not given:
        return [], [Problem(where, "must be a mapping of part names to {grid: ..., rows: ...}")]
    parts: list[DeclaredPart] = []
    problems: list[Problem] = []
    num_trials = 0
    for name, section in given.items():
        part, part_problems = _declared_part(str(name), section, f"{where}.{name}")
        num_trials += len(part.rows) * num_seeds
        if num_trials > MAX_TRIALS:
            return [], [*problems, Problem(part.where, f"more than {MAX_TRIALS} trials; split the sweep")]
        parts.append(part)
        problems.extend(part_problems)
    return parts, problems


def _declared_part(name: str, section: Any, where: str) -> tuple[DeclaredPart, list[Problem]]:
    problems: list[Problem] = []
    if not NAME.fullmatch(name):
        problems.append(Problem(where, "a part's name must be 1 to 64 letters, digits, '.', '_' or '-'"))
    rows, row_problems = _rows_of(section, where)
    whole = section if isinstance(section, Mapping) else {}
    published, published_problems = _published(whole.get("published"), f"{where}.published")
    search, search_problems = read_search(whole["search"], f"{where}.search") if "search" in whole else (None, [])
    problems.extend([*row_problems, *published_problems, *search_problems])
    settings = _settings_of(whole["settings"]) if isinstance(whole.get("settings"), Mapping) else {}
    title = str(whole.get("title", name))
    return DeclaredPart(name, title, published, where, tuple(rows), settings, search), problems


def _published(given: Any, where: str) -> tuple[PublishedPart | None, Sequence[Problem]]:
    if given is None:
        return None, ()
    if not isinstance(given, Mapping):
        return None, [Problem(where, f"{given!r} must be a mapping with `part:` and `guidance:`")]
    return validate(PublishedPart, given, lambda key: f"{where}.{key}")


def _rows_of(part: Any, where: str) -> tuple[list[DeclaredRow], list[Problem]]:
    """Return all rows of a part: first its `rows`, then the points of its `grid`."""
    if not isinstance(part, Mapping):
        return [], [Problem(where, "must be a mapping with `grid:`, `rows:` or `search:`")]
    problems = [Problem(f"{where}.{key}", unknown_key(key, _PART_KEYS)) for key in part if key not in _PART_KEYS]
    given, grid, settings = part.get("rows") or {}, part.get("grid") or {}, part.get("settings") or {}
    if not all(isinstance(section, Mapping) for section in (given, grid, settings)):
        return [], [*problems, Problem(where, "`rows`, `grid` and `settings` must be mappings")]
    is_misspelt = any(nearest(key, _HOLDERS) for key in part if key not in _PART_KEYS)
    if not given and not grid and "search" not in part and not is_misspelt:
        problems.append(Problem(where, "has neither rows nor a grid nor a search"))
    named, named_problems = _named_rows(given, f"{where}.rows")
    points, grid_problems = _grid_rows(grid, f"{where}.grid")
    shared = _settings_of(settings)  # a row's own settings win over the part's
    rows = [row._replace(settings={**shared, **row.settings}) for row in (*named, *points)]
    counts = Counter(row.label for row in rows)
    twice = [Problem(where, f"two rows are called {label!r}") for label, count in counts.items() if count > 1]
    return rows, [*problems, *named_problems, *grid_problems, *twice]


def _named_rows(given: Mapping[Any, Any], where: str) -> tuple[list[DeclaredRow], list[Problem]]:
    rows, problems = [], []
    for label, settings in given.items():
        if isinstance(settings, Mapping):
            rows.append(DeclaredRow(str(label), _settings_of(settings), f"{where}.{label}"))
        else:
            problems.append(Problem(f"{where}.{label}", f"{settings!r} must be a mapping of keys to values"))
    return rows, problems


def _settings_of(section: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings by dotted key; a known section in which nothing is written sets nothing."""
    return {key: value for key, value in flatten(section) if value != {} or key not in _SECTIONS}


def _grid_rows(grid: Mapping[Any, Any], where: str) -> tuple[list[DeclaredRow], list[Problem]]:
    wrong = [
        Problem(f"{where}.{key}", f"{values!r} must be a list of values")
        for key, values in grid.items()
        if not isinstance(values, list) or not values
    ]
    if wrong or not grid:
        return [], wrong
    size = math.prod(len(values) for values in grid.values())
    if size > MAX_TRIALS:
        return [], [Problem(where, f"{size} points, more than {MAX_TRIALS} trials; split the sweep")]
    axes = [[(str(key), value) for value in values] for key, values in grid.items()]
    return [DeclaredRow(_grid_label(point), dict(point), where, point) for point in itertools.product(*axes)], []


def _grid_label(point: Sequence[tuple[str, Any]]) -> str:
    """Return the last part of each key with its value: "steps=100, patch_sizes=2+4"."""
    return ", ".join(f"{key.rsplit('.', 1)[-1]}={short_value(value)}" for key, value in point)


def short_value(value: Any) -> str:
    """Return a value in few letters: lists as "30+10"."""
    return "+".join(map(str, value)) if isinstance(value, list) else str(value)
