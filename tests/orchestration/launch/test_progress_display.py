"""What the user sees: bars in a terminal, plain lines in a log."""

from __future__ import annotations

import io
import time

import pytest
from rich.console import Console

from orchestration.launch.progress_display import Display
from orchestration.launch.task_table import status_table
from orchestration.plan.plan import Plan, make_plan
from orchestration.spec.load import load_sweep
from orchestration.tasks.task import EvaluateTask, TrainTask
from tests.orchestration.conftest import QUICKSTART


@pytest.fixture(scope="module")
def plan() -> Plan:
    return make_plan(load_sweep(QUICKSTART))


def shown(plan: Plan, *, terminal: bool) -> str:
    output = io.StringIO()
    display = Display(Console(file=output, force_terminal=terminal, width=120, soft_wrap=True))
    task = plan.of_kind(TrainTask)[0]
    display.started(task, 800)
    display.loss(task.digest, 0.25)
    display.reached(task.digest, 100)
    display.reached(task.digest, 200)
    if terminal:
        time.sleep(0.3)  # bars are drawn ten times a second
    display.retried(task.digest, "worker 1: RuntimeError: peer is gone\nmore")
    display.ended(task, "done")
    display.close()
    return output.getvalue()


def test_a_log_gets_plain_lines(plan: Plan) -> None:
    text = shown(plan, terminal=False)
    assert "train flow_matching, seed=0: started" in text
    assert "100/800 steps" in text
    assert "loss 0.2500" in text
    assert "attempt ended (worker 1: RuntimeError: peer is gone); starting again" in text
    assert "train flow_matching, seed=0: done in 0:00" in text
    assert "\x1b" not in text


def test_a_terminal_gets_a_bar_with_rate_and_remaining_time(plan: Plan) -> None:
    text = shown(plan, terminal=True)
    assert "━" in text
    assert "200/800" in text
    assert "steps," in text
    assert "\x1b" in text


def test_the_status_table_names_every_task_once_and_who_shares_it(plan: Plan) -> None:
    output = io.StringIO()
    failing = plan.of_kind(EvaluateTask)[0].digest
    Console(file=output, width=160).print(status_table(plan, {failing: "FAILED: out of luck"}))
    text = output.getvalue()
    assert "21 tasks for 6 trials" in text
    assert text.count("train ") == 3
    assert "FAILED: out of luck" in text
    assert "and 2 more" in text
