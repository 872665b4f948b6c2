"""The best snapshot of each part as a version of a model in MLflow's registry, with a signature."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")

import mlflow.pyfunc
import numpy as np
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.models import ModelSignature
from mlflow.types import ParamSchema, ParamSpec, Schema, TensorSpec

from dfm_core.config.dataset_card import card_of
from dfm_core.training.state import write_snapshot_files
from orchestration.artifacts.snapshot_loader import read_snapshot
from orchestration.common.project import ROOT
from orchestration.plan.best_snapshot import BestSnapshot
from orchestration.plan.plan import Plan
from orchestration.storage.scratch import scratch_folder
from orchestration.storage.store import DamagedArtifactError, Store
from orchestration.tasks.task import EvaluateTask
from orchestration.tracking.limits import MAX_NAME, storable

ALIAS = "best"
_EVALUATION = "dfm.evaluation"
_CODE = Path(__file__).with_name("registered_model.py")
_NOT_IN_NAMES = re.compile(r"[^\w .()=,+-]+")
_NEEDS = ["torch", "safetensors", "numpy", "scipy", "pillow", "pydantic", "annotated-types", "tqdm", "pywavelets"]
"""Dependencies of dfm_core, whose source travels with the model."""


class ModelRegistry:
    """The registry of a tracking server or database."""

    def __init__(self, uri: str, store: Store) -> None:
        self._client = MlflowClient(tracking_uri=uri, registry_uri=uri)
        self._store = store

    def register(self, plan: Plan, snapshots: Iterable[BestSnapshot]) -> list[str]:
        """Register the best snapshot of each part, unless it is registered already.

        Returns: a line for each part, for people; failures are in it, and none is raised.
        """
        lines = []
        for best in snapshots:
            try:
                lines.append(self._register(plan, best))
            except (MlflowException, DamagedArtifactError, FileNotFoundError, OSError) as error:
                reason = str(error).partition("\n")[0]
                lines.append(f"{best.part}: not registered ({reason}); submit again to try again")
        return lines

    def _register(self, plan: Plan, best: BestSnapshot) -> str:
        task = _evaluation(plan, best)
        name = storable(_NOT_IN_NAMES.sub("-", f"{plan.spec.name} {best.part}"), MAX_NAME)
        if len(task.snapshots) != 1:
            return f"{name}: not registered, its best row has a network for each stage"
        if self._registered(name) == task.digest:
            return f"{name}: {best.row} @ {best.step} is registered already"
        experiment = self._client.get_experiment_by_name(plan.spec.name)
        runs = self._client.search_runs([experiment.experiment_id], f"tags.`dfm.digest` = '{task.digest}'")
        if not runs:
            return f"{name}: not registered, MLflow has no run of {best.row} @ {best.step}; submit again to try again"
        run_id = runs[0].info.run_id
        with scratch_folder("model") as scratch:
            self._save(task, scratch)
            self._client.log_artifacts(run_id, f"{scratch}/model", "model")
        if not self._client.search_registered_models(f"name = '{name}'"):
            self._client.create_registered_model(name, description=f"Best snapshots of {plan.spec.title}, {best.part}")
        tags = {_EVALUATION: task.digest, "dfm.training": task.snapshots[0][0], "row": best.row, "step": str(best.step)}
        tags[best.metric] = f"{best.value:.6g}"
        version = self._client.create_model_version(name, f"runs:/{run_id}/model", run_id, tags=tags)
        self._client.set_registered_model_alias(name, ALIAS, version.version)
        return f"{name}: version {version.version} is {best.row} @ {best.step}, {best.metric} {best.value:.6g}"

    def _registered(self, name: str) -> str | None:
        """Return the digest of the evaluation whose snapshot is registered as the best."""
        try:
            digest: str | None = self._client.get_model_version_by_alias(name, ALIAS).tags.get(_EVALUATION)
        except MlflowException:  # no such model, or no such alias
            return None
        return digest

    def _save(self, task: EvaluateTask, scratch: Path) -> None:
        """Write snapshot, whole, and sampling settings of an evaluation as MLflow's model into scratch/model."""
        sampling, directory = task.config.sampling, scratch / "snapshot"
        loaded = read_snapshot(self._store, task.snapshots[0], sampling.weights)
        config = replace(loaded.config, sampling=sampling)
        write_snapshot_files(loaded.model.state_dict(), config, loaded.card, directory, loaded.pyramid)
        mlflow.pyfunc.save_model(
            f"{scratch}/model",
            python_model=str(_CODE),
            artifacts={"snapshot": str(directory)},
            code_paths=[str(ROOT / "dfm_core")],
            pip_requirements=_NEEDS,
            signature=_signature(task),
        )


def _evaluation(plan: Plan, best: BestSnapshot) -> EvaluateTask:
    """Return the evaluation of the row's first seed."""
    trials = (trial for trial in plan.trials if (trial.part, trial.row) == (best.part, best.row))
    return plan.evaluation(dict(next(trials).evaluations)[best.step])


def _signature(task: EvaluateTask) -> ModelSignature:
    card = card_of(task.config.data)
    sides = card.shape.of_scale(card.shape.channels, card.resolution)
    return ModelSignature(
        inputs=Schema([TensorSpec(np.dtype(np.int64), (-1,))]),
        outputs=Schema([TensorSpec(np.dtype(np.float32), (-1, *sides))]),
        params=ParamSchema([ParamSpec("seed", "long", 0)]),
    )
