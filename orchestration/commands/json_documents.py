"""Plan and status as JSON, for programs: `--dry-run --json` and `--status --json`."""

from __future__ import annotations

import json
from collections.abc import Container, Sequence
from typing import Any

from orchestration.commands.status import SweepStatus
from orchestration.common.errors import Problem
from orchestration.common.redaction import without_credentials
from orchestration.plan.estimate import Estimate
from orchestration.plan.plan import Plan


def plan_document(plan: Plan, done: Container[str], estimate: Estimate, missing: Sequence[Problem]) -> str:
    """Return the plan: rows with their tasks, each task with its state, what is left and what it is likely to cost.

    Args: missing: what would stop the sweep here before it starts anything.
    """
    states = {digest: "done" if digest in done else "to do" for digest in plan.tasks}
    return _text(
        {
            **_common(plan, states),
            "left": _estimate(estimate),
            "missing": [{"where": problem.where, "message": problem.message} for problem in missing],
        }
    )


def status_document(plan: Plan, status: SweepStatus) -> str:
    """Return the plan as `plan_document` does, with the states of its tasks, the driver's, and what was spent."""
    return _text(
        {
            **_common(plan, {digest: status.states.get(digest, "to do") for digest in plan.tasks}),
            "driver": status.driver,
            "counts": dict(status.counts),
            "restarts": dict(status.restarts),
            "waiting": list(status.waiting),
            "best": list(status.best),
            "spent_accelerator_seconds": status.accelerator_seconds,
            "left": _estimate(status.left),
        }
    )


def _common(plan: Plan, states: dict[str, str]) -> dict[str, Any]:
    return {
        "sweep": plan.spec.name,
        "storage_root": without_credentials(plan.spec.runtime.storage.root),
        "rows": [
            {
                "part": trial.part,
                "row": trial.row,
                "seed": trial.seed,
                "trainings": list(trial.trains),
                "evaluations": {str(step): digest for step, digest in trial.evaluations},
            }
            for trial in plan.trials
        ],
        "tasks": {
            digest: {"kind": task.kind, "title": task.title, "state": states[digest], "inputs": list(task.inputs)}
            for digest, task in plan.tasks.items()
        },
    }


def _estimate(estimate: Estimate) -> dict[str, Any]:
    return {
        "tasks": estimate.num_tasks,
        "training_flops": estimate.training_flops,
        "sampling_flops": estimate.sampling_flops,
        "bytes": estimate.num_bytes,
        "accelerator_seconds": estimate.accelerator_seconds,
        "basis": estimate.basis,
    }


def _text(document: dict[str, Any]) -> str:
    return json.dumps(document, indent=1, allow_nan=False)
