"""YAML read safely: no tags, no duplicate keys, no interpolation, bounded size (see `check_yaml`)."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import MarkedYAMLError, YAMLError

from orchestration.common.errors import Problem, UserError
from orchestration.common.project import SWEEPS_FOLDER
from orchestration.parsing.yaml_limits import MAX_YAML_BYTES, check_yaml
from orchestration.parsing.yaml_readings import misread_values

INVALID_YAML = (OmegaConfBaseException, YAMLError, OSError, RecursionError, ValueError)
"""Exceptions that `parse_yaml` raises for text that is not valid YAML."""


_CONTENT = re.compile(r"(?<=duplicate key) .*|['\"].*['\"]")


def parse_yaml(text: str) -> Any:
    """Return plain data. Raises: one of `INVALID_YAML`."""
    check_yaml(text)  # whose limits are ours
    return OmegaConf.to_container(OmegaConf.load(io.StringIO(text), max_yaml_expanded_nodes=None), resolve=False)


def invalid_yaml(error: Exception, text: str = "") -> str:
    """Return the reason with its line, and nothing of the content: it may be any file that a `base:` names.

    Args: text: that was read.
    """
    if isinstance(error, MarkedYAMLError) and error.problem_mark is not None:
        problem, line = _CONTENT.sub("", error.problem or ""), error.problem_mark.line
        hint = _yaml_hint(problem, text.splitlines(), line, error.problem_mark.column)
        return f"not valid YAML: {problem} (line {line + 1}){hint}"
    if isinstance(error, OmegaConfBaseException):
        return f"not valid YAML: {error.full_key or 'it'} is no plain value ({type(error).__name__})"
    return f"not valid YAML: {' '.join(str(error).split())}"


def _yaml_hint(problem: str, lines: Sequence[str], line: int, column: int) -> str:
    """Return what a reader's words mean, for the slips that are common; "" for others."""
    if not line < len(lines):
        return ""
    if "cannot start any token" in problem:
        is_tab = "\t" in lines[line][: column + 1]
        return ": a tab; indent with spaces" if is_tab else ": put a value that begins with @, % or ` in quotes"
    if "mapping values are not allowed" in problem:
        before = next((number for number in range(line - 1, -1, -1) if lines[number].strip()), None)
        look = "" if before is None else f"; look at line {before + 1} too"
        return f"{look}: 'key: value' needs a colon and a space"
    if "duplicate key" in problem:
        key = re.match(r"\s*[^:]*:", lines[line])
        same = [number for number in range(line) if key is not None and lines[number].startswith(key[0])]
        return f": line {same[-1] + 1} has it already" if same else ""
    return ""


def read_yaml(path: Path) -> dict[str, Any]:
    """Return the mapping that a file holds.

    Raises: UserError if there is no such file or it is not a mapping of plain data.
    """
    try:
        is_file, is_folder = path.is_file(), path.is_dir()
    except OSError as error:
        raise UserError.of(f"{str(path)[:80]}...", f"cannot be read ({error.strerror})") from None
    if is_folder:
        example = next(iter(sorted(path.glob("*.yaml"))), SWEEPS_FOLDER / "quickstart.yaml").absolute()
        raise UserError.of(str(path), f"is a directory; give one YAML file, e.g. {example}")
    if path.exists() and not is_file:
        raise UserError.of(str(path), "is no regular file; a sweep file is read again by whoever submits it again")
    if not is_file:
        raise UserError.of(str(path), f"no such file{_meant(path)}")
    if path.stat().st_size > MAX_YAML_BYTES:
        raise UserError.of(str(path), f"{path.stat().st_size} bytes; a sweep file has at most {MAX_YAML_BYTES}")
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise UserError.of(str(path), f"cannot be read ({error.strerror})") from None
    except ValueError as error:
        raise UserError.of(str(path), invalid_yaml(error)) from None
    return parsed_mapping(text, str(path))


def _meant(path: Path) -> str:
    """Return "; did you mean ...?" with a sweep of a like name, or "". It is a whole path, which can be typed."""
    known = {file.stem: file.absolute() for place in (SWEEPS_FOLDER, path.parent) for file in place.glob("*.yaml")}
    longer = [name for name in known if name.startswith(path.stem)]
    close = [*longer, *get_close_matches(path.stem, list(known), n=1)]
    return f"; did you mean {str(known[close[0]])!r}?" if close else ""


def parsed_mapping(text: str, where: str) -> dict[str, Any]:
    """Return the mapping that a text holds. Raises: UserError naming `where` if it is not one of plain data."""
    try:
        data = parse_yaml(text)
    except INVALID_YAML as error:
        raise UserError.of(where, invalid_yaml(error, text)) from None
    if not isinstance(data, dict) or not all(isinstance(key, str) for key in data):
        raise UserError.of(where, "must be a mapping of names to values")
    if misread := [Problem(f"{where}: line {line}", message) for line, message in misread_values(text)]:
        raise UserError(misread)
    keys = list(_interpolations(data))
    if keys:
        raise UserError([Problem(f"{where}: {key}", "interpolation (${...}) is not supported") for key in keys])
    return {str(key): value for key, value in data.items()}


def _interpolations(value: Any, key: str = "") -> Iterator[str]:
    """Yield the dotted key of each text with an interpolation."""
    if isinstance(value, str) and "${" in value:
        yield key
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, child in items:
        yield from _interpolations(child, f"{key}.{name}" if key else str(name))
