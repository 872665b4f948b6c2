"""What lies under a storage root and no published plan needs, artifact by artifact."""

from __future__ import annotations

import hashlib
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from orchestration.artifacts.checkpoint_index import checkpoint_folders, newest_checkpoint
from orchestration.artifacts.task_record import read_record
from orchestration.commands.reachability import Needed, needed_by
from orchestration.common.errors import Problem, UserError
from orchestration.control.heartbeat import DamagedHeartbeatError, Driver, find_driver
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
"""What our directories are called; whatever else lies beside them was put there by somebody else."""
_MAX_WATCHES = 16


@dataclass(frozen=True)
class Unreferenced:
    """One artifact, or all that one digest left of a kind."""

    kind: str
    path: str
    num_bytes: int


@dataclass(frozen=True)
class Roots:
    """What is asked before anything is called left over."""

    plans: tuple[PublishedPlan, ...]
    live: frozenset[str]
    """Sweeps that a driver runs now."""
    fingerprint: str
    """Of the plans' texts."""


def read_roots(store: Store) -> Roots:
    """All published plans, and the sweeps that run now. Takes seconds if a driver was killed: its last beat is watched.

    Raises: UserError with every plan and heartbeat that cannot be read: what they need is not known then.
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
    beating = [name.removesuffix(".json") for name in store.names(STATUS) if re.fullmatch(r"[^.].*\.json", name)]
    with ThreadPoolExecutor(_MAX_WATCHES) as threads:
        drivers = dict(zip(beating, threads.map(lambda sweep: _driver(store, sweep), beating), strict=True))
    problems += [driver for driver in drivers.values() if isinstance(driver, Problem)]
    live = {sweep for sweep, one in drivers.items() if isinstance(one, Driver) and one.state == "running"}
    for sweep in sorted(live - {plan.sweep for plan in plans}):
        problems.append(
            Problem("--gc", f"a driver runs {sweep}, whose plan cannot be read: what it needs is not known")
        )
    if problems:
        raise UserError(problems)
    return Roots(tuple(plans), frozenset(live), plans_fingerprint(store))


def plans_fingerprint(store: Store) -> str:
    """Changes with any plan."""
    digest = hashlib.sha256()
    for sweep in published_sweeps(store):
        digest.update(f"{sweep}\n".encode() + store.read(plan_file(sweep)))
    return digest.hexdigest()


def find_unreferenced(store: Store, roots: Roots) -> list[Unreferenced]:
    """Everything that can go; of sweeps that run now, nothing.

    Raises: UserError if a plan does not say what it needs.
    """
    try:
        wanted = needed_by(roots.plans, store)
        held = needed_by([plan for plan in roots.plans if plan.sweep in roots.live], store)
    except UnreadablePlanError as error:
        raise UserError.of("--gc", str(error)) from None
    found = {
        **_checkpoints(store, wanted, held),
        **_snapshots(store, wanted, held),
        **_features(store, wanted, held),
        **_whole(store, wanted, LATENTS, "latents"),
        **_whole(store, wanted, AUTOENCODERS, "autoencoders"),
        **_results(store, wanted),
        **({} if roots.live else {f"{TRAIN_RUNS}/{name}": "Ray Train's own" for name in store.names(TRAIN_RUNS)}),
    }
    return [Unreferenced(kind, path, store.num_bytes(path)) for path, kind in found.items()]


def _driver(store: Store, sweep: str) -> Driver | Problem:
    try:
        return find_driver(store, sweep)
    except DamagedHeartbeatError as error:
        return Problem("--gc", f"{error}: whether that sweep runs is not known; remove the file if it does not")


def _digests(store: Store, directory: str) -> list[str]:
    return [name for name in store.names(directory) if _DIGEST.fullmatch(name)]


def _checkpoints(store: Store, wanted: Needed, held: Needed) -> dict[str, str]:
    """Of trainings that no plan names all; of finished ones all but the newest, from which a longer run goes on."""
    found = {}
    for digest in _digests(store, CHECKPOINTS):
        paths = TaskPaths(digest)
        if digest not in wanted.tasks:
            found[paths.checkpoints] = "checkpoints"
        elif digest in wanted.finished and digest not in held.tasks:
            newest = newest_checkpoint(store, digest)
            if newest is not None:
                older = [step for step in checkpoint_folders(store, digest) if step != newest.step]
                found |= {paths.checkpoint(step): "checkpoints" for step in older}
    return found


def _snapshots(store: Store, wanted: Needed, held: Needed) -> dict[str, str]:
    found = {}
    for digest in _digests(store, SNAPSHOTS):
        directory = TaskPaths(digest).snapshots
        for name in store.names(directory):
            path = f"{directory}/{name}"
            kind = "raw weights" if name.startswith("raw-") else "snapshots"
            if name.startswith(("raw-", "step-")) and path not in wanted.artifacts and digest not in held.tasks:
                found[path] = kind
    return found


def _features(store: Store, wanted: Needed, held: Needed) -> dict[str, str]:
    """Whole sources that no plan names, and of the others what networks made that none asks."""
    found = {}
    for source in _digests(store, FEATURES):
        directory = f"{FEATURES}/{source}"
        if source not in wanted.sources:
            found[directory] = "features"
        elif source not in held.sources:
            for name in store.names(directory):
                path, owner = f"{directory}/{name}", name.removeprefix("of-")
                is_kept = path in wanted.features or name in ("grid", "samples") or owner in wanted.tasks
                found |= {} if is_kept else {path: "features"}
    return found


def _whole(store: Store, wanted: Needed, directory: str, kind: str) -> dict[str, str]:
    """All that tasks left in a directory which no plan names."""
    return {f"{directory}/{digest}": kind for digest in _digests(store, directory) if digest not in wanted.tasks}


def _results(store: Store, wanted: Needed) -> dict[str, str]:
    """Records, references and fitted weights. Those of images from elsewhere stay: no plan ever names them."""
    kinds = {"reference": "references", "probe": "references"}
    found = {}
    for digest in _digests(store, RESULTS):
        if digest not in wanted.tasks:
            record = read_record(store, digest)
            if record is None or record.kind != "images":
                found[f"{RESULTS}/{digest}"] = kinds.get(record.kind, "results") if record is not None else "results"
    return found
