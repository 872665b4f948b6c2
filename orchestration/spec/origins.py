"""One row of a sweep as YAML: its resolved config, and where each value comes from."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import yaml

from dfm_core.config import ExperimentConfig
from dfm_core.config.plain import as_plain
from orchestration.common.errors import Problem, UserError, nearest
from orchestration.config.datasets import DatasetAlias
from orchestration.parsing.config_types import field_types
from orchestration.parsing.dotted_keys import flatten
from orchestration.spec.compose import EXPERIMENT_SECTIONS
from orchestration.spec.load import SweepSpec
from orchestration.spec.rows import RowSpec

_DEFAULT = "default"
_OF_ALIASES = {f"data.{key}" for key in field_types(DatasetAlias)}


def row_text(spec: SweepSpec, wanted: str) -> str:
    """Return a row as YAML with a comment for each value: the file, row or command line that gave it, or "default".

    Args: wanted: label of a row, or "part / label" where several parts have it; a short label, as plans print it, will
        do.
    Raises: UserError if there is none.
    """
    rows = {f"{part.name} / {row.label}": row for part in spec.parts for row in part.rows}
    shown = {f"{part.name} / {row.short}": f"{part.name} / {row.label}" for part in spec.parts for row in part.rows}
    names = [*rows, *shown]
    found = [name for name, row in rows.items() if wanted in (row.label, row.short)]
    found += [shown.get(name, name) for name in names if wanted in (name, name.replace(" / ", "/"))]
    if not found:
        own = [name for name in shown if name.startswith(f"{wanted.partition('/')[0].rstrip()} / ")] or list(shown)
        known = "".join(f"\n    {name}" for name in own)
        raise UserError([Problem("--show", f"{wanted!r} is no row{nearest(wanted, names) or ';'} rows:{known}")])
    return "\n".join(_text(spec, name, rows[name]) for name in dict.fromkeys(found))


def _text(spec: SweepSpec, name: str, row: RowSpec) -> str:
    lines = [f"# {name}, seed {row.configs[0].seed}"]
    for section, values in shown_settings(row.configs[0]).items():
        if not isinstance(values, Mapping):
            lines.append(_line(spec, row, section, "", section, values))
            continue
        lines.append(f"{section}:")
        lines += [_line(spec, row, f"{section}.{key}", "  ", key, value) for key, value in flatten(values)]
    return "\n".join([*lines, ""])


def _line(spec: SweepSpec, row: RowSpec, dotted: str, indent: str, key: str, value: Any) -> str:
    return f"{f'{indent}{key}: {_yaml(value)}':<58} # {origin_of(spec, row, dotted)}"


def shown_settings(config: ExperimentConfig) -> dict[str, Any]:
    """Return a config as plain data: as a sweep could give it, without what is found of the files."""
    plain: dict[str, Any] = as_plain(config)
    plain["data"] = {key: value for key, value in plain["data"].items() if key != "described"}
    return {key: plain[key] for key in EXPERIMENT_SECTIONS}


def origin_of(spec: SweepSpec, row: RowSpec, dotted: str) -> str:
    """Return who gave a value of a row."""
    parts = dotted.split(".")
    prefixes = [".".join(parts[:length]) for length in range(len(parts), 0, -1)]
    if any(key in row.settings for key in prefixes):
        return f"row {row.label!r}"
    if dotted == "training.steps" and spec.budget_flops is not None:
        return "compute.budget"
    if dotted in _OF_ALIASES and (given := _alias(spec, row)) is not None:
        return f"dataset_aliases.{given} ({spec.origins.get(f'dataset_aliases.{given}.dataset', spec.path)})"
    return next((spec.origins[key] for key in prefixes if key in spec.origins), _DEFAULT)


def _alias(spec: SweepSpec, row: RowSpec) -> str | None:
    """Return the alias that a row's dataset was given by, if it was."""
    named = [row.settings.get("data.dataset"), *([spec.dataset] if spec.dataset else [])]
    given = next((str(name) for name in named if name), "")
    return given if given in spec.runtime.dataset_aliases else None


def _yaml(value: Any) -> str:
    stream = io.StringIO()
    yaml.safe_dump(value, stream, default_flow_style=True, width=10_000)
    return stream.getvalue().removesuffix("\n...\n").strip()
