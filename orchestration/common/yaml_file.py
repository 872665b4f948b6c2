"""YAML read safely: no tags, no duplicate keys, no interpolation, bounded size (see `check_yaml`)."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from orchestration.common.errors import Problem, UserError, nearest
from orchestration.common.yaml_limits import MAX_YAML_BYTES, check_yaml
from orchestration.common.yaml_readings import misread_values

INVALID_YAML = (OmegaConfBaseException, YAMLError, OSError, RecursionError, ValueError)
"""Exceptions that `parse_yaml` raises for text that is not valid YAML."""


def parse_yaml(text: str) -> Any:
    """Return plain data. Raises: one of `INVALID_YAML`."""
    check_yaml(text)
    return OmegaConf.to_container(OmegaConf.load(io.StringIO(text)), resolve=False)


def invalid_yaml(error: Exception) -> str:
    return f"not valid YAML: {' '.join(str(error).split())}"


def read_yaml(path: Path) -> dict[str, Any]:
    """Return the mapping that a file holds.

    Raises: UserError if there is no such file or it is not a mapping of plain data.
    """
    try:
        is_file, is_folder = path.is_file(), path.is_dir()
    except OSError as error:
        raise UserError.of(f"{str(path)[:80]}...", f"cannot be read ({error.strerror})") from None
    if is_folder:
        raise UserError.of(str(path), "is a directory; give one YAML file, e.g. sweeps/quickstart.yaml")
    if path.exists() and not is_file:
        raise UserError.of(str(path), "is no regular file; a sweep file is read again by whoever submits it again")
    if not is_file:
        folder = path.parent if path.parent.is_dir() else Path()
        hint = nearest(path.name, [p.name for p in folder.glob("*.yaml")])
        raise UserError.of(str(path), f"no such file{hint}")
    if path.stat().st_size > MAX_YAML_BYTES:
        raise UserError.of(str(path), f"{path.stat().st_size} bytes; a sweep file has at most {MAX_YAML_BYTES}")
    try:
        text = path.read_text(encoding="utf-8")
        data = parse_yaml(text)
    except INVALID_YAML as error:
        raise UserError.of(str(path), invalid_yaml(error)) from None
    if not isinstance(data, dict) or not all(isinstance(key, str) for key in data):
        raise UserError.of(str(path), "must be a mapping of names to values")
    if misread := [Problem(f"{path}: line {line}", message) for line, message in misread_values(text)]:
        raise UserError(misread)
    keys = list(_interpolations(data))
    if keys:
        raise UserError([Problem(f"{path}: {key}", "interpolation (${...}) is not supported") for key in keys])
    return {str(key): value for key, value in data.items()}


def _interpolations(value: Any, key: str = "") -> Iterator[str]:
    """Yield the dotted key of each text with an interpolation."""
    if isinstance(value, str) and "${" in value:
        yield key
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, child in items:
        yield from _interpolations(child, f"{key}.{name}" if key else str(name))
