"""The rows of a sweep: from `rows:`, `grid:` or what a `search:` proposes, each resolved into one config a seed."""

from __future__ import annotations

import itertools
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from dfm_core.catalog.datasets import DATASETS
from dfm_core.config import ExperimentConfig
from dfm_core.config.dataset_card import find_card
from dfm_core.config.rules import broken_rules
from orchestration.common.dotted_keys import flatten, set_dotted
from orchestration.common.errors import Problem, nearest
from orchestration.common.validation import validate
from orchestration.data.describe import DatasetInspector
from orchestration.spec.compose import ComposedFile
from orchestration.spec.compute_budget import Budget
from orchestration.spec.published_table import PublishedPart
from orchestration.spec.search_section import SearchSpec, read_search

MAX_TRIALS = 10_000
FOUND_NOT_GIVEN = "is found when a sweep is read, never given"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_PART_KEYS = ("title", "published", "settings", "grid", "rows", "search")

DeclaredRow = tuple[str, dict[str, Any], str]
"""Label, settings and place of a row."""


@dataclass(frozen=True)
class RowSpec:
    """One row of a table: its settings, resolved once per seed."""

    label: str
    settings: Mapping[str, Any]
    """The deviations from the sweep's common config, by dotted key."""
    configs: tuple[ExperimentConfig, ...]
    """One per seed."""


@dataclass(frozen=True)
class PartSpec:
    """One part of a table."""

    name: str
    title: str
    rows: tuple[RowSpec, ...]
    published: PublishedPart | None = None
    """Which published values its rows stand beside; None: of the part's own name."""


@dataclass(frozen=True)
class DeclaredPart:
    """A part as the file says it."""

    name: str
    title: str
    published: PublishedPart | None
    where: str
    rows: tuple[DeclaredRow, ...]
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Of all its rows, by dotted key; a row's own win."""
    search: SearchSpec | None = None


@dataclass(frozen=True)
class SweepContext:
    """What all rows share."""

    source: ComposedFile
    data: Mapping[str, Any]
    """The experiment's sections."""
    whole: bool
    """Nothing in `data` is wrong, so that rules which span fields can be trusted."""
    seeds: tuple[int, ...]
    describer: DatasetInspector = field(default_factory=lambda: DatasetInspector(None))
    """Finds what has to be known of the user's data."""


def declared_parts(source: ComposedFile, num_seeds: int) -> tuple[list[DeclaredPart], list[Problem]]:
    """The parts of a file, without looking into their rows' settings."""
    declared = source.data.get("parts", {"main": {"rows": {"default": {}}}})
    where = source.locate("parts")
    if not isinstance(declared, Mapping) or not declared:
        return [], [Problem(where, "must be a mapping of part names to {grid: ..., rows: ...}")]
    parts: list[DeclaredPart] = []
    problems: list[Problem] = []
    num_trials = 0
    for name, part in declared.items():
        here = f"{where}.{name}"
        if not NAME.fullmatch(str(name)):
            problems.append(Problem(here, "a part's name must be 1 to 64 letters, digits, '.', '_' or '-'"))
        rows, found = _rows_of(part, here)
        num_trials += len(rows) * num_seeds
        if num_trials > MAX_TRIALS:
            return [], [*problems, Problem(here, f"more than {MAX_TRIALS} trials; split the sweep")]
        published, published_problems = _published(part, here)
        problems.extend([*found, *published_problems])
        whole = part if isinstance(part, Mapping) else {}
        search, search_problems = read_search(whole["search"], f"{here}.search") if "search" in whole else (None, [])
        problems.extend(search_problems)
        settings = dict(flatten(whole.get("settings") or {})) if isinstance(whole.get("settings"), Mapping) else {}
        title = str(whole.get("title", name))
        parts.append(DeclaredPart(str(name), title, published, here, tuple(rows), settings, search))
    return parts, problems


def _published(part: Any, where: str) -> tuple[PublishedPart | None, Sequence[Problem]]:
    given = part.get("published") if isinstance(part, Mapping) else None
    if given is None:
        return None, ()
    if not isinstance(given, Mapping):
        return None, [Problem(f"{where}.published", f"{given!r} must be a mapping with `part:` and `guidance:`")]
    checked = validate(PublishedPart, given, lambda key: f"{where}.published.{key}")
    return checked.config, checked.problems


def _rows_of(part: Any, where: str) -> tuple[list[DeclaredRow], list[Problem]]:
    """All rows of a part: first its `rows`, then the points of its `grid`."""
    if not isinstance(part, Mapping):
        return [], [Problem(where, "must be a mapping with `grid:`, `rows:` or `search:`")]
    problems = [
        Problem(f"{where}.{key}", f"unknown key{nearest(key, _PART_KEYS)}; known here: {', '.join(_PART_KEYS)}")
        for key in part
        if key not in _PART_KEYS
    ]
    declared, grid, settings = part.get("rows") or {}, part.get("grid") or {}, part.get("settings") or {}
    if not all(isinstance(section, Mapping) for section in (declared, grid, settings)):
        return [], [*problems, Problem(where, "`rows`, `grid` and `settings` must be mappings")]
    if not declared and not grid and "search" not in part:
        problems.append(Problem(where, "has neither rows nor a grid nor a search"))
    named, named_problems = _named_rows(declared, f"{where}.rows")
    points, grid_problems = _grid_rows(grid, f"{where}.grid")
    shared = dict(flatten(settings))  # of the part; a row's own win
    rows = [(label, {**shared, **own}, place) for label, own, place in (*named, *points)]
    called = Counter(label for label, _, _ in rows)
    twice = [Problem(where, f"two rows are called {label!r}") for label, count in called.items() if count > 1]
    return rows, [*problems, *named_problems, *grid_problems, *twice]


def _named_rows(declared: Mapping[Any, Any], where: str) -> tuple[list[DeclaredRow], list[Problem]]:
    rows, problems = [], []
    for label, settings in declared.items():
        if isinstance(settings, Mapping):
            rows.append((str(label), dict(flatten(settings)), f"{where}.{label}"))
        else:
            problems.append(Problem(f"{where}.{label}", f"{settings!r} must be a mapping of keys to values"))
    return rows, problems


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
    rows = []
    for point in itertools.product(*axes):
        label = ", ".join(f"{key.rsplit('.', 1)[-1]}={_short(value)}" for key, value in point)
        rows.append((label, dict(point), where))
    return rows, []


def _short(value: Any) -> str:
    return "+".join(map(str, value)) if isinstance(value, list) else str(value)


def row_config(common: SweepContext, row: DeclaredRow) -> tuple[ExperimentConfig | None, list[Problem]]:
    """A row's config without seed and budget, or what is wrong with its values."""
    _, settings, where = row
    data: dict[str, Any] = dict(common.data)
    for dotted, value in settings.items():
        set_dotted(data, dotted, value)
    if "seed" in data:
        return None, [Problem(f"{where}.seed", "seeds are given once for the sweep, as `seeds: [0, 1, ...]`")]
    section = data.get("data")
    if isinstance(section, Mapping) and "described" in section:
        return None, [Problem(_place(common, row, "data.described"), FOUND_NOT_GIVEN)]
    checked = validate(ExperimentConfig, data, lambda key: _place(common, row, key))
    if checked.config is None:
        return None, list(checked.problems)
    described, problems = common.describer.described(checked.config.data)
    if problems:
        return None, [Problem(_place(common, row, key), message) for key, message in problems]
    return replace(checked.config, data=described), []


def resolve_part(common: SweepContext, part: DeclaredPart, budget: Budget | None) -> tuple[PartSpec, list[Problem]]:
    """The part's rows that are sound, and what is wrong with the others."""
    problems, rows = [], []
    for declared in part.rows:
        row, found = resolve_row(common, declared, budget)
        problems.extend(found)
        rows.extend([row] if row else [])
    return PartSpec(part.name, part.title, tuple(rows), part.published), problems


def resolve_row(common: SweepContext, row: DeclaredRow, budget: Budget | None) -> tuple[RowSpec | None, list[Problem]]:
    """A row's configs, one per seed, or what is wrong with it."""
    config, problems = row_config(common, row)
    if config is None or not common.whole:
        return None, problems
    label, settings, _ = row
    if find_card(config.data) is None:
        return None, [_unknown_dataset(config.data.dataset, _place(common, row, "data.dataset"))]
    # The steps that a budget gives are held to the rules, not those that it replaces.
    broken = [rule for rule in broken_rules(config) if budget is None or rule[0] != "evaluation.at_steps"]
    if budget is not None and not broken:
        broken = budget.problems(label, settings)
        config = budget.applied(config)
        broken.extend([*budget.step_problems(config), *broken_rules(config)])
    elif config.experts.compute_shares and not config.experts.steps and not common.source.locates("compute.budget"):
        broken.append(("experts.compute_shares", "are shares of the sweep's compute.budget, which is not given"))
    if config.paradigm == "cascaded" and 0.0 in config.training.stage_probabilities:
        message = "one network of a cascade cannot be sampled without the other's snapshot: leave them out"
        broken.append(("training.stage_probabilities", f"{message}, and give experts.steps"))
    found = [Problem(_place(common, row, key), message, f"row {label!r}") for key, message in broken]
    if found:
        return None, found
    return RowSpec(label, dict(settings), tuple(replace(config, seed=seed) for seed in common.seeds)), []


def _place(common: SweepContext, row: DeclaredRow, key: str) -> str:
    """Where a key of a row's config was written."""
    _, settings, where = row
    own = any(key == k or key.startswith(f"{k}.") or k.startswith(f"{key}.") for k in settings)
    return f"{where}.{key}" if own else common.source.locate(key)


def _unknown_dataset(name: Any, where: str) -> Problem:
    known = ", ".join(DATASETS)
    hint = nearest(name, list(DATASETS))
    return Problem(where, f"{name!r} is not a dataset{hint}; known: {known}; yours go under datasets:")
