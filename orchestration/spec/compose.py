"""A sweep's layers (base file, own file, command line) merged into one mapping that remembers each key's origin."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dfm_core.config import ExperimentConfig
from orchestration.common.errors import Problem, UserError, nearest
from orchestration.config.runtime import RuntimeConfig
from orchestration.parsing.config_types import all_keys, field_types
from orchestration.parsing.dotted_keys import get_dotted, set_dotted
from orchestration.parsing.validation import shown
from orchestration.parsing.yaml_file import INVALID_YAML, invalid_yaml, parse_yaml, read_yaml
from orchestration.parsing.yaml_readings import misread_values

COMMAND_LINE = "command line"
SWEEP_KEYS = ("name", "title", "base", "seeds", "primary", "compute", "published", "labels", "parts")
EXPERIMENT_SECTIONS = tuple(key for key in field_types(ExperimentConfig) if key != "seed")
RUNTIME_SECTIONS = tuple(field_types(RuntimeConfig))
TOP_LEVEL_KEYS = (*SWEEP_KEYS, *EXPERIMENT_SECTIONS, *RUNTIME_SECTIONS)
_NOT_INHERITED = ("name", "title", "base")
_FILE_ONLY = {"base": "it is composed before the overrides", "seed": "give `seeds=[0, 1, ...]`"}


@dataclass
class ComposedFile:
    """The merged settings of a sweep, and the place where each key was written."""

    path: str
    """The sweep's own file, where a key belongs that was written nowhere."""
    data: dict[str, Any] = field(default_factory=dict)
    origin: dict[str, str] = field(default_factory=dict)
    """Dotted key -> the file, or the command line, that gave it last."""
    overlay: str = ""
    """The file of overrides that win over rows, if one is given."""

    def merge(self, data: Mapping[str, Any], where: str, prefix: str = "") -> None:
        """Lay settings over those of earlier layers; `parts` is replaced as a whole."""
        for key, value in data.items():
            dotted = f"{prefix}{key}"
            is_section = isinstance(value, Mapping) and dotted.split(".")[0] != "parts"
            if is_section and value:
                self.merge(value, where, f"{dotted}.")
            elif not is_section or not isinstance(get_dotted(self.data, dotted), Mapping):
                set_dotted(self.data, dotted, value)
                self.origin[dotted] = where

    def override(self, dotted: str, value: Any) -> None:
        """Set one key from the command line."""
        if dotted.split(".")[0] == "parts":  # a part is replaced, not merged
            set_dotted(self.data, dotted, value)
            self.origin["parts"] = COMMAND_LINE
            return
        nested: dict[str, Any] = {}
        set_dotted(nested, dotted, value)
        self.merge(nested, COMMAND_LINE)

    def section(self, name: str) -> Mapping[str, Any]:
        """Return a section, empty if it is left out; a value that is no mapping is refused by the rule of its key."""
        given = self.data.get(name)
        return given if isinstance(given, Mapping) else {}

    def sections(self, names: Sequence[str]) -> dict[str, Any]:
        """Return the sections that were given, as they were written."""
        return {name: self.data[name] for name in names if name in self.data}

    def layer_of(self, dotted: str) -> int:
        """Return the layer of a key: 0 nowhere, in a base or the site's file, 1 in the sweep's own, 2 in overrides."""
        return {self.path: 1, self.overlay or COMMAND_LINE: 2, COMMAND_LINE: 2}.get(self.origin.get(dotted, ""), 0)

    def locates(self, dotted: str) -> bool:
        """Return whether this very key was written."""
        return dotted in self.origin

    def locate(self, dotted: str) -> str:
        """Return the place of a key, or of its longest prefix that was written, or of the first key in it."""
        parts = dotted.split(".")
        prefixes = [".".join(parts[:length]) for length in range(len(parts), 0, -1)]
        within = (key for key in self.origin if key.startswith(f"{dotted}."))
        written = next((key for key in prefixes if key in self.origin), None) or next(within, None)
        return f"{self.path if written is None else self.origin[written]}: {dotted}"


def merge_base(composed: ComposedFile, base: Any, path: Path, seen: tuple[Path, ...] = ()) -> tuple[Problem, ...]:
    """Merge the base file that a sweep or a base names, if any, after its own base.

    A sweep may be a base: its name and title stay its own.

    Args: path: of the file that names it, beside which the base is, or a link. seen: files that are being merged.
    """
    if base is None:
        return ()
    if not isinstance(base, str):
        return (Problem(f"{path}: base", f"{base!r} must be the name of a YAML file"),)
    place = path.parent / base
    if path.is_symlink() and not place.exists():
        place = path.resolve().parent / base
    seen = (*seen, path.resolve())
    if place.resolve() in seen:
        return (Problem(f"{path}: base", f"{base} is a base of itself"),)
    try:
        data = read_yaml(place)
    except UserError as error:
        return error.problems
    problems = merge_base(composed, data.get("base"), place, seen)
    inherited = {key: value for key, value in only_known(data).items() if key not in _NOT_INHERITED}
    composed.merge(inherited, str(place))
    unknown = [key for key in data if key not in TOP_LEVEL_KEYS]
    return problems + tuple(
        Problem(
            f"{place}: {key}", f"unknown key{nearest(key, TOP_LEVEL_KEYS)}; known here: {', '.join(TOP_LEVEL_KEYS)}"
        )
        for key in unknown
    )


def only_known(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return a file's settings without keys that no sweep has."""
    return {key: value for key, value in data.items() if key in TOP_LEVEL_KEYS}


def apply_override(composed: ComposedFile, override: str) -> list[Problem]:
    """Set the key of a `key=value` string, or return the reason why it cannot be."""
    key, sign, text = override.partition("=")
    if not sign or not key:
        return [Problem(COMMAND_LINE, f"{shown(override)} is not key=value")]
    if key in _FILE_ONLY:
        return [Problem(COMMAND_LINE, f"{key!r} cannot be overridden: {_FILE_ONLY[key]}")]
    if key.split(".")[0] not in TOP_LEVEL_KEYS:
        known = [*all_keys(ExperimentConfig), *all_keys(RuntimeConfig), *SWEEP_KEYS]
        hint = nearest(key, known) or nearest(key.split(".")[0], TOP_LEVEL_KEYS)
        return [Problem(COMMAND_LINE, f"unknown key {shown(key)}{hint}")]
    try:
        data = parse_yaml(f"value: {text}")
    except INVALID_YAML as error:
        return [Problem(COMMAND_LINE, f"{shown(override)}: {invalid_yaml(error)}")]
    assert isinstance(data, dict)
    if misread := [Problem(COMMAND_LINE, f"{shown(override)}: {why}") for _, why in misread_values(f"value: {text}")]:
        return misread
    if "${" in text:
        return [Problem(COMMAND_LINE, f"{shown(override)}: interpolation is not supported")]
    composed.override(key, data["value"])
    return []
