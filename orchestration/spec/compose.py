"""A sweep's files read and laid over each other, with where each key was written."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from orchestration.common.dotted_keys import set_dotted
from orchestration.common.errors import Problem, UserError, nearest
from orchestration.common.yaml_limits import MAX_YAML_BYTES, check_yaml


@dataclass
class ComposedFile:
    """The composed file and where each key was written."""

    data: dict[str, Any] = field(default_factory=dict)
    origin: dict[str, str] = field(default_factory=dict)

    def merge(self, data: Mapping[str, Any], where: str, prefix: str = "") -> None:
        for key, value in data.items():
            dotted = f"{prefix}{key}"
            if isinstance(value, Mapping) and dotted.split(".")[0] != "parts":
                self.merge(value, where, f"{dotted}.")
            else:
                set_dotted(self.data, dotted, value)
                self.origin[dotted] = f"{where}: {dotted}"

    def locates(self, dotted: str) -> bool:
        """Whether this very key was written."""
        return dotted in self.origin

    def locate(self, dotted: str) -> str:
        """Where the longest prefix of a key was written, with the whole key."""
        parts = dotted.split(".")
        for length in range(len(parts), 0, -1):
            found = self.origin.get(".".join(parts[:length]))
            if found:
                return f"{found.split(': ')[0]}: {dotted}"
        return f"{next(reversed(self.origin.values()), '').split(': ')[0]}: {dotted}"


def read_yaml(path: Path) -> dict[str, Any]:
    """A YAML mapping, read safely: no tags, no duplicate keys, no interpolation, and bounded, see `check_yaml`.

    Raises: UserError if there is no such file or it is not a mapping of plain data.
    """
    try:
        is_file, is_folder = path.is_file(), path.is_dir()
    except OSError as error:
        raise UserError.of(f"{str(path)[:80]}...", f"cannot be read ({error.strerror})") from None
    if is_folder:
        raise UserError.of(str(path), "is a directory; give one YAML file, e.g. sweeps/quickstart.yaml")
    if not is_file:
        folder = path.parent if path.parent.is_dir() else Path()
        hint = nearest(path.name, [p.name for p in folder.glob("*.yaml")])
        raise UserError.of(str(path), f"no such file{hint}")
    if path.stat().st_size > MAX_YAML_BYTES:
        raise UserError.of(str(path), f"{path.stat().st_size} bytes; a sweep file has at most {MAX_YAML_BYTES}")
    try:
        text = path.read_text(encoding="utf-8")
        check_yaml(text)
        data = OmegaConf.to_container(OmegaConf.load(io.StringIO(text)), resolve=False)
    except (OmegaConfBaseException, YAMLError, OSError, RecursionError, ValueError) as error:
        raise UserError.of(str(path), f"not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(data, dict) or not all(isinstance(key, str) for key in data):
        raise UserError.of(str(path), "must be a mapping of names to values")
    found = [Problem(f"{path}: {key}", "interpolation (${...}) is not supported") for key in _interpolations(data)]
    if found:
        raise UserError(found)
    return {str(key): value for key, value in data.items()}


def _interpolations(value: Any, key: str = "") -> Iterator[str]:
    if isinstance(value, str) and "${" in value:
        yield key
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, child in items:
        yield from _interpolations(child, f"{key}.{name}" if key else str(name))
