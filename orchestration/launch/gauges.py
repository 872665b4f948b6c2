"""Gauges of a running sweep, which Ray exports to Prometheus beside its own; docs/grafana_dashboard.json shows them.

All are set by the driver, and end with it. Each has the tag `sweep`; values are sums over what runs, but for the loss,
which has its training's title. Workers count the bytes of their checkpoints (`training/checkpoint_upload.py`).
"""

from __future__ import annotations

import time

from ray.util.metrics import Gauge

from orchestration.common.wording import ascii_text
from orchestration.control.budget_meter import HOUR
from orchestration.launch.launch_context import LaunchContext
from orchestration.launch.running_tasks import RunningTasks
from orchestration.tasks.task import TrainingTask

_SECONDS = 2.0
"""Time between two looks; Ray exports every 10 s."""
GAUGES = {
    "dfm_steps_per_second": "Training steps a second, of all trainings that run",
    "dfm_images_per_second": "Images, or units of other work, a second, of all evaluators",
    "dfm_loss": "Newest loss of a training",
    "dfm_tasks": "Tasks by state: waiting, running, done or failed",
    "dfm_accelerators_held": "GPUs, or CPU workers where there is none, that trainings and evaluators hold",
    "dfm_accelerators_idle": "Those among them without work",
    "dfm_accelerator_hours": "Accelerator-hours that the sweep has held, earlier submissions included",
}
"""Description by name; Prometheus has the names with the prefix `ray_`."""
_TAGS = {"dfm_loss": ("sweep", "training"), "dfm_tasks": ("sweep", "state")}


class SweepGauges:
    """The gauges of one launch; needs a connected Ray."""

    def __init__(self, context: LaunchContext, running: RunningTasks) -> None:
        self._context, self._running = context, running
        self._gauges = {name: Gauge(name, about, _TAGS.get(name, ("sweep",))) for name, about in GAUGES.items()}
        for gauge in self._gauges.values():
            gauge.set_default_tags({"sweep": context.plan.spec.name})
        self._next_look = 0.0

    def show(self, num_waiting: int) -> None:
        """Set all gauges, unless that was a moment ago. Args: num_waiting: tasks that have not begun."""
        if time.monotonic() < self._next_look:
            return
        self._next_look = time.monotonic() + _SECONDS
        context, running = self._context, self._running
        rates = {"dfm_steps_per_second": 0.0, "dfm_images_per_second": 0.0}
        for task, rate, loss in context.display.rates():
            rates["dfm_steps_per_second" if isinstance(task, TrainingTask) else "dfm_images_per_second"] += rate
            if loss is not None:
                self._gauges["dfm_loss"].set(loss, {"training": ascii_text(task.title)})  # Ray takes no others
        held, idle = running.accelerators(context.workers)
        outcome = context.outcome
        values = {
            **rates,
            "dfm_accelerators_held": held,
            "dfm_accelerators_idle": idle,
            "dfm_accelerator_hours": context.meter.spent / HOUR,
        }
        for name, value in values.items():
            self._gauges[name].set(value)
        num_running = len(running.trainings) + len(running.measured)
        counts = {"waiting": num_waiting, "running": num_running, "done": len(outcome.done)}
        for state, count in {**counts, "failed": len(outcome.failed)}.items():
            self._gauges["dfm_tasks"].set(count, {"state": state})
