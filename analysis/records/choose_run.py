"""Which run speaks for a task, and what a reader has to know of the others. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

from analysis.plan.model import PublishedPlan
from analysis.records.record import Status
from analysis.tracking.history import Points
from analysis.tracking.run import KIND_TAG, STATUS_TAG, Run

_STATUSES = ("running", "done", "failed")
_MOST_NAMED = 3


def candidates(plan: PublishedPlan, runs: Iterable[Run]) -> dict[str, list[Run]]:
    """Runs by the digest in their tag, for digests of the plan, the one to be believed first.

    Done runs come before others, then newer ones before older, then anything that is stable; deleted ones are left out.
    """
    found: dict[str, list[Run]] = {digest: [] for digest in plan.kinds}
    for run in runs:
        if run.digest in found and not run.deleted:
            found[run.digest].append(run)
    return {digest: sorted(those, key=_rank, reverse=True) for digest, those in sorted(found.items()) if those}


def _rank(run: Run) -> tuple[bool, int, str]:
    return status_of(run) == "done", run.start_time or 0, run.run_id


def status_of(run: Run) -> Status:
    """Done only if the launcher's tag and MLflow's own status say so."""
    tag = run.tags.get(STATUS_TAG)
    if tag == "done" and run.status == "FINISHED":
        return "done"
    # A process that was killed could not write its own tag.
    return "failed" if tag == "failed" or run.status in {"FAILED", "KILLED"} else "running"


def status_notes(run: Run, kind: str) -> Iterator[str]:
    """Tags that the launcher does not write so: somebody changed them."""
    tag, said_kind = run.tags.get(STATUS_TAG), run.tags.get(KIND_TAG, kind)
    if tag is not None and tag not in _STATUSES:
        yield (
            f"{STATUS_TAG} of run {run.run_id} is {tag!r}, which the launcher never writes; it counts as "
            + status_of(run)
        )
    elif tag == "done" and status_of(run) != "done":
        yield (
            f"{STATUS_TAG} of run {run.run_id} is 'done', MLflow's own status {run.status}: one of them was changed by "
            f"hand; it counts as {status_of(run)}"
        )
    if said_kind != kind:
        yield f"{KIND_TAG} of run {run.run_id} is {said_kind!r}, its task is of kind {kind!r}: it was changed by hand"


def impostor_note(run: Run) -> str:
    """Why a run is not believed that carries a digest and did something else."""
    return (
        f"run {run.run_id} carries this task's digest, but its task.json says that it did something else: its tag was "
        "changed by hand; it is left out"
    )


def duplicate_note(plan: PublishedPlan, chosen: Run, others: Sequence[Run]) -> str:
    """Says that several finished runs claim one task, and where their numbers differ; empty if only one does."""
    finished = [run for run in others if status_of(run) == "done"]
    if status_of(chosen) != "done" or not finished:
        return ""
    named = [f"{run.run_id}{_differences(plan, chosen, run)}" for run in finished[:_MOST_NAMED]]
    more = f" and {len(finished) - _MOST_NAMED} more" if len(finished) > _MOST_NAMED else ""
    return (
        f"{len(finished) + 1} finished runs claim this task; the newest, {chosen.run_id}, counts alone. Left out: "
        f"{', '.join(named)}{more}"
    )


def _differences(plan: PublishedPlan, chosen: Run, other: Run) -> str:
    values = (
        (metric.name, other.metrics[metric.name], chosen.metrics.get(metric.name))
        for metric in plan.metrics
        if metric.name in other.metrics
    )
    texts = [
        f"{name} {was:.6g}, not {'none' if counts is None else format(counts, '.6g')}"
        for name, was, counts in values
        if counts is None or repr(was) != repr(counts)
    ]
    return f" ({'; '.join(texts)})" if texts else " (the same values)"


def deleted_notes(runs: Iterable[Run]) -> dict[str, str]:
    """Digest -> what to do about its runs that were deleted."""
    found: dict[str, list[str]] = {}
    for run in runs:
        if run.deleted and run.digest:
            found.setdefault(run.digest, []).append(run.run_id)
    return {
        digest: f"deleted in MLflow: run {', '.join(sorted(names))}; restore it there, or submit the sweep again, "
        "which records the task anew without computing it"
        for digest, names in found.items()
    }


def curve_notes(curves: Mapping[str, Points]) -> Iterator[str]:
    """Where a history is NaN or infinite."""
    for key, points in curves.items():
        broken = points.steps[~np.isfinite(points.values)]
        if len(broken):
            yield f"{key} is not finite at {len(broken):,} of {len(points):,} points, first at step {broken[0]:,}"


def strangers_note(plan: PublishedPlan, runs: Iterable[Run]) -> str:
    """Says that an experiment holds runs of no task of the plan; empty if it does not."""
    kinds = plan.kinds
    strangers = [run for run in runs if not run.deleted and run.digest not in kinds]
    if not strangers:
        return ""
    untagged = sum(not run.digest for run in strangers)
    count = f"{len(strangers):,} {'run' if len(strangers) == 1 else 'runs'} of the experiment"
    what = "of no task of this plan (an earlier version of the sweep or of the code)"
    lacking = f"; {untagged:,} of them without a {'dfm.digest'} tag" if untagged else ""
    return f"{count} {'is' if len(strangers) == 1 else 'are'} {what}{lacking}. No number here comes from them."
