"""The sweep's YAML, as far as the analysis reads it: its name, and where it was run."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from analysis.contract.regular_files import IrregularFileError, check_regular
from analysis.errors import UserError

DEFAULT_ROOT = "runs"
SWEEP_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
"""It is a part of paths."""
ROOT_VARIABLE = "DFM_STORAGE_ROOT"


@dataclass(frozen=True)
class SweepFile:
    """The part of a sweep's YAML that analysis needs; everything else is in the published plan."""

    name: str
    storage_root: str | None
    storage_options: Mapping[str, Any]


def read_sweep_file(path: Path) -> SweepFile:
    """Name and storage of a sweep.

    Raises: UserError if there is no such file or it is not a sweep.
    """
    try:
        check_regular(path)
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; give the YAML file that was submitted") from None
    except (OSError, UnicodeDecodeError, IrregularFileError) as error:
        raise UserError(f"{path}: cannot be read ({error})") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)  # the line's number, not its content: it may be any file
        raise UserError(f"{path}: not YAML" + (f" (line {mark.line + 1})" if mark else "")) from None
    except RecursionError:
        raise UserError(f"{path}: not YAML (its values are nested too deep)") from None
    if not isinstance(data, dict) or not isinstance(data.get("name"), str):
        raise UserError(f"{path}: name: a sweep file needs the key 'name', e.g. `name: quickstart`")
    if not SWEEP_NAME.fullmatch(data["name"]):
        raise UserError(f"{path}: name: {data['name'][:80]!r} must be 1 to 64 letters, digits, '.', '_' or '-'")
    root, options = _lookup(data, "storage", "root"), _lookup(data, "storage", "options")
    return SweepFile(data["name"], None if root is None else str(root), options if isinstance(options, dict) else {})


def _lookup(data: Mapping[str, Any], section: str, key: str) -> Any:
    """A key of a section, nested or dotted, as the sweep's own reader allows both."""
    nested = data.get(section)
    return data.get(f"{section}.{key}", nested.get(key) if isinstance(nested, Mapping) else None)


def storage_root(sweep: SweepFile, given: str | None, environment: Mapping[str, str]) -> str:
    """The storage root of a sweep: what was given, else the environment's, else its file's, else `runs`."""
    return given or environment.get(ROOT_VARIABLE) or sweep.storage_root or DEFAULT_ROOT
