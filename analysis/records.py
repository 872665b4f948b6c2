"""What MLflow holds for a plan's digests, as plain data. The only module that imports mlflow."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")  # the default blocks a call for four minutes
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from analysis.about import About, json_object, parse_about
from analysis.address import check_reachable, unreachable
from analysis.plan_types import PlanFile, TaskKind

Status = Literal["done", "running", "failed", "missing"]
Curve = tuple[tuple[int, float], ...]
"""(step, value) of the newest attempt at each step, by step."""

_DIGEST_TAG, _STATUS_TAG, _FAILURE_TAG, _WARNING_TAG = "dfm.digest", "dfm.status", "failure", "warning"
_IMAGES: Mapping[TaskKind, str] = {"evaluate": "samples.png", "reference": "real.png"}
_PROVENANCE = "provenance.json"
_ABOUT = "about.json"
_MEASURING: frozenset[TaskKind] = frozenset({"evaluate", "floor"})
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_LARGEST_FLOAT = 1.7976931348623157e308


@dataclass(frozen=True)
class Record:
    """One task's run: the done one, or else the newest."""

    status: Status
    metrics: Mapping[str, float] = field(default_factory=dict)
    """Last value of each metric."""
    curves: Mapping[str, Curve] = field(default_factory=dict)
    """Histories of `loss` and `loss_stage_*`, trainings only."""
    image: bytes | None = None
    """PNG of the sample grid, or of real images."""
    about: About = field(default_factory=About)
    """What the evaluator says of the metrics, evaluations and floors only."""
    provenance: Mapping[str, Any] = field(default_factory=dict)
    failure: str | None = None
    warning: str | None = None


MISSING = Record("missing")


def read_records(plan: PlanFile) -> dict[str, Record]:
    """Records by digest; a digest nothing was recorded for is absent.

    Raises: UserError if the tracking server or database cannot be reached.
    """
    check_reachable(plan.tracking_uri)
    try:
        client = MlflowClient(tracking_uri=plan.tracking_uri)
        kinds = plan.kinds
        chosen: dict[str, Any] = {}
        for run in _runs(client, plan.experiment):
            digest = run.data.tags.get(_DIGEST_TAG)
            if digest in kinds and (digest not in chosen or _rank(run) > _rank(chosen[digest])):
                chosen[digest] = run
        with tempfile.TemporaryDirectory() as scratch:
            return {
                digest: _record(client, run, kinds[digest], Path(scratch) / digest)
                for digest, run in sorted(chosen.items())
            }
    except (MlflowException, OSError, ImportError) as error:
        raise unreachable(plan.tracking_uri, str(error).partition("\n")[0]) from error


def _runs(client: MlflowClient, experiment: str) -> Iterator[Any]:
    found = client.get_experiment_by_name(experiment)
    token = None
    while found is not None:
        page = client.search_runs([found.experiment_id], max_results=1000, page_token=token)
        yield from page
        token = page.token
        if not token:
            return


def _rank(run: Any) -> tuple[bool, int, str]:
    """Done runs before others, then by age, then anything that is stable."""
    return run.data.tags.get(_STATUS_TAG) == "done", run.info.start_time or 0, run.info.run_id


def _record(client: MlflowClient, run: Any, kind: TaskKind, scratch: Path) -> Record:
    run_id, tags = run.info.run_id, run.data.tags
    metrics = {key: _as_logged(value) for key, value in sorted(run.data.metrics.items())}
    losses = [key for key in metrics if key == "loss" or key.startswith("loss_stage_")] if kind == "train" else []
    wanted = {_PROVENANCE, *([_IMAGES[kind]] if kind in _IMAGES else []), *([_ABOUT] if kind in _MEASURING else [])}
    files = {
        entry.path: Path(client.download_artifacts(run_id, entry.path, _fresh(scratch))).read_bytes()
        for entry in client.list_artifacts(run_id)
        if entry.path in wanted
    }
    image = files.get(_IMAGES.get(kind, ""))
    return Record(
        status=_status(run),
        metrics=metrics,
        curves={key: _newest_attempt(client.get_metric_history(run_id, key)) for key in losses},
        image=image if image is not None and image.startswith(_PNG_SIGNATURE) else None,
        about=parse_about(files.get(_ABOUT, b"{}")),
        provenance=json_object(files.get(_PROVENANCE, b"{}")) or {},
        failure=tags.get(_FAILURE_TAG) or None,
        warning=tags.get(_WARNING_TAG) or None,
    )


def _status(run: Any) -> Status:
    tag = run.data.tags.get(_STATUS_TAG)
    if tag == "done":
        return "done"
    # A process that was killed could not write its own tag.
    return "failed" if tag == "failed" or run.info.status in {"FAILED", "KILLED"} else "running"


def _newest_attempt(history: list[Any]) -> Curve:
    """One value for each step: after a resume, the one that was logged last."""
    newest: dict[int, Any] = {}
    for point in history:
        if point.step not in newest or point.timestamp >= newest[point.step].timestamp:
            newest[point.step] = point
    return tuple((step, _as_logged(point.value)) for step, point in sorted(newest.items()))


def _as_logged(value: float) -> float:
    """MLflow's databases store infinity as the largest float."""
    return value if abs(value) < _LARGEST_FLOAT or value != value else float("inf") * (1 if value > 0 else -1)


def _fresh(folder: Path) -> str:
    folder.mkdir(exist_ok=True)
    return str(folder)
