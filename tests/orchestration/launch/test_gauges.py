"""Gauges of a sweep, read from Ray's own endpoint for Prometheus."""

from __future__ import annotations

import json
import re
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import ray

from orchestration.artifacts.task_record import TaskRecord
from orchestration.config.workers import WorkersConfig
from orchestration.control.budget_meter import HOUR, BudgetMeter
from orchestration.control.outcome import Outcome
from orchestration.launch.gauges import GAUGES, SweepGauges
from orchestration.launch.launch_context import LaunchContext
from orchestration.launch.progress_display import Display
from orchestration.launch.running_tasks import RunningTasks
from orchestration.storage.store import Store
from orchestration.tasks.task import EvaluateTask, TrainTask
from tests.support.stored_sweeps import tiny_plan

DASHBOARD = Path(__file__).resolve().parents[3] / "docs" / "grafana_dashboard.json"
_COUNTED_BY_WORKERS = "dfm_checkpoint_bytes_total"


def test_the_dashboard_shows_every_gauge_and_no_other() -> None:
    panels = json.loads(DASHBOARD.read_text())["panels"]
    expressions = " ".join(target["expr"] for panel in panels for target in panel["targets"])
    assert set(re.findall(r"ray_(dfm_\w+)", expressions)) == {*GAUGES, _COUNTED_BY_WORKERS}
    assert len({panel["id"] for panel in panels}) == len(panels)


@pytest.mark.usefixtures("ray_here")
def test_ray_exports_what_the_driver_sees(store: Store) -> None:
    plan = tiny_plan()
    train, evaluate = plan.of_kind(TrainTask)[0], plan.of_kind(EvaluateTask)[0]
    train = replace(train, title="dfm, p₀ 0.7, seed=0")  # Ray takes no tags but those in ASCII
    display = Display()
    for task in (train, evaluate):
        display.started(task, task.total_units)
    display.loss(train.digest, 0.25)
    outcome = Outcome(cast("dict[str, TaskRecord]", {"a": None, "b": None, "c": None}), failed={"d": "why"})
    meter = BudgetMeter({"a": 2 * HOUR}, WorkersConfig())
    context = LaunchContext(plan, store, outcome, cast("Any", None), display, meter)
    groups = cast("Any", SimpleNamespace(num_open=3, num_idle=1))
    pool = cast("Any", SimpleNamespace(num_evaluators=4, num_idle=2))
    running = RunningTasks(groups, pool, {cast("Any", 0): train}, {evaluate.digest: evaluate})
    SweepGauges(context, running).show(num_waiting=7)
    sweep = f'sweep="{plan.spec.name}"'
    workers = plan.spec.runtime.workers.num_workers
    for line, value in {
        f"ray_dfm_accelerators_held {sweep}": 3 * workers + 4,
        f"ray_dfm_accelerators_idle {sweep}": workers + 2,
        f"ray_dfm_accelerator_hours {sweep}": 2,
        f'ray_dfm_tasks {sweep} state="waiting"': 7,
        f'ray_dfm_tasks {sweep} state="running"': 2,
        f'ray_dfm_tasks {sweep} state="done"': 3,
        f'ray_dfm_tasks {sweep} state="failed"': 1,
        f'ray_dfm_loss {sweep} training="dfm, p0 0.7, seed=0"': 0.25,
        f"ray_dfm_steps_per_second {sweep}": 0,
    }.items():
        assert _exported(line.split()) == value, line


def _exported(parts: list[str], seconds: float = 60.0) -> float:
    """The value of the one sample whose line has all the parts, as soon as Ray exports it."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        lines = [line for line in _samples() if all(part in line for part in parts)]
        if lines:
            (line,) = lines
            return float(line.rpartition(" ")[2])
        time.sleep(1)
    raise AssertionError(f"{parts} was not exported")


def _samples() -> Iterator[str]:
    (node,) = ray.nodes()
    with urllib.request.urlopen(f"http://127.0.0.1:{node['MetricsExportPort']}/metrics", timeout=60) as answer:
        yield from answer.read().decode().splitlines()
