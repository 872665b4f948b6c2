"""A launch with everything around it: cluster, heartbeat, budget, and what it cost in the end."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Callable

from orchestration.common.cleanup import always
from orchestration.common.exit_codes import EXIT_BUDGET_SPENT
from orchestration.common.wording import counted
from orchestration.control.end_signals import EndSignals
from orchestration.control.heartbeat_writer import DriverState, HeartbeatWriter
from orchestration.control.outcome import EarlyExit, Outcome, budget_spent, stop_requested
from orchestration.launch.launch_context import LaunchContext
from orchestration.launch.summary import compared_text, cost_text
from orchestration.launch.task_table import status_table
from orchestration.plan.estimate import Estimate
from orchestration.plan.plan import Plan

Launch = Callable[[LaunchContext, HeartbeatWriter, EndSignals, Callable[[], EarlyExit | None]], Plan]
"""Runs the tasks of a launch on a cluster, and returns the plan as it is in the end; see `launch_on_ray`."""


def run_within_budget(context: LaunchContext, estimate: Estimate, launch: Launch) -> None:
    """Run what is missing until it is done, its budget is spent, or somebody wants it to stop; fill in the outcome.

    Args: estimate: of the plan as it is at the start. launch: runs the tasks on a cluster.
    """
    limit, meter = context.workers.max_accelerator_hours, context.meter
    outcome, display = context.outcome, context.display
    if limit is not None and meter.is_spent:
        outcome.early_exit = budget_spent(meter, limit)  # not even Ray is started
        return
    heartbeat_writer = HeartbeatWriter(
        context.store,
        context.plan.spec.name,
        lambda: DriverState(
            display.progress(), dict(outcome.failed), dict(display.restarts), meter.spent, display.waiting
        ),
    )

    signals = EndSignals()

    def early_exit() -> EarlyExit | None:
        if signals.early_exit is not None:
            return signals.early_exit
        if heartbeat_writer.fenced is not None:
            return heartbeat_writer.fenced
        if heartbeat_writer.stop_requested:
            return stop_requested()
        return budget_spent(meter, limit) if limit is not None and meter.is_spent else None

    with signals:
        heartbeat_writer.start()
        try:
            with always(display.close):
                plan = launch(context, heartbeat_writer, signals, early_exit)
        finally:
            if limit is not None and outcome.early_exit and outcome.early_exit.exit_code == EXIT_BUDGET_SPENT:
                outcome.early_exit = budget_spent(meter, limit)  # with what stopping took
            heartbeat_writer.close(_describe(outcome))
    display.console.print(status_table(plan, outcome.states, verbose=context.verbose))
    if context.searches is None:
        print(compared_text(estimate, meter))
    else:
        print(f"{cost_text(meter, estimate.prices)}, trials that were proposed meanwhile among them.")


def launch_on_ray(
    context: LaunchContext,
    heartbeat_writer: HeartbeatWriter,
    signals: EndSignals,
    early_exit: Callable[[], EarlyExit | None],
) -> Plan:
    """Connect to Ray and run. Return the plan as it is in the end."""
    # Only here is Ray needed: a sweep that is done, or has spent its budget, ends without it.
    from orchestration.cluster.connection import cluster
    from orchestration.cluster.watch import ClusterWatch, places_of_this_driver
    from orchestration.launch.task_loop import Launcher

    cluster_lost = threading.Event()
    with (
        cluster(context.workers, cluster_lost) as view,
        ClusterWatch(places_of_this_driver(), view.look(), view.look) as watch,
    ):
        signals.listen()  # only now: Ray puts a SIGTERM handler of its own in the place of any that is there before
        context.display.say(f"Ray: {watch.capacity}")
        heartbeat_writer.phase = "running"
        launcher = Launcher(context, lambda: watch.capacity, lambda: watch.lost or early_exit())
        try:
            with context.searches.on_ray() if context.searches is not None else contextlib.nullcontext():
                return launcher.run()
        finally:
            if watch.lost:
                cluster_lost.set()


def _describe(outcome: Outcome) -> str:
    """Return how a launch ended, in a few words for `--status`."""
    error = sys.exc_info()[0]
    if error is not None:
        return "interrupted" if issubclass(error, KeyboardInterrupt) else f"with an error: {error.__name__}"
    if outcome.early_exit is not None:
        return f"stopped: {outcome.early_exit.reason}"
    return f"{counted(len(outcome.failed), 'task')} failed" if outcome.failed else "all is done"
