"""A sweep's own file: read, its name checked, and told from the files that are laid around sweeps."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from orchestration.common.errors import UserError
from orchestration.common.project import SWEEPS_FOLDER
from orchestration.parsing.validation import shown
from orchestration.parsing.yaml_file import read_yaml
from orchestration.spec.declared_parts import MOST_OF_NAME, NAME

_NO_SWEEPS = {"base": "is a base, not a sweep", "layers": "is a layer, not a sweep"}
"""Folder of the project's sweeps -> what is in it."""


def read_sweep_file(path: Path) -> dict[str, Any]:
    """Return the settings of a sweep's own file. Raises: UserError, also for a file that is no sweep."""
    data = read_yaml(path)
    if not data:
        example = SWEEPS_FOLDER / "quickstart.yaml"
        raise UserError.of(str(path), f"the file is empty; a sweep needs at least a name, see e.g. {example}")
    folder = path.resolve().parent
    if "name" not in data and folder.parent == SWEEPS_FOLDER and folder.name in _NO_SWEEPS:
        raise UserError.of(str(path), f"{_NO_SWEEPS[folder.name]}: {_use_of(path)}")
    return data


def _use_of(path: Path) -> str:
    """Return how a file that is no sweep is used."""
    name = path.resolve().name
    if path.resolve().parent.name == "layers":
        return f"give it beside a sweep, as {'--site' if 'site' in name else '--with'} {path}"
    sweeps = sorted(SWEEPS_FOLDER.glob("*.yaml"), key=lambda file: (file.stem != "quickstart", file.name))
    users = (file for file in sweeps if read_yaml(file).get("base") == f"base/{name}")
    user = next(users, None)
    return f"name it in one, as base: {path}" if user is None else f"e.g. {user} uses it"


def name_mistake(name: Any) -> str:
    """Return why a sweep cannot have this name, and one that it can have; "" if it can."""
    if name is None:
        return "is missing: give the sweep one, e.g. name: my_sweep"
    if isinstance(name, str) and NAME.fullmatch(name):
        return ""
    allowed = re.sub(r"[^\w.-]+", "_", str(name), flags=re.ASCII).strip("_.-")[:MOST_OF_NAME]
    hint = f": write {allowed!r}" if NAME.fullmatch(allowed) else ""
    return f"{shown(name)} must be 1 to {MOST_OF_NAME} letters, digits, '.', '_' or '-'{hint}"
