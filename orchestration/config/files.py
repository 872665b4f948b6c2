"""Files that a user provides by path or URL: weights of feature networks, statistics of real images."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import AfterValidator

from dfm_core.catalog.datasets import DATASETS
from dfm_core.catalog.feature_networks import FEATURE_NETWORKS
from orchestration.common.errors import known_names, nearest
from orchestration.common.urls import is_url, parts_of_url, with_lower_scheme

IMPORTABLE_STATISTICS = ("inception", "dinov2", "i3d")
"""Feature networks whose statistics can come from a file."""


def _place_of_a_file(path: str) -> str:
    """Raises: ValueError, worded to follow what was given."""
    if not path.strip() or path.endswith("/"):
        raise ValueError("should be the path or the URL of a file")
    if is_url(path):
        parts = parts_of_url(path, "should be a path, or a URL such as s3://bucket/weights.pt")
        if not parts.scheme or not parts.path.strip("/"):
            raise ValueError("should name a file at the end, as s3://bucket/weights.pt does")
        return with_lower_scheme(path)
    return path


def _sha256(digits: str) -> str:
    """Raises: ValueError, worded to follow what was given."""
    if not re.fullmatch(r"[0-9a-fA-F]{64}", digits):
        raise ValueError("should be a sha256: 64 hexadecimal digits")
    return digits.lower()


@dataclass(frozen=True)
class FileConfig:
    """A file that the user provides, and its content."""

    path: Annotated[str, AfterValidator(_place_of_a_file)]
    """A path that every worker can read, or an fsspec URL. A file from a URL is kept in a cache on each machine."""
    sha256: Annotated[str, AfterValidator(_sha256)]
    """Checksum of the content, 64 hexadecimal digits. Nothing else is ever opened."""


FileTable = Mapping[str, Mapping[str, FileConfig]]
"""Feature network -> role -> file, as in `RuntimeConfig.networks`; dataset -> feature network -> file, as in
`RuntimeConfig.references`."""


def unknown_file_names(sections: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield (key, message) for every network, role and dataset under `networks` and `references` that does not exist.

    Args: sections: of the sweep, as written; the type check reports sections of another type.
    """
    for network, roles in _entries(sections.get("networks")):
        yield from _unknown("networks", network, FEATURE_NETWORKS, "a feature network")
        if network in FEATURE_NETWORKS:
            known = [needed.role for needed in FEATURE_NETWORKS[network].files]
            for role, _ in _entries(roles):
                yield from _unknown(f"networks.{network}", role, known, f"a file that {network} is made from")
    own = [name for name, _ in _entries(sections.get("datasets"))]
    for name in own:
        if name in DATASETS and DATASETS[name].path is not None:
            yield f"datasets.{name}", f"{name!r} is embedded; give yours another name"
    yield from _unknown_aliases(sections.get("dataset_aliases"), own)
    for dataset, networks in _entries(sections.get("references")):
        yield from _unknown("references", dataset, dict.fromkeys([*DATASETS, *own]), "a dataset")
        for network, _ in _entries(networks):
            what = "a network whose statistics can be imported"
            yield from _unknown(f"references.{dataset}", network, IMPORTABLE_STATISTICS, what)


def unknown_dataset(name: str, own: Collection[str], named: Collection[str] = ()) -> str:
    """Return the message about a name that is no dataset.

    Args: own: names under `datasets:`. named: others that are allowed there, which need files of the user.
    """
    known = [*_embedded(), *own, *(other for other in named if other not in DATASETS)]
    hint = nearest(name, [*known, *named]) or ";"
    return f"{name!r} is not a dataset{hint} known: {', '.join(known)}{'' if own else '; yours go under datasets:'}"


def _embedded() -> list[str]:
    return [name for name, card in DATASETS.items() if card.path is not None]


def _unknown_aliases(section: Any, own: Collection[str]) -> Iterator[tuple[str, str]]:
    known = [*_embedded(), *own]
    for name, alias in _entries(section):
        if name in known:
            yield f"dataset_aliases.{name}", f"{name!r} is a dataset already; give the alias another name"
        given = alias.get("dataset") if isinstance(alias, Mapping) else None
        if isinstance(given, str) and given not in known:
            yield f"dataset_aliases.{name}.dataset", unknown_dataset(given, own)


def _entries(section: Any) -> Collection[tuple[Any, Any]]:
    return section.items() if isinstance(section, Mapping) else ()


def _unknown(section: str, name: str, known: Collection[str], what: str) -> Iterator[tuple[str, str]]:
    if name not in known:
        yield f"{section}.{name}", f"{name!r} is not {what}{known_names(name, known)}"
