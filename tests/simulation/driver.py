"""A driver: one submission of a sweep, by the product's own code from its first read to its exit code."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from orchestration.commands import sweep_modes
from orchestration.common.errors import UserError
from orchestration.common.exit_codes import EXIT_SECOND_DRIVER, EXIT_USER_ERROR
from orchestration.control import single_driver
from orchestration.control.end_signals import EndSignals
from orchestration.control.heartbeat_writer import HeartbeatWriter
from orchestration.control.outcome import EarlyExit
from orchestration.launch import run_sweep
from orchestration.launch.launch_context import LaunchContext
from orchestration.launch.progress_display import Display
from orchestration.launch.task_loop import Launcher
from orchestration.plan.estimate import Estimate
from orchestration.plan.plan import Plan
from orchestration.plan.plan_json import plan_json
from orchestration.search.searches import open_searches
from orchestration.spec.load import SweepSpec
from orchestration.spec.search.trial import SearchTrial
from orchestration.storage.layout import plan_file
from orchestration.storage.retry import RetryPolicy, StorageUnavailableError
from orchestration.storage.store import Store
from orchestration.tracking.async_tracker import TrackingQueue
from orchestration.tracking.mlflow_tracker import Tracker
from tests.simulation.kernel import Process, current
from tests.simulation.stored_objects import ROOT

_PLANNING, _RUNNING = RetryPolicy(15.0, 15.0), RetryPolicy(60.0, 600.0)
PROVENANCE = {"source": {"git_commit": "abc", "uncommitted_diff": ""}}
_SILENT: Any = SimpleNamespace(is_terminal=False, print=lambda *_texts, **_options: None)


class Driver:
    """One submission in a process of its own."""

    def __init__(self, spec: SweepSpec, process: Process) -> None:
        self.spec, self.process = spec, process
        self.exit_code: int | None = None
        """None: it was killed, or still runs."""
        self.problem = ""
        """Last words, for exit code 2."""
        self.signals: EndSignals | None = None
        self.plan: Plan | None = None
        """Plan in the end."""
        self.trials: list[SearchTrial] = []
        """Trials of searches in the end."""
        self.failed: dict[str, str] = {}
        """Reasons of tasks that failed, by digest."""

    def run(self) -> None:
        try:
            self.exit_code = self._submit()
        except (UserError, StorageUnavailableError, PermissionError) as error:
            self.exit_code, self.problem = EXIT_USER_ERROR, f"{type(error).__name__}: {error}"

    def _submit(self) -> int:
        patient, store = Store(ROOT, {}, _PLANNING), Store(ROOT, {}, _RUNNING)
        try:
            planned, _ = sweep_modes.take_over(sweep_modes.read_sweep(self.spec, patient))
        except single_driver.SecondDriverError:
            return EXIT_SECOND_DRIVER
        tracker = TrackingQueue(Tracker("simulated", self.spec.name, store, PROVENANCE))

        def publish(one: Plan) -> None:
            current().invariants.learn(one)  # type: ignore[attr-defined]
            store.write(plan_file(one.spec.name), _document(one))

        searches = None
        if self.spec.searches:
            searches = open_searches(self.spec, planned.plan, store, tracker, publish, {}, lambda _text: None)
        self.plan, outcome = run_sweep.compute_missing(
            planned.plan,
            planned.done,
            store,
            planned.progress,
            NO_ESTIMATE,
            tracker,
            publish,
            searches,
            display=Display(_SILENT),
            launch=self._launch,
        )
        self.failed = dict(outcome.failed)
        if outcome.early_exit is None or not outcome.early_exit.is_fenced:
            tracker.flush()
        self.trials = [] if searches is None else [one for trials in searches.trials().values() for one in trials]
        return run_sweep.exit_code_of(outcome, searches, tracker)

    def _launch(
        self,
        context: LaunchContext,
        heartbeat_writer: HeartbeatWriter,
        signals: EndSignals,
        early_exit: Callable[[], EarlyExit | None],
    ) -> Plan:
        cluster = current().cluster  # type: ignore[attr-defined]
        self.signals, heartbeat_writer.phase = signals, "running"
        return Launcher(context, lambda: cluster.capacity, early_exit).run()


NO_ESTIMATE = Estimate(0, 0.0, 0.0, 0, 0.0, "none")
_DOCUMENTS: dict[int, tuple[Plan, bytes]] = {}


def _document(plan: Plan) -> bytes:
    """Return a plan as it is published; of plans that all worlds share it is made once."""
    if plan.spec.searches:
        return plan_json(plan, "simulated").encode()
    if id(plan) not in _DOCUMENTS:
        _DOCUMENTS[id(plan)] = (plan, plan_json(plan, "simulated").encode())
    return _DOCUMENTS[id(plan)][1]
