"""A sweep's root held against the undisturbed one: records, final checkpoints, MLflow's runs, and the table."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mlflow import MlflowClient

from tests.support.sweeps import numbers

_COSTS = ("work/", "images_per_second", "data_wait_ms", "host_memory", "tflops")
"""Beginnings of metrics that say how fast a machine was."""


def differences(undisturbed: Path, root: Path, tracking: str) -> list[str]:
    """Return what a sweep left that the undisturbed one did not, or the other way round; nothing if all is well."""
    found = []
    pairs = {
        "records": (_records(undisturbed), _records(root)),
        "checkpoints": (_final_checkpoints(undisturbed), _final_checkpoints(root)),
        "runs": (_runs(f"sqlite:///{undisturbed}/mlflow.db"), _runs(tracking)),
    }
    for what, (ours, theirs) in pairs.items():
        unequal = [key for key in sorted(ours.keys() | theirs.keys()) if ours.get(key) != theirs.get(key)]
        found += [f"{what}: {key}: {theirs.get(key)} instead of {ours.get(key)}" for key in unequal]
    if numbers(undisturbed) != numbers(root):
        found.append(f"the table: {numbers(root)} instead of {numbers(undisturbed)}")
    return found


def _records(root: Path) -> dict[str, Any]:
    """Return what the tasks found, less what they cost and how fast they were."""
    found = {}
    for path in root.glob("results/*/result.json"):
        record = json.loads(path.read_text())
        metrics = {
            name: value
            for name, value in record["metrics"].items()
            if "second" not in name and name != "network_evaluations"  # features that are kept are not sampled again
        }
        found[record["digest"]] = (record["kind"], record["step"], metrics, record["curve"])
    return found


def _final_checkpoints(root: Path) -> dict[str, list[str]]:
    """Return sha256 of the shards of each training's last checkpoint."""
    found = {}
    for training in root.glob("checkpoints/*"):
        last = max(training.glob("step-*/manifest.json"))
        found[f"{training.name}/{last.parent.name}"] = [f["sha256"] for f in json.loads(last.read_text())["files"]]
    return found


def _runs(tracking: str) -> dict[str, Any]:
    """Return MLflow's runs by digest: how many there are, and their metrics, less costs."""
    client = MlflowClient(tracking_uri=tracking)
    experiment = client.get_experiment_by_name("quickstart")
    assert experiment is not None, "nothing was tracked"
    found: dict[str, Any] = {}
    for one in client.search_runs([experiment.experiment_id], max_results=1000):
        tags, metrics = one.data.tags, one.data.metrics
        quality = {name: value for name, value in metrics.items() if not name.startswith(_COSTS)}
        found.setdefault(tags.get("dfm.digest", "no digest"), []).append((tags.get("dfm.status"), quality))
    return found
