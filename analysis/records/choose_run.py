"""The run that speaks for a task, and notes on the others and on what differs from the task's record. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

from analysis.contract.record_schema import COST_PREFIX
from analysis.plan.model import PublishedPlan
from analysis.records.record import Record, Status
from analysis.tracking.history import MetricHistory
from analysis.tracking.run import KIND_TAG, STATUS_TAG, Run

_STATUSES = ("running", "done", "failed")
_MOST_NAMED = 3


def candidates(plan: PublishedPlan, runs: Iterable[Run], complete: Mapping[str, Record]) -> dict[str, list[Run]]:
    """Return runs by the digest in their tag, for digests of the plan, the one to be believed first.

    Done runs come before others, those that say what the task's record says before others, then newer ones before
    older, then anything that is stable; deleted ones are left out.

    Args: complete: the records of done tasks.
    """
    claims: dict[str, list[Run]] = {digest: [] for digest in plan.kinds}
    for run in runs:
        if run.digest in claims and not run.deleted:
            claims[run.digest].append(run)

    def rank(run: Run) -> tuple[bool, bool, int, str]:
        record = complete.get(run.digest)
        agrees = record is not None and not differences(record.metrics, metrics_of(run))
        return status_of(run) == "done", agrees, run.start_time or 0, run.run_id

    return {digest: sorted(those, key=rank, reverse=True) for digest, those in sorted(claims.items()) if those}


def metrics_of(run: Run) -> dict[str, float]:
    """Return a run's last values under the names that records have."""
    return {key.removeprefix(COST_PREFIX): value for key, value in sorted(run.metrics.items())}


def differences(counts: Mapping[str, float], other: Mapping[str, float]) -> dict[str, float | None]:
    """Return what another source says of the metrics that count, where that differs; None: it does not have one."""
    return {
        name: other.get(name) for name, value in counts.items() if name not in other or repr(other[name]) != repr(value)
    }


def disagreement_note(run: Run, record: Record) -> str:
    """Return why the task's record stands against its run; empty if they agree."""
    if status_of(run) != "done":
        return f"run {run.run_id} is {status_of(run)} in MLflow; the task's record is complete and stands"
    differing = differences(record.metrics, metrics_of(run))
    texts = [f"{name} {_shown(other)}, not {record.metrics[name]:.6g}" for name, other in differing.items()]
    more = [f"and {len(texts) - _MOST_NAMED} more"] if len(texts) > _MOST_NAMED else []
    listed = "; ".join(texts[:_MOST_NAMED] + more)
    return f"run {run.run_id} differs from the task's record, which stands: {listed}" if texts else ""


def _shown(value: float | None) -> str:
    return "none" if value is None else f"{value:.6g}"


def status_of(run: Run) -> Status:
    """Return done only if the launcher's tag and MLflow's own status say so."""
    tag = run.tags.get(STATUS_TAG)
    if tag == "done" and run.status == "FINISHED":
        return "done"
    # A process that was killed could not write its own tag.
    return "failed" if tag == "failed" or run.status in {"FAILED", "KILLED"} else "running"


def status_notes(run: Run, kind: str) -> Iterator[str]:
    """Yield what is odd of tags that the launcher does not write so: somebody changed them."""
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
    """Return why a run is not believed that carries a digest and did something else."""
    return (
        f"run {run.run_id} carries this task's digest, but its task.json says that it did something else: its tag was "
        "changed by hand; it is left out"
    )


def duplicate_note(plan: PublishedPlan, chosen: Run, others: Sequence[Run]) -> str:
    """Return that several finished runs claim one task, and where their numbers differ; empty if only one does."""
    finished = [run for run in others if status_of(run) == "done"]
    if status_of(chosen) != "done" or not finished:
        return ""
    named = [f"{run.run_id}{_differences(plan, chosen, run)}" for run in finished[:_MOST_NAMED]]
    more = f" and {len(finished) - _MOST_NAMED} more" if len(finished) > _MOST_NAMED else ""
    why = "the newest" if (chosen.start_time or 0) >= max(run.start_time or 0 for run in finished) else "as recorded"
    return (
        f"{len(finished) + 1} finished runs claim this task; {why}, {chosen.run_id}, counts alone. Left out: "
        f"{', '.join(named)}{more}"
    )


def _differences(plan: PublishedPlan, chosen: Run, other: Run) -> str:
    planned = {metric.name: other.metrics[metric.name] for metric in plan.metrics if metric.name in other.metrics}
    differing = differences(planned, chosen.metrics)
    texts = [f"{name} {planned[name]:.6g}, not {_shown(counts)}" for name, counts in differing.items()]
    return f" ({'; '.join(texts)})" if texts else " (the same values)"


def deleted_notes(runs: Iterable[Run], complete: Mapping[str, Record]) -> dict[str, str]:
    """Return by digest what to do about its runs that were deleted.

    Args: complete: the records of done tasks.
    """
    deleted: dict[str, list[str]] = {}
    for run in runs:
        if run.deleted and run.digest:
            deleted.setdefault(run.digest, []).append(run.run_id)
    return {
        digest: f"deleted in MLflow: run {', '.join(sorted(names))}; restore it there, or submit the sweep again, "
        "which records the task anew without computing it" + "; the task's record stands" * (digest in complete)
        for digest, names in deleted.items()
    }


def absent_note(records: Mapping[str, Record], runs: Iterable[Run]) -> str:
    """Return that done tasks have no run, not even one that was deleted; empty if all have."""
    known = {run.digest for run in runs}
    count = sum(record.status == "done" and digest not in known for digest, record in records.items())
    what = "1 task has a record" if count == 1 else f"{count:,} tasks have records"
    return f"{what} and no run in MLflow; the records stand. Submit the sweep again to fill MLflow." if count else ""


def curve_notes(curves: Mapping[str, MetricHistory]) -> Iterator[str]:
    """Yield where a history is NaN or infinite, as `sound_curves` makes what is too large."""
    for key, curve in curves.items():
        broken = curve.steps[~np.isfinite(curve.values)]
        if len(broken):
            yield f"{key} is not finite at {len(broken):,} of {len(curve):,} points, first at step {broken[0]:,}"


def strangers_note(plan: PublishedPlan, runs: Iterable[Run]) -> str:
    """Return that an experiment holds runs of no task of the plan; empty if it does not."""
    kinds = plan.kinds
    strangers = [run for run in runs if not run.deleted and run.digest not in kinds]
    if not strangers:
        return ""
    untagged = sum(not run.digest for run in strangers)
    count = f"{len(strangers):,} {'run' if len(strangers) == 1 else 'runs'} of the experiment"
    what = "of no task of this plan (an earlier version of the sweep or of the code)"
    lacking = f"; {untagged:,} of them without a {'dfm.digest'} tag" if untagged else ""
    return f"{count} {'is' if len(strangers) == 1 else 'are'} {what}{lacking}. No number here comes from them."
