"""Checks before the first accelerator second: data, weights, storage. Light: planning runs them too."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from dfm_core.catalog.datasets import DATASETS
from dfm_core.catalog.feature_networks import FEATURE_NETWORKS, FeatureNetworkName
from dfm_core.catalog.metrics import METRICS, STATISTICS, networks_of
from dfm_core.catalog.weight_files import NeededFile
from orchestration.common.errors import Problem, UserError
from orchestration.common.redaction import one_line
from orchestration.config.absolute_paths import absolute_files
from orchestration.config.files import FileTable
from orchestration.config.storage import StorageConfig
from orchestration.config.storage_root import ROOT_VARIABLE, check_usable, resolve_root
from orchestration.data.file_cache import FileCache
from orchestration.plan.missing_packages import missing_packages
from orchestration.spec.load import SweepSpec
from orchestration.storage.retry import NoAnswerError
from orchestration.storage.store import Store
from orchestration.tasks.measurement import IMPORTED_OUTPUTS

_EXAMPLE = "sweeps/layers/site.example.yaml"


def resolve_paths(spec: SweepSpec, environment: Mapping[str, str], directory: Path) -> SweepSpec:
    """Return the sweep with an absolute storage root and absolute files, relative ones taken from a directory.

    Raises: UserError for relative paths inside a Ray job.
    """
    storage = spec.runtime.storage
    root = resolve_root(storage.root, StorageConfig().root, environment, directory)
    runtime = replace(spec.runtime, storage=replace(storage, root=root))
    return replace(spec, runtime=absolute_files(runtime, environment, directory))


def root_source(spec: SweepSpec, environment: Mapping[str, str]) -> str:
    """Return what gives the storage root: a file, the command line, a variable, or "the default"."""
    is_given = spec.origins.get("storage.root")
    return is_given or (ROOT_VARIABLE if environment.get(ROOT_VARIABLE) else "the default")


def missing_inputs(spec: SweepSpec) -> list[Problem]:
    """Return what is missing or damaged of packages, datasets, networks and statistics, for resolved paths."""
    cache = FileCache(storage=spec.runtime.storage)
    problems = [*missing_packages(spec), *spec.absent, *_missing_datasets(spec)]
    try:
        for more in (_missing_networks(spec, cache), _missing_statistics(spec, cache)):
            problems.extend(more)
    except NoAnswerError as error:  # somebody waits: no other file of a silent server is asked for
        problems.append(Problem(f"{spec.path}: networks, references", f"{error}; what follows it was not asked for"))
    return problems


def _missing_datasets(spec: SweepSpec) -> Iterator[Problem]:
    for name in sorted({config.data.dataset for config in spec.configs} & set(DATASETS)):
        card = DATASETS[name]
        path = card.path
        if path is None:
            where = f"{spec.path}: data.dataset"
            how = "say in a site file what it stands for, under datasets: and dataset_aliases: (docs/site.md)"
            yield Problem(where, f"{name} ({card.about}) is not part of the repository: {how}{_named_by(spec, name)}")
        elif not path.is_file():
            yield Problem(
                f"{spec.path}: data.dataset", f"{name}: its file {path} is missing; check out the repository anew"
            )


def _named_by(spec: SweepSpec, dataset: str) -> str:
    """Return which rows name a dataset themselves, where the sweep has files of its own that they do not read."""
    rows = [
        f"{part.name} / {row.label}"
        for part in spec.parts
        for row in part.rows
        if row.settings.get("data.dataset") == dataset
    ]
    if not rows or not spec.runtime.datasets:
        return ""
    more = f" and {len(rows) - 1} more" if len(rows) > 1 else ""
    own = f"give its files as datasets.{dataset}.files, or another name there"
    return f"; {rows[0]}{more} name it themselves, which wins over data.dataset: {own}"


def _missing_networks(spec: SweepSpec, cache: FileCache) -> Iterator[Problem]:
    asked = {name for config in spec.configs for name in config.evaluation.metrics}
    for network in networks_of(asked):
        metrics = ", ".join(name for name in sorted(asked) if METRICS[name].output.network == network)
        for problem in file_problems(spec.runtime.networks, [network], cache):
            where = f"networks.{network}"
            is_given = any(key.startswith(f"{where}.") for key in spec.origins)
            needs_place = FEATURE_NETWORKS[network].files and not is_given
            how = f", under networks: in a site file, see {_EXAMPLE}" if needs_place else ""
            yield Problem(f"{_origin(spec, where)}: {where}", f"{problem}{how} (for {metrics})")


def _origin(spec: SweepSpec, key: str) -> str:
    """Return the file that gives anything under a key; the sweep if none does."""
    return next((place for given, place in spec.origins.items() if given.startswith(f"{key}.")), spec.path)


def _missing_statistics(spec: SweepSpec, cache: FileCache) -> Iterator[Problem]:
    """Yield imported statistics that cannot be read, or that a metric cannot be compared with."""
    uses = {(config.data.dataset, name) for config in spec.configs for name in config.evaluation.metrics}
    seen = set()
    for dataset, metric in sorted(uses):
        card = METRICS[metric]
        network = card.reference
        file = None if network is None else spec.runtime.references.get(dataset, {}).get(network)
        if file is None or network is None:
            continue
        where = f"{spec.path}: references.{dataset}.{network}"
        if STATISTICS[card.statistic].reads == "features" or IMPORTED_OUTPUTS.get(network) != card.output:
            yield Problem(
                where, f"{metric} needs features of single real images, which a file of statistics does not hold"
            )
        needed = NeededFile("statistics", "an npz with mu and sigma, or EDM2's pkl", "whoever published them")
        if (dataset, network) not in seen and (problem := cache.problem(file, needed)):
            yield Problem(where, problem)
        seen.add((dataset, network))


def open_root(spec: SweepSpec, config: StorageConfig, *, writable: bool) -> Store:
    """Return `open_store` of a sweep. Raises: UserError that names what gives the root."""
    try:
        return open_store(config, writable=writable)
    except UserError as error:
        source = root_source(spec, os.environ)
        raise UserError(replace(one, where=f"{source}: {one.where}") for one in error.problems) from None


def open_store(config: StorageConfig, *, writable: bool) -> Store:
    """Open the store of a sweep with resolved paths.

    Raises: UserError if its protocol is unknown, or it cannot be used.
    """
    try:
        store = Store(config.root, config.options, config.retry_policy)
    except (ValueError, ImportError, OSError, TypeError) as error:
        raise UserError.of("storage.root", f"{config.root!r}: {one_line(str(error), config.options)}") from None
    check_usable(config, writable=writable)
    return store


def file_problems(networks: FileTable, names: Iterable[FeatureNetworkName], cache: FileCache) -> list[str]:
    """Return all reasons why feature networks cannot be loaded, each with its remedy. Fetches nothing."""
    problems = []
    for name in names:
        card, files = FEATURE_NETWORKS[name], networks.get(name, {})
        not_given = tuple(needed for needed in card.files if needed.role not in files)
        problems += replace(card, files=not_given).problems({})
        for needed in card.files:
            if needed.role in files and (problem := cache.problem(files[needed.role], needed)):
                problems.append(f"{card.name} ({card.title}): {problem}")
    return problems
