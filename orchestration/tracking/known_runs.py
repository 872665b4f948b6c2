"""The experiment of a sweep in MLflow, and the runs that it has already, by the digest of their task."""

from __future__ import annotations

from dataclasses import dataclass

from mlflow import MlflowClient
from mlflow.entities import Run

from orchestration.storage.store import Store
from orchestration.tracking.uri import artifact_location

DIGEST, KIND, STATUS, FAILURE = "dfm.digest", "dfm.kind", "dfm.status", "failure"
"""Names of tags."""
NAME = "dfm.name"
"""Tag with the name that a run was given by the launcher; people may rename it."""
_KIND_OF_EXPERIMENT = {"mlflow.experimentKind": "custom_model_development"}
"""MLflow's own tag: pages for model training, without which it opens those for traces of language models."""


@dataclass
class KnownRun:
    """The part of a run's state that decides about later calls."""

    run_id: str
    status: str
    last_curve_step: int
    params: frozenset[str] = frozenset()
    """Names of its params."""


def open_experiment(client: MlflowClient, name: str, uri: str, store: Store) -> str:
    """Return the id of an experiment, which is created or restored where needed."""
    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        location = artifact_location(uri, store)
        return str(client.create_experiment(name, artifact_location=location, tags=_KIND_OF_EXPERIMENT))
    if experiment.lifecycle_stage == "deleted":
        client.restore_experiment(experiment.experiment_id)
    return str(experiment.experiment_id)


def known_runs(client: MlflowClient, experiment: str) -> dict[str, KnownRun]:
    """Return the runs of an experiment by digest; of several runs of a task, a finished one."""
    runs: dict[str, KnownRun] = {}
    token = None
    while True:
        page = client.search_runs([experiment], max_results=1000, page_token=token)
        for run in page:
            digest = run.data.tags.get(DIGEST)
            if digest and (digest not in runs or runs[digest].status != "done"):
                params = frozenset(run.data.params)
                runs[digest] = KnownRun(run.info.run_id, _status(run), _last_curve_step(client, run), params)
        token = page.token
        if not token:
            return runs


def _status(run: Run) -> str:
    """Return the launcher's own status, but no "done" where a person changed MLflow's: that run is completed again."""
    status: str = run.data.tags.get(STATUS, "")
    return status if status != "done" or run.info.status == "FINISHED" else run.info.status.lower()


def _last_curve_step(client: MlflowClient, run: Run) -> int:
    if run.data.tags.get(KIND) != "train" or "loss" not in run.data.metrics:
        return 0
    return max(int(point.step) for point in client.get_metric_history(run.info.run_id, "loss"))
