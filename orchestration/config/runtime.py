"""What cannot change a number: workers, memory layout, intervals, paths. Left out of every digest by type."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any
from urllib.parse import urlsplit

from annotated_types import Ge, Gt
from pydantic import AfterValidator

from dfm_core.data.catalog import DATASETS
from dfm_core.metrics.features.cards import FEATURE_NETWORKS
from orchestration.common.errors import nearest
from orchestration.common.redaction import credentials_in
from orchestration.common.urls import is_url, parts_of_url
from orchestration.config.datasets import AutoencoderConfig, DatasetConfig
from orchestration.config.workers import WorkersConfig
from orchestration.storage.retry import RetryPolicy

IMPORTABLE_STATISTICS = ("inception", "dinov2", "i3d")
"""Feature networks whose statistics can come from a file."""


@dataclass(frozen=True)
class StorageConfig:
    """Where everything is kept."""

    root: str = "runs"
    """A directory or an fsspec URL."""
    options: dict[str, str] = field(default_factory=dict, repr=False)
    """Passed to fsspec, e.g. endpoint_url."""
    call_seconds: Annotated[float, Gt(0.0)] = 60.0
    """A call to a URL's storage that is not answered for so long is made again; one that moves a file has a second more
    for each MB."""
    retry_seconds: Annotated[float, Ge(0.0)] = 600.0
    """For so long calls that such a storage fails or does not answer are made again, before their task fails."""

    @property
    def retry_policy(self) -> RetryPolicy:
        return RetryPolicy(self.call_seconds, self.retry_seconds)

    def options_for(self, url: str) -> dict[str, str]:
        """The options hold keys of the storage's own service: they are for no other protocol."""
        return self.options if urlsplit(url).scheme == urlsplit(self.root).scheme else {}


@dataclass(frozen=True)
class TrackingConfig:
    """Where MLflow keeps its records."""

    uri: str | None = None
    """MLflow tracking URI; default: sqlite under a local storage root."""
    insecure_http: bool = False
    """Talk to a server on another machine over http, which sends every password and number in clear."""
    register_best: bool = False
    """Make the best snapshot of each part, by the sweep's first metric, a version of a registered model."""


def _place_of_a_file(path: str) -> str:
    """Raises: ValueError, worded to follow what was given."""
    if not path.strip() or path.endswith("/"):
        raise ValueError("should be the path or the URL of a file")
    if is_url(path):
        parts = parts_of_url(path, "should be a path, or a URL such as s3://bucket/weights.pt")
        if not parts.path.strip("/") or path.startswith("://"):
            raise ValueError("should name a file at the end, as s3://bucket/weights.pt does")
    return path


def _sha256(digits: str) -> str:
    """Raises: ValueError, worded to follow what was given."""
    if not re.fullmatch(r"[0-9a-fA-F]{64}", digits):
        raise ValueError("should be a sha256: 64 hexadecimal digits")
    return digits.lower()


def _database(url: str) -> str:
    """Raises: ValueError, worded to follow what was given."""
    if not is_url(url):
        raise ValueError("should be the URL of a database, e.g. postgresql://host/name")
    if found := credentials_in(url):
        raise ValueError(f"should not hold {found}: give it where the database's client looks, e.g. PGPASSWORD")
    return url


@dataclass(frozen=True)
class FileConfig:
    """A file that the user provides, and its content."""

    path: Annotated[str, AfterValidator(_place_of_a_file)]
    """A path that every worker can read, or an fsspec URL. A file from a URL is kept in a cache on each machine."""
    sha256: Annotated[str, AfterValidator(_sha256)]
    """Of the content, 64 hexadecimal digits. Nothing else is ever opened."""


@dataclass(frozen=True)
class RuntimeConfig:
    """Everything about a run that is not about its numbers."""

    workers: WorkersConfig = field(default_factory=WorkersConfig)
    storage: StorageConfig = field(default_factory=StorageConfig)
    tracking: TrackingConfig = field(default_factory=TrackingConfig)
    search_storage: Annotated[str, AfterValidator(_database)] | None = None
    """URL of the database in which searches keep their trials, e.g. postgresql://host/name; default: sqlite under a
    local storage root."""
    networks: dict[str, dict[str, FileConfig]] = field(default_factory=dict)
    """Feature network -> role -> file. The checksums are part of a number's protocol, the paths are not."""
    references: dict[str, dict[str, FileConfig]] = field(default_factory=dict)
    """Dataset -> feature network -> file of precomputed statistics of its real images."""
    datasets: dict[str, DatasetConfig] = field(default_factory=dict)
    """Name -> files of the user's that `data.dataset` can name; what is in them is part of a digest, not where."""
    autoencoders: dict[str, AutoencoderConfig] = field(default_factory=dict)
    """Name -> files of an autoencoder that `data.autoencoder` can name; so are its settings and weights."""


def unknown_file_names(sections: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """(key, message) of every network, role and dataset under `networks` and `references` that there is none of.

    Args: sections: of the sweep, as written: a section of another type is for the type check to tell.
    """
    for network, files in _entries(sections.get("networks")):
        yield from _unknown("networks", network, FEATURE_NETWORKS, "a feature network")
        if network in FEATURE_NETWORKS:
            roles = [needed.role for needed in FEATURE_NETWORKS[network].files]
            for role, _ in _entries(files):
                yield from _unknown(f"networks.{network}", role, roles, f"a file that {network} is made from")
    for name, _ in _entries(sections.get("datasets")):
        if name in DATASETS and DATASETS[name].path is not None:
            yield f"datasets.{name}", f"{name!r} is embedded; give yours another name"
    datasets = dict.fromkeys([*DATASETS, *(name for name, _ in _entries(sections.get("datasets")))])
    for dataset, networks in _entries(sections.get("references")):
        yield from _unknown("references", dataset, datasets, "a dataset")
        for network, _ in _entries(networks):
            known = IMPORTABLE_STATISTICS
            yield from _unknown(f"references.{dataset}", network, known, "a network whose statistics can be imported")


def _entries(section: Any) -> Collection[tuple[Any, Any]]:
    return section.items() if isinstance(section, Mapping) else ()


def _unknown(section: str, name: str, known: Collection[str], what: str) -> Iterator[tuple[str, str]]:
    if name not in known:
        hint = nearest(name, list(known)) or ";"
        yield f"{section}.{name}", f"{name!r} is not {what}{hint} known: {', '.join(known) or 'none'}"


Files = Mapping[str, Mapping[str, FileConfig]]
"""Feature network -> role -> file, as in `RuntimeConfig.networks`."""
