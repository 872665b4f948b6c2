"""A launch with everything around it: cluster, display, heartbeat, budget, and what it cost in the end."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from orchestration.common.exit_codes import EXIT_BUDGET_SPENT
from orchestration.control.budget_meter import BudgetMeter
from orchestration.control.heartbeat_writer import DriverState, HeartbeatWriter
from orchestration.control.outcome import EarlyExit, Outcome, budget_spent, stop_requested
from orchestration.control.sigterm import terminated, termination
from orchestration.control.single_driver import another_runs
from orchestration.launch.progress_display import Display
from orchestration.launch.summary import compared_text, cost_text
from orchestration.launch.task_table import status_table
from orchestration.plan.estimate import estimate_from
from orchestration.plan.plan import Plan
from orchestration.plan.progress import Progress
from orchestration.storage.store import Store

if TYPE_CHECKING:
    from orchestration.search.searches import Searches
    from orchestration.tracking.tracker import TaskTracker


def run_within_budget(
    plan: Plan,
    outcome: Outcome,
    store: Store,
    tracker: TaskTracker,
    stands: Progress,
    searches: Searches | None = None,
) -> None:
    """Runs what is missing until it is done, its budget is spent, or somebody wants it to stop; fills `outcome` in.

    Args: searches: that the plan grows by, if there are any.
    """
    limit = plan.spec.runtime.workers.max_accelerator_hours
    meter = BudgetMeter(stands.seconds, plan.spec.runtime.workers, counted=stands.counted)
    if limit is not None and meter.is_spent:
        outcome.ending = budget_spent(meter, limit)  # not even Ray is started
        return
    estimated = estimate_from(store, plan, outcome.done, stands)
    display = Display()
    pulse = HeartbeatWriter(
        store,
        plan.spec.name,
        lambda: DriverState(display.progress(), dict(outcome.failed), dict(display.restarts), meter.spent),
    )

    def wanted_end() -> EarlyExit | None:
        if pulse.gave_way_to:
            return another_runs(pulse.gave_way_to)
        if pulse.stop_requested:
            return stop_requested()
        return budget_spent(meter, limit) if limit is not None and meter.is_spent else None

    pulse.start()
    try:
        _launch(plan, outcome, store, tracker, display, meter, pulse, wanted_end, searches)
    finally:
        if outcome.ending is not None and outcome.ending.exit_code == EXIT_BUDGET_SPENT and limit is not None:
            outcome.ending = budget_spent(meter, limit)  # with what stopping took
        display.close()
        pulse.close(_ended(outcome))
    display.console.print(status_table(plan if searches is None else searches.plan, outcome.states))
    if searches is None:
        print(compared_text(estimated, meter.in_this_launch))
    else:
        print(f"{cost_text(meter.in_this_launch)}, trials that were proposed meanwhile among them.")


def _launch(
    plan: Plan,
    outcome: Outcome,
    store: Store,
    tracker: TaskTracker,
    display: Display,
    meter: BudgetMeter,
    pulse: HeartbeatWriter,
    wanted_end: Callable[[], EarlyExit | None],
    searches: Searches | None,
) -> None:
    # Only here is Ray needed: a sweep that is done, or has spent its budget, ends without it.
    from orchestration.cluster.connection import cluster
    from orchestration.cluster.watch import ClusterWatch, places_of_this_driver
    from orchestration.launch.task_loop import Launcher

    # Inside: Ray puts a handler of its own in the place of any that is there when it starts.
    lost = threading.Event()
    with (
        cluster(plan.spec.runtime.workers, lost) as capacity,
        termination() as asked_to_end,
        ClusterWatch(places_of_this_driver(), capacity) as watch,
    ):
        display.say(f"Ray: {capacity}")
        pulse.phase = "running"
        launcher = Launcher(
            plan,
            outcome,
            store,
            tracker,
            lambda: watch.capacity,
            display,
            meter,
            lambda: watch.lost or (terminated() if asked_to_end() else wanted_end()),
        )
        if searches is not None:
            launcher.grows_by(searches.advance)
        launcher.run()
        if watch.lost:
            lost.set()


def _ended(outcome: Outcome) -> str:
    """How a launch ended, in a few words for `--status`."""
    error = sys.exc_info()[0]
    if error is not None:
        return "interrupted" if issubclass(error, KeyboardInterrupt) else f"with an error: {error.__name__}"
    if outcome.ending is not None:
        return f"stopped: {outcome.ending.reason}"
    return f"{len(outcome.failed)} tasks failed" if outcome.failed else "all is done"
