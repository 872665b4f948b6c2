"""MLflow's database in a file: created whole, and made anew in a storage root that was copied or moved.

MLflow keeps absolute locations of artifacts and cannot change them: what a sweep logs in the copy of a root would be
written into the original. So such a database is set aside, and a new one is filled from the records. What people added
to experiments and runs comes along.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from urllib.parse import unquote, urlsplit

from mlflow import MlflowClient
from mlflow.entities import Experiment, Run, ViewType

from orchestration.storage.layout import DATABASE, MLFLOW_ARTIFACTS
from orchestration.storage.library_database import ensure_whole, is_complete, sqlite_file, sqlite_url
from orchestration.storage.store import Store
from orchestration.tracking.known_runs import DIGEST, FAILURE, KIND, NAME

_NOTE = "mlflow.note.content"
_WRITTEN_BY_PROGRAMS = ("dfm.", "mlflow.")
_WRITTEN_BY_THE_LAUNCHER = frozenset({FAILURE, "git_commit"})


def ensure_database(uri: str, store: Store, sweep: str) -> None:
    """Create a new SQLite database whole before any run is written to it; other places are MLflow's own matter.

    A driver that is killed in its first second, or two that start together, would leave tables that MLflow can't use.

    Args: sweep: name of the one that is submitted.
    """
    file = sqlite_file(uri)
    if file is None:
        return
    own = store.is_local and _is_same(file, Path(store.path(DATABASE)))
    artifacts = Path(store.path(MLFLOW_ARTIFACTS))

    def create(new: Path) -> None:
        client = MlflowClient(tracking_uri=sqlite_url(new))
        client.search_experiments(max_results=1)
        if is_complete(file):
            _carry_over(_reader(file), client, artifacts)

    ensure_whole(file, create, lambda: _why_elsewhere(_reader(file), artifacts, sweep) if own else "")


def _reader(file: Path) -> MlflowClient:
    return MlflowClient(tracking_uri=sqlite_url(file, read_only=True))


def _why_elsewhere(client: MlflowClient, artifacts: Path, sweep: str) -> str:
    """Return why a root's database must be made anew, or "" if it lies where it was made.

    Single experiments may keep artifacts under other roots, whose sweeps were told to track here.
    """
    ours = _experiments(client)
    elsewhere = [one for one in ours if not _is_same(_place(one), artifacts)]
    if elsewhere and (len(elsewhere) == len(ours) or sweep in {one.name for one in elsewhere}):
        return f"keeps artifacts in {_place(elsewhere[0])}, since its root was copied or moved,"
    return ""


def _carry_over(old: MlflowClient, new: MlflowClient, artifacts: Path) -> None:
    """Create the experiments of an old database in a new one, and the runs that people added something to.

    A run has its digest, so that it is found and filled from the record when its sweep is submitted.
    """
    for experiment in _experiments(old):
        if experiment.lifecycle_stage == "deleted":
            continue
        made = new.create_experiment(experiment.name, artifacts.as_uri(), _of_people(experiment.tags))
        for run in _runs(old, experiment):
            tags, kind = _of_people(run.data.tags), run.data.tags.get(KIND, "")
            given = run.data.tags.get(NAME, "")
            renamed = run.info.run_name != given if given else not run.info.run_name.startswith(f"{kind}: ")
            if DIGEST in run.data.tags and (tags or renamed):
                tags |= {DIGEST: run.data.tags[DIGEST], KIND: kind, **({NAME: given} if given else {})}
                created = new.create_run(made, run.info.start_time, tags, run.info.run_name)
                new.update_run(created.info.run_id, status="SCHEDULED")


def _experiments(client: MlflowClient) -> list[Experiment]:
    """Return the experiments of sweeps."""
    found, token = [], None
    while True:
        page = client.search_experiments(ViewType.ALL, max_results=1000, page_token=token)
        found += [one for one in page if _place(one).name == MLFLOW_ARTIFACTS]
        token = page.token
        if not token:
            return found


def _runs(client: MlflowClient, experiment: Experiment) -> Iterator[Run]:
    token = None
    while True:
        page = client.search_runs([experiment.experiment_id], max_results=1000, page_token=token)
        yield from page
        token = page.token
        if not token:
            return


def _place(experiment: Experiment) -> Path:
    location = urlsplit(experiment.artifact_location)
    return Path(unquote(location.path) if location.scheme == "file" else experiment.artifact_location)


def _is_same(one: Path, other: Path) -> bool:
    with suppress(OSError):
        if one.samefile(other):
            return True
    return os.path.realpath(one) == os.path.realpath(other)


def _of_people(tags: Mapping[str, str]) -> dict[str, str]:
    """Return the tags that no program writes, and the note."""
    return {
        key: value
        for key, value in tags.items()
        if key == _NOTE or not (key.startswith(_WRITTEN_BY_PROGRAMS) or key in _WRITTEN_BY_THE_LAUNCHER)
    }
