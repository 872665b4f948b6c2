"""Packages that only some sweeps need, found missing before one starts. Imports none of them."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from urllib.parse import urlsplit

from orchestration.common.errors import Problem
from orchestration.spec.load import SweepSpec

_EXTRA = "dfm-experiments[{}]"
_DRIVERS = {
    "postgresql": ("psycopg", "psycopg[binary]"),
    "mysql": ("MySQLdb", "mysqlclient"),
    "mssql": ("pyodbc", "pyodbc"),
}
"""Database -> (module of its driver, package that has it)."""


def missing_packages(spec: SweepSpec) -> Iterator[Problem]:
    """Yield a problem for each package that the sweep needs and this Python lacks."""
    data = [config.data for config in spec.configs]
    if any(config.model.backbone == "flux" for config in spec.configs):
        yield from _missing(f"{spec.path}: model.backbone", "diffusers", _EXTRA.format("flux"))
    elif any(one.autoencoder for one in data) or spec.recipes:
        yield from _missing(f"{spec.path}: autoencoders", "diffusers", _EXTRA.format("autoencoders"))
    if any(one.frames and one.dataset in spec.runtime.datasets for one in data):
        yield from _missing(f"{spec.path}: datasets", "av", _EXTRA.format("video"))
    yield from _missing_driver("tracking.uri", spec.runtime.tracking.uri or os.environ.get("MLFLOW_TRACKING_URI"))
    if spec.runtime.tracking.system_metrics and spec.runtime.workers.use_gpu:
        yield from _missing(f"{spec.path}: tracking.system_metrics", "pynvml", _EXTRA.format("gpu"))
    if spec.searches:
        yield from _missing_driver("search_storage", spec.runtime.search_storage)


def _missing_driver(where: str, uri: str | None) -> Iterator[Problem]:
    database, _, driver = urlsplit(uri or "").scheme.partition("+")
    if database in _DRIVERS:
        yield from _missing(where, *((driver, driver) if driver else _DRIVERS[database]))


def _missing(where: str, module: str, package: str) -> Iterator[Problem]:
    if importlib.util.find_spec(module) is None:
        yield Problem(where, f"the package {module} is missing: pip install '{package}'")
