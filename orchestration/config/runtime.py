"""All settings that cannot change a number (workers, memory layout, intervals, paths); no digest holds their type."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

from pydantic import AfterValidator

from orchestration.common.redaction import credentials_in
from orchestration.common.urls import is_url, with_lower_scheme
from orchestration.config.backbones import BackboneConfig
from orchestration.config.datasets import AutoencoderConfig, DatasetAlias, DatasetConfig, TextEncodersConfig
from orchestration.config.files import FileConfig
from orchestration.config.notify import NotifyConfig
from orchestration.config.prices import PricesConfig
from orchestration.config.storage import StorageConfig
from orchestration.config.workers import WorkersConfig


@dataclass(frozen=True)
class TrackingConfig:
    """The place where MLflow stores its records."""

    uri: str | None = None
    """MLflow tracking URI; default: sqlite under a local storage root."""
    insecure_http: bool = False
    """Talk to a server on another machine over http, which sends every password and number in clear."""
    register_best: bool = False
    """Make the best snapshot of each part, by the sweep's first metric, a version of a registered model."""
    system_metrics: bool = False
    """Show MLflow's system metrics (CPUs, memory, disk, network, GPUs) of each node in its trainings' runs."""


def _database(url: str) -> str:
    """Raises: ValueError, worded to follow what was given."""
    if not is_url(url):
        raise ValueError("should be the URL of a database, e.g. postgresql://host/name")
    if credentials := credentials_in(url):
        raise ValueError(f"should not hold {credentials}: give it where the database's client looks, e.g. PGPASSWORD")
    return with_lower_scheme(url)


@dataclass(frozen=True)
class RuntimeConfig:
    """Everything about a run that is not about its numbers."""

    workers: WorkersConfig = field(default_factory=WorkersConfig)
    storage: StorageConfig = field(default_factory=StorageConfig)
    tracking: TrackingConfig = field(default_factory=TrackingConfig)
    prices: PricesConfig = field(default_factory=PricesConfig)
    notify: NotifyConfig = field(default_factory=NotifyConfig)
    search_storage: Annotated[str, AfterValidator(_database)] | None = None
    """URL of the database in which searches keep their trials, e.g. postgresql://host/name; default: sqlite under a
    local storage root."""
    networks: dict[str, dict[str, FileConfig]] = field(default_factory=dict)
    """Feature network -> role -> file. The checksums are part of a number's protocol, the paths are not."""
    references: dict[str, dict[str, FileConfig]] = field(default_factory=dict)
    """Dataset -> feature network -> file of precomputed statistics of its real images."""
    datasets: dict[str, DatasetConfig] = field(default_factory=dict)
    """Name -> the user's files that `data.dataset` can name; digests hold their content, not their place."""
    dataset_aliases: dict[str, DatasetAlias] = field(default_factory=dict)
    """Name -> what it stands for in `data.dataset`; digests hold that, not the name."""
    autoencoders: dict[str, AutoencoderConfig] = field(default_factory=dict)
    """Name -> files of an autoencoder that `data.autoencoder` can name; digests hold its settings and weights."""
    text_encoders: dict[str, TextEncodersConfig] = field(default_factory=dict)
    """Name -> files of the encoders of captions that `data.text` can name; digests hold their content."""
    backbones: dict[str, BackboneConfig] = field(default_factory=dict)
    """Name -> a pretrained network that `model.start` can name; digests hold its settings and weights."""
