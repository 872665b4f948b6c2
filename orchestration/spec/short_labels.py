"""Labels of grid points in few letters, as tables, figures and MLflow show them: "p₀ 0.7, τ 0.9".

A row keeps its label, by which commands, budgets and published numbers name it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from dfm_core.config import ExperimentConfig
from orchestration.common.errors import Problem, nearest
from orchestration.parsing.config_types import all_keys
from orchestration.spec.compose import ComposedFile
from orchestration.spec.declared_parts import DeclaredPart, DeclaredRow, short_value

SYMBOLS: Mapping[str, str] = {
    "training.first_stage_probability": "p₀",
    "training.previous_location": "μ",
    "sampling.tau": "τ",
}
"""Key -> symbol of the paper; μ is the location of the previous stages' logit-normal."""
MOST_LETTERS = 24


def read_labels(composed: ComposedFile) -> tuple[dict[str, str], list[Problem]]:
    """Return key -> short name, the sweep's `labels:` over the paper's symbols, and the mistakes in them."""
    given, known = composed.data.get("labels", {}), tuple(all_keys(ExperimentConfig))
    if not isinstance(given, Mapping):
        return dict(SYMBOLS), [Problem(composed.locate("labels"), "must be a mapping of keys to short names")]
    flat = dict(_flat(given))
    problems = []
    for key, name in flat.items():
        where = composed.locate(f"labels.{key}")
        if key not in known:
            problems.append(Problem(where, f"{key} is no key of a row{nearest(key, known)}"))
        elif not isinstance(name, str) or not name.strip() or len(name) > MOST_LETTERS or not name.isprintable():
            problems.append(Problem(where, f"{name!r} must be a text of 1 to {MOST_LETTERS} letters"))
    names = {key: name for key, name in flat.items() if isinstance(name, str)}
    return {**SYMBOLS, **names}, problems


def _flat(given: Mapping[Any, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield dotted keys with their names; keys can be given dotted or nested."""
    for key, value in given.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def setting_text(key: str, value: Any, names: Mapping[str, str]) -> str:
    """Return a setting in few letters: "p₀ 0.7", or "steps=30+10" without a short name."""
    if key in names:
        return f"{names[key]} {short_value(value)}"
    return f"{key.rsplit('.', 1)[-1]}={short_value(value)}"


def with_short_labels(part: DeclaredPart, names: Mapping[str, str]) -> DeclaredPart:
    """Return the part with short labels of its grid's points, unless two rows would be called the same."""
    rows = tuple(row._replace(short=_short_label(row, names)) for row in part.rows)
    counts = Counter(row.short or row.label for row in rows)
    return replace(part, rows=rows) if max(counts.values(), default=1) == 1 else part


def _short_label(row: DeclaredRow, names: Mapping[str, str]) -> str:
    """Return a grid point's short label; "" for rows that somebody named, or whose keys have no short name."""
    if not any(key in names for key, _ in row.point):
        return ""
    return ", ".join(setting_text(key, value, names) for key, value in row.point)
