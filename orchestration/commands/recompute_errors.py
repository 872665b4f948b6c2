"""`--errors`: the errors of measured numbers, computed anew from stored features, without training or sampling."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace

from tqdm import tqdm

from orchestration.artifacts.recorded_errors import has_current_errors
from orchestration.artifacts.samples.features import LostFeaturesError
from orchestration.artifacts.task_record import TaskRecord
from orchestration.common.wording import counted
from orchestration.config.runtime import RuntimeConfig
from orchestration.evaluation.jobs import errors_job, run_job
from orchestration.evaluation.messages import JobContext
from orchestration.evaluation.worker import Evaluator
from orchestration.plan.plan import Plan
from orchestration.storage.store import DamagedArtifactError, Store
from orchestration.tasks.task import MetricTask


def recompute_errors(plan: Plan, done: Mapping[str, TaskRecord], store: Store) -> str:
    """Write the errors of all finished measurements that have those of an earlier version, in this process.

    Returns: what was done, and what could not be, for people.
    """
    measured = [task for task in plan.tasks.values() if isinstance(task, MetricTask) and task.digest in done]
    earlier = [task for task in measured if not has_current_errors(done[task.digest])]
    if not earlier:
        return f"{counted(len(measured), 'record')}: all have errors of this version."
    runtime: RuntimeConfig = plan.spec.runtime
    runtime = replace(
        runtime, workers=replace(runtime.workers, cpus_per_worker=os.cpu_count() or 1, gpus_per_evaluator=0.0)
    )
    evaluator, failed = Evaluator(store.root, store.options, runtime, ""), dict[str, str]()
    context = JobContext(
        store=store,
        keep_features=runtime.workers.keep_features,
        keep_samples=False,
        clock=lambda: 0.0,
        reached=lambda *_: None,
        failed=lambda task, reason: failed.update({f"{task.kind} {task.title}": reason}),
    )
    for task in tqdm(earlier, desc="errors", leave=False, disable=None):
        try:
            run_job(errors_job(task, context), evaluator)
        except (LostFeaturesError, DamagedArtifactError, ValueError) as error:
            context.failed(task, str(error))
    lines = [f"{name}: keeps its errors of an earlier version ({reason})" for name, reason in failed.items()]
    return "\n".join([f"{counted(len(earlier) - len(failed), 'record')}: errors computed anew.", *lines])
