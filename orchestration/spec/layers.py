"""Files laid under and over a sweep: the site's, which says where everything is, and one of overrides."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestration.common.errors import Problem, UserError, nearest
from orchestration.common.redaction import reason_of, without_credentials
from orchestration.common.urls import is_url
from orchestration.config.storage import PLANNING_SECONDS, StorageConfig
from orchestration.parsing.yaml_file import parsed_mapping, read_yaml
from orchestration.parsing.yaml_limits import MAX_YAML_BYTES
from orchestration.spec.compose import RUNTIME_SECTIONS, TOP_LEVEL_KEYS

SITE_VARIABLE, OVERLAY_VARIABLE = "DFM_SITE", "DFM_WITH"
_BESIDE = "site.yaml"
_OF_THE_SWEEP = ("name", "title", "base", "published", "parts")
"""Keys that only a sweep itself has."""


@dataclass(frozen=True)
class Layers:
    """Paths or URLs of the files around a sweep; "" for none."""

    site: str = ""
    """Places of data, networks, storage, tracking and workers: wins over bases, not over the sweep."""
    overlay: str = ""
    """Overrides that win over the sweep and all its rows."""


NO_LAYERS = Layers()


def find_layers(
    sweep: Path, environment: Mapping[str, str], site: str | None = None, overlay: str | None = None
) -> Layers:
    """Return the files of options, else of variables; without either, the `site.yaml` beside the sweep if there is one.

    Args: site, overlay: as options give them; None if they were not given, "" for none.
    """
    if site is None:
        site = environment.get(SITE_VARIABLE)
    if site is None:
        beside = sweep.parent / _BESIDE
        site = str(beside) if beside.is_file() else ""
    if overlay is None:
        overlay = environment.get(OVERLAY_VARIABLE, "")
    return Layers(site, overlay)


def read_site(place: str) -> tuple[dict[str, Any], list[Problem]]:
    """Return the settings of a site file, and the mistakes in its keys. Raises: UserError if it cannot be read."""
    data = read_layer(place, f"--site or {SITE_VARIABLE}")
    return data, list(_unknown(data, RUNTIME_SECTIONS, place, "a site file holds only"))


def read_overlay(place: str) -> tuple[dict[str, Any], list[Problem]]:
    """Return the settings of a file of overrides. Returns, Raises: as `read_site`."""
    data = read_layer(place, f"--with or {OVERLAY_VARIABLE}")
    known = [key for key in TOP_LEVEL_KEYS if key not in _OF_THE_SWEEP]
    return data, list(_unknown(data, known, place, "a file of overrides holds only"))


def read_layer(place: str, given_as: str) -> dict[str, Any]:
    """Return the mapping in a YAML file, at a path or an fsspec URL.

    Args: given_as: names of the option and the variable that give it.
    Raises: UserError.
    """
    if not is_url(place):
        path = Path(place).expanduser()
        if not path.exists():
            raise UserError.of(place, f"no such file; give another by {given_as}, or '' for none")
        return read_yaml(path)
    shown = without_credentials(place)
    try:
        text = _read_url(place)
    except Exception as error:  # noqa: BLE001  any storage library, any reason: it cannot be read
        raise UserError.of(shown, f"cannot be read ({reason_of(error)})") from None
    return parsed_mapping(text, shown)


def _read_url(url: str) -> str:
    """Raises: ValueError if it is too large or no UTF-8; errors of the storage."""
    from orchestration.data.user_files import open_place  # most sites are files beside the sweep

    folder, _, name = url.rpartition("/")
    store = open_place(folder, StorageConfig().at_most(PLANNING_SECONDS))
    if (num_bytes := store.num_bytes(name)) > MAX_YAML_BYTES:
        raise ValueError(f"{num_bytes} bytes; a YAML file has at most {MAX_YAML_BYTES}")
    return store.read(name).decode("utf-8")


def _unknown(data: Mapping[str, Any], known: Sequence[str], place: str, rule: str) -> Iterator[Problem]:
    for key in data:
        if key not in known:
            elsewhere = "belongs into a sweep" if key in TOP_LEVEL_KEYS else ""
            if elsewhere and key not in _OF_THE_SWEEP:
                elsewhere += ", on the command line or into --with FILE"
            hint = "" if elsewhere else nearest(key, known)
            message = f"{elsewhere}{'; ' * bool(elsewhere)}{rule} {', '.join(known)}{hint}"
            yield Problem(f"{without_credentials(place)}: {key}", message)
