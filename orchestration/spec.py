"""A sweep file into a `SweepSpec`: composed, validated, every mistake reported at once. Pure but for reading files."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from dfm_core.config import ExperimentConfig
from dfm_core.config_rules import broken_rules
from dfm_core.data.catalog import DATASETS
from orchestration.composition import Source, read_yaml, set_dotted
from orchestration.problems import Problem, UserError, nearest
from orchestration.runtime import RuntimeConfig
from orchestration.validation import all_keys, field_types, validate

MAX_TRIALS = 10_000
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_SWEEP_KEYS = ("name", "title", "base", "seeds", "parts")
_PART_KEYS = ("title", "grid", "rows")
_EXPERIMENT_SECTIONS = tuple(key for key in field_types(ExperimentConfig) if key != "seed")
_RUNTIME_SECTIONS = tuple(field_types(RuntimeConfig))
_FILE_ONLY = {"base": "it is composed before the overrides", "seed": "give `seeds=[0, 1, ...]`"}
_KNOWN_TOP = (*_SWEEP_KEYS, *_EXPERIMENT_SECTIONS, *_RUNTIME_SECTIONS)


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


@dataclass(frozen=True)
class SweepSpec:
    """A sweep, fully resolved and valid."""

    name: str
    title: str
    path: str
    seeds: tuple[int, ...]
    parts: tuple[PartSpec, ...]
    runtime: RuntimeConfig

    @property
    def configs(self) -> Iterator[ExperimentConfig]:
        """Of all rows and seeds, in the sweep's order."""
        return (config for part in self.parts for row in part.rows for config in row.configs)


def load_sweep(path: Path, overrides: Sequence[str] = ()) -> SweepSpec:
    """Reads, composes and validates a sweep.

    Args: path: the YAML file. overrides: `key=value` strings that win over the file.
    Raises: UserError with every mistake in the file and the overrides.
    """
    own = read_yaml(path)
    source = Source()
    problems: list[Problem] = []
    base_problems = _merge_base(source, own.get("base"), path)
    problems.extend(base_problems)
    source.merge(own, str(path))
    for override in overrides:
        problems.extend(_apply_override(source, override))
    problems.extend(_top_level_problems(source, path))
    runtime = validate(RuntimeConfig, _sections(source.data, _RUNTIME_SECTIONS), source.locate)
    common = _sections(source.data, _EXPERIMENT_SECTIONS)
    checked = validate(ExperimentConfig, common, source.locate)
    problems.extend([*runtime.problems, *checked.problems])
    seeds, seed_problems = _seeds(source)
    problems.extend(seed_problems)
    # On half a config the rules that span fields would accuse the innocent; the rows' own values are checked anyway.
    sound = not checked.problems and not base_problems
    parts, part_problems = _parts(source, common if sound else {}, seeds, whole=sound)
    problems.extend(part_problems)
    if runtime.config is not None:
        problems.extend(_layout_problems(parts, runtime.config, source))
    if problems:
        raise UserError(problems)
    name = str(source.data["name"])
    return SweepSpec(name, str(source.data.get("title", name)), str(path), seeds, tuple(parts), runtime.config)


def _merge_base(source: Source, base: Any, path: Path) -> tuple[Problem, ...]:
    """The file that a sweep builds on, if it names one; its path is relative to the sweep's."""
    if base is None:
        return ()
    if not isinstance(base, str):
        return (Problem(f"{path}: base", f"{base!r} must be the name of a YAML file"),)
    try:
        data = read_yaml(path.parent / base)
    except UserError as error:
        return error.problems
    source.merge(data, str(path.parent / base))
    allowed = (*_EXPERIMENT_SECTIONS, *_RUNTIME_SECTIONS)
    return tuple(
        Problem(f"{path.parent / base}: {key}", f"a base file holds only {', '.join(allowed)}{nearest(key, allowed)}")
        for key in data
        if key not in allowed
    )


def _dataset_problems(name: Any, where: str) -> list[Problem]:
    if name in DATASETS:
        return []
    known = ", ".join(DATASETS)
    hint = nearest(name, list(DATASETS))
    return [Problem(where, f"{name!r} is not a dataset{hint}; known: {known}")]


def _apply_override(source: Source, override: str) -> list[Problem]:
    key, sign, text = override.partition("=")
    if not sign or not key:
        return [Problem("command line", f"{override!r} is not key=value")]
    if key in _FILE_ONLY:
        return [Problem("command line", f"{key!r} cannot be overridden: {_FILE_ONLY[key]}")]
    if key.split(".")[0] not in _KNOWN_TOP:
        known = [*all_keys(ExperimentConfig), *all_keys(RuntimeConfig), *_SWEEP_KEYS]
        return [Problem("command line", f"unknown key {key!r}{nearest(key, known)}")]
    try:
        value = OmegaConf.to_container(OmegaConf.create(f"value: {text}"), resolve=False)
    except (OmegaConfBaseException, YAMLError, RecursionError, ValueError) as error:
        return [Problem("command line", f"{override!r}: not valid YAML: {' '.join(str(error).split())}")]
    assert isinstance(value, dict)
    if "${" in text:
        return [Problem("command line", f"{override!r}: interpolation is not supported")]
    if key.split(".")[0] == "parts":  # a part is replaced, not merged
        set_dotted(source.data, key, value["value"])
        source.origin["parts"] = f"command line: {key}"
        return []
    nested: dict[str, Any] = {}
    set_dotted(nested, key, value["value"])
    source.merge(nested, "command line")
    return []


def _sections(data: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    return {name: data[name] for name in names if name in data}


def _top_level_problems(source: Source, path: Path) -> Iterator[Problem]:
    for key in source.data:
        if key not in _KNOWN_TOP:
            hint = "; give `seeds: [0, 1, ...]`" if key == "seed" else nearest(key, _KNOWN_TOP)
            yield Problem(source.locate(key), f"unknown key{hint}; known here: {', '.join(_KNOWN_TOP)}")
    name = source.data.get("name")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        yield Problem(f"{path}: name", f"{name!r} must be 1 to 64 letters, digits, '.', '_' or '-'")
    if not isinstance(source.data.get("title", ""), str):
        yield Problem(source.locate("title"), "must be text")


def _seeds(source: Source) -> tuple[tuple[int, ...], list[Problem]]:
    seeds = source.data.get("seeds", [0])
    if (
        not isinstance(seeds, list)
        or not seeds
        or not all(isinstance(seed, int) and not isinstance(seed, bool) and 0 <= seed < 2**63 for seed in seeds)
        or len(set(seeds)) != len(seeds)
    ):
        return (0,), [
            Problem(source.locate("seeds"), f"{seeds!r} must be a list of different integers from 0 to 2**63 - 1")
        ]
    return tuple(seeds), []


def _parts(
    source: Source, common: Mapping[str, Any], seeds: Sequence[int], *, whole: bool
) -> tuple[list[PartSpec], list[Problem]]:
    """The parts, or what is wrong with them; without a `whole` common config only what the rows themselves say."""
    declared = source.data.get("parts", {"main": {"rows": {"default": {}}}})
    where = source.locate("parts")
    if not isinstance(declared, Mapping) or not declared:
        return [], [Problem(where, "must be a mapping of part names to {grid: ..., rows: ...}")]
    parts: list[PartSpec] = []
    problems: list[Problem] = []
    num_trials = 0
    for name, part in declared.items():
        here = f"{where}.{name}"
        if not _NAME.fullmatch(str(name)):
            problems.append(Problem(here, "a part's name must be 1 to 64 letters, digits, '.', '_' or '-'"))
        rows, found = _declared_rows(part, here)
        num_trials += len(rows) * len(seeds)
        if num_trials > MAX_TRIALS:
            return [], [*problems, Problem(here, f"more than {MAX_TRIALS} trials; split the sweep")]
        problems.extend(found)
        resolved = []
        for label, settings, row_where in rows:
            row, found = _resolve_row(source, common, label, settings, row_where, seeds, whole=whole)
            problems.extend(found)
            resolved.append(row)
        title = part.get("title", name) if isinstance(part, Mapping) else name
        parts.append(PartSpec(str(name), str(title), tuple(row for row in resolved if row)))
    return parts, problems


_Declared = tuple[str, dict[str, Any], str]
"""Label, settings and place of a row."""


def _declared_rows(part: Any, where: str) -> tuple[list[_Declared], list[Problem]]:
    """All rows of a part: first its `rows`, then the points of its `grid`."""
    if not isinstance(part, Mapping):
        return [], [Problem(where, "must be a mapping with `grid:` or `rows:`")]
    problems = [
        Problem(f"{where}.{key}", f"unknown key{nearest(key, _PART_KEYS)}; known here: {', '.join(_PART_KEYS)}")
        for key in part
        if key not in _PART_KEYS
    ]
    declared, grid = part.get("rows") or {}, part.get("grid") or {}
    if not isinstance(declared, Mapping) or not isinstance(grid, Mapping):
        return [], [*problems, Problem(where, "`rows` and `grid` must be mappings")]
    if not declared and not grid:
        problems.append(Problem(where, "has neither rows nor a grid"))
    named, named_problems = _named_rows(declared, f"{where}.rows")
    points, grid_problems = _grid_rows(grid, f"{where}.grid")
    rows = [*named, *points]
    labels = [label for label, _, _ in rows]
    twice = [
        Problem(where, f"two rows are called {label!r}") for label in dict.fromkeys(labels) if labels.count(label) > 1
    ]
    return rows, [*problems, *named_problems, *grid_problems, *twice]


def _named_rows(declared: Mapping[Any, Any], where: str) -> tuple[list[_Declared], list[Problem]]:
    rows, problems = [], []
    for label, settings in declared.items():
        if isinstance(settings, Mapping):
            rows.append((str(label), dict(_flatten(settings)), f"{where}.{label}"))
        else:
            problems.append(Problem(f"{where}.{label}", f"{settings!r} must be a mapping of keys to values"))
    return rows, problems


def _grid_rows(grid: Mapping[Any, Any], where: str) -> tuple[list[_Declared], list[Problem]]:
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


def _flatten(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _short(value: Any) -> str:
    return "+".join(map(str, value)) if isinstance(value, list) else str(value)


def _resolve_row(
    source: Source,
    common: Mapping[str, Any],
    label: str,
    settings: Mapping[str, Any],
    where: str,
    seeds: Sequence[int],
    *,
    whole: bool,
) -> tuple[RowSpec | None, list[Problem]]:
    """A row's configs, one per seed, or what is wrong with it."""
    data: dict[str, Any] = dict(common)
    for dotted, value in settings.items():
        set_dotted(data, dotted, value)

    def locate(dotted: str) -> str:
        own = any(dotted == k or dotted.startswith(f"{k}.") or k.startswith(f"{dotted}.") for k in settings)
        return f"{where}.{dotted}" if own else source.locate(dotted)

    if "seed" in data:
        return None, [Problem(f"{where}.seed", "seeds are given once for the sweep, as `seeds: [0, 1, ...]`")]
    checked = validate(ExperimentConfig, data, locate)
    if checked.config is None:
        return None, list(checked.problems)
    if not whole:
        return None, []
    broken = [Problem(f"{locate(key)} (row {label!r})", message) for key, message in broken_rules(checked.config)]
    broken.extend(_dataset_problems(checked.config.data.dataset, locate("data.dataset")))
    configs = tuple(validate(ExperimentConfig, {**data, "seed": seed}, locate).config for seed in seeds)
    return (None if broken else RowSpec(label, dict(settings), configs)), broken


def _layout_problems(parts: Sequence[PartSpec], runtime: RuntimeConfig, source: Source) -> Iterator[Problem]:
    """The batch must divide evenly over workers and micro-batches."""
    workers = runtime.workers
    if workers.compile and workers.zero_stage == 3:
        message = "true needs workers.zero_stage 1 or 2: stage 3 gathers weights between what would be compiled"
        yield Problem(source.locate("workers.compile"), message)
    for batch in sorted({c.training.batch_size for part in parts for row in part.rows for c in row.configs}):
        if batch % workers.num_workers:
            yield Problem(
                source.locate("training.batch_size"),
                f"{batch} is not divisible by workers.num_workers = {workers.num_workers}",
            )
        elif workers.micro_batch_size and (batch // workers.num_workers) % workers.micro_batch_size:
            yield Problem(
                source.locate("workers.micro_batch_size"),
                f"{workers.micro_batch_size} does not divide {batch // workers.num_workers}, "
                "a worker's share of the batch",
            )
