"""The artifacts under a storage root that no published plan needs."""

from __future__ import annotations

import hashlib
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from orchestration.artifacts.checkpoint_index import listed_steps, newest_checkpoint
from orchestration.artifacts.task_record import read_record
from orchestration.commands.reachability import Needed, needed_by
from orchestration.common.errors import Problem, UserError
from orchestration.control.heartbeat import find_driver
from orchestration.plan.published import PublishedPlan, UnreadablePlanError, published_sweeps, read_published
from orchestration.storage.layout import (
    AUTOENCODERS,
    CHECKPOINTS,
    FEATURES,
    LATENTS,
    RESULTS,
    SNAPSHOTS,
    STATUS,
    TRAIN_RUNS,
    TaskPaths,
    plan_file,
)
from orchestration.storage.store import Store

_DIGEST = re.compile(r"[0-9a-f]{20}")
"""The names of our directories; anything else beside them was put there by somebody else."""
_MAX_WATCHES = 16


@dataclass(frozen=True)
class Unreferenced:
    """One artifact, or everything that one digest left of a kind."""

    kind: str
    path: str
    num_bytes: int
    stays: str = ""
    """Reason why it cannot be removed, as a sentence; "": it can."""


@dataclass(frozen=True)
class Roots:
    """The published plans, from which the needed artifacts are found, and the sweeps that run."""

    plans: tuple[PublishedPlan, ...]
    live: frozenset[str]
    """Sweeps that a driver runs now."""
    fingerprint: str
    """Digest of the plans' texts."""


def read_roots(store: Store) -> Roots:
    """Read all published plans, and find the sweeps that run now; takes seconds where a driver was killed.

    Raises: UserError with every plan and heartbeat that cannot be read: their needs are not known then.
    """
    problems, plans = [], []
    for sweep in published_sweeps(store):
        try:
            plan = read_published(store, sweep)
        except UnreadablePlanError as error:
            message = f"{error}: what it needs is not known; submit that sweep again, or remove its plan"
            problems.append(Problem("--gc", message))
        else:
            plans.extend([plan] if plan is not None else [])
    sweeps = [name.removesuffix(".json") for name in store.names(STATUS) if re.fullmatch(r"[^.].*\.json", name)]
    with ThreadPoolExecutor(_MAX_WATCHES) as threads:
        drivers = dict(zip(sweeps, threads.map(lambda sweep: find_driver(store, sweep), sweeps), strict=True))
    problems += [
        Problem("--gc", f"{driver.problem}: whether that sweep runs is not known; remove the file if it does not")
        for driver in drivers.values()
        if driver.state == "unknown"
    ]
    live = {sweep for sweep, driver in drivers.items() if driver.state == "running"}
    for sweep in sorted(live - {plan.sweep for plan in plans}):
        problems.append(
            Problem("--gc", f"a driver runs {sweep}, whose plan cannot be read: what it needs is not known")
        )
    if problems:
        raise UserError(problems)
    return Roots(tuple(plans), frozenset(live), plans_fingerprint(store))


def plans_fingerprint(store: Store) -> str:
    """Return a digest that changes with any plan."""
    digest = hashlib.sha256()
    for sweep in published_sweeps(store):
        digest.update(f"{sweep}\n".encode() + store.read_document(plan_file(sweep)))
    return digest.hexdigest()


def find_unreferenced(store: Store, roots: Roots) -> list[Unreferenced]:
    """Return everything that is not needed; of sweeps that run now, nothing.

    Raises: UserError if a plan does not say what it needs.
    """
    try:
        needed = needed_by(roots.plans, store)
        in_use = needed_by([plan for plan in roots.plans if plan.sweep in roots.live], store)
    except UnreadablePlanError as error:
        raise UserError.of("--gc", str(error)) from None
    unneeded = {
        **_checkpoints(store, needed, in_use),
        **_snapshots(store, needed, in_use),
        **_features(store, needed, in_use),
        **_whole(store, needed, LATENTS, "latents"),
        **_whole(store, needed, AUTOENCODERS, "autoencoders"),
        **_results(store, needed),
        **({} if roots.live else {f"{TRAIN_RUNS}/{name}": "Ray Train's own" for name in store.names(TRAIN_RUNS)}),
    }
    return [_found(store, path, kind) for path, kind in unneeded.items()]


def _found(store: Store, path: str, kind: str) -> Unreferenced:
    """Look at what is there: behind a link nothing is ours, and a link itself takes no room."""
    parts = path.split("/")
    for parent in ("/".join(parts[:depth]) for depth in range(1, len(parts))):
        if store.kind(parent) == "link":
            return Unreferenced(kind, path, 0, f"{parent} is a link: what is behind it stays")
    entry = store.kind(path)
    if entry == "other":
        return Unreferenced(kind, path, 0, f"{path} is no directory: it stays")
    return Unreferenced(kind, path, store.num_bytes(path) if entry == "directory" else 0)


def _digests(store: Store, directory: str) -> list[str]:
    return [name for name in store.names(directory) if _DIGEST.fullmatch(name)]


def _checkpoints(store: Store, needed: Needed, in_use: Needed) -> dict[str, str]:
    """Find all of trainings that no plan names, and all but the newest of finished ones, where a longer run resumes."""
    unneeded = {}
    for digest in _digests(store, CHECKPOINTS):
        paths = TaskPaths(digest)
        if digest not in needed.tasks:
            unneeded[paths.checkpoints] = "checkpoints"
        elif digest in needed.finished and digest not in in_use.tasks:
            newest = newest_checkpoint(store, digest)
            if newest is not None:
                older = [step for step in listed_steps(store, digest) if step != newest.step]
                unneeded |= {paths.checkpoint(step): "checkpoints" for step in older}
    return unneeded


def _snapshots(store: Store, needed: Needed, in_use: Needed) -> dict[str, str]:
    unneeded = {}
    for digest in _digests(store, SNAPSHOTS):
        directory = TaskPaths(digest).snapshots
        for name in store.names(directory):
            path = f"{directory}/{name}"
            kind = "raw weights" if name.startswith("raw-") else "snapshots"
            if name.startswith(("raw-", "step-")) and path not in needed.artifacts and digest not in in_use.tasks:
                unneeded[path] = kind
    return unneeded


def _features(store: Store, needed: Needed, in_use: Needed) -> dict[str, str]:
    """Find whole sources that no plan names, and of the others the features of networks that no plan uses."""
    unneeded = {}
    for source in _digests(store, FEATURES):
        directory = f"{FEATURES}/{source}"
        if source not in needed.sources:
            unneeded[directory] = "features"
        elif source not in in_use.sources:
            for name in store.names(directory):
                path, owner = f"{directory}/{name}", name.removeprefix("of-")
                is_kept = path in needed.features or name in ("grid", "samples") or owner in needed.tasks
                unneeded |= {} if is_kept else {path: "features"}
    return unneeded


def _whole(store: Store, needed: Needed, directory: str, kind: str) -> dict[str, str]:
    """Find everything in a directory that belongs to tasks which no plan names."""
    return {f"{directory}/{digest}": kind for digest in _digests(store, directory) if digest not in needed.tasks}


def _results(store: Store, needed: Needed) -> dict[str, str]:
    """Find records, references and fitted weights. Those of images from elsewhere stay: no plan ever names them."""
    kinds = {"reference": "references", "probe": "references"}
    unneeded = {}
    for digest in _digests(store, RESULTS):
        if digest not in needed.tasks:
            record = read_record(store, digest)
            if record is None or record.kind != "images":
                unneeded[f"{RESULTS}/{digest}"] = kinds.get(record.kind, "results") if record is not None else "results"
    return unneeded
