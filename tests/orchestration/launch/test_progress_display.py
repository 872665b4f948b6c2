"""What the user sees: bars in a terminal, plain lines in a log."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from orchestration.launch.progress_display import Display
from orchestration.launch.task_table import status_table
from orchestration.plan.plan import Plan, make_plan
from orchestration.spec.load import load_sweep
from orchestration.tasks.task import EvaluateTask, TrainTask
from tests.orchestration.conftest import QUICKSTART
from tests.support.clock import Clock, until


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("orchestration.launch.progress_display.time", clock)
    return clock


@pytest.fixture(scope="module")
def plan() -> Plan:
    return make_plan(load_sweep(QUICKSTART))


def shown(plan: Plan, clock: Clock, *, terminal: bool) -> str:
    output = io.StringIO()
    display = Display(Console(file=output, force_terminal=terminal, width=120, soft_wrap=True))
    task = plan.of_kind(TrainTask)[0]
    display.started(task, 800)
    display.loss(task.digest, 0.25)
    display.reached(task.digest, 100)
    clock.now += 10
    display.reached(task.digest, 200)
    if terminal:
        until(lambda: "200/800 steps" in output.getvalue())  # bars are drawn ten times a second
    display.retried(task.digest, "worker 1: RuntimeError: peer is gone\nmore")
    display.ended(task, "done")
    display.close()
    return output.getvalue()


def test_a_log_gets_plain_lines(plan: Plan, clock: Clock) -> None:
    text = shown(plan, clock, terminal=False)
    assert "train flow_matching, seed=0: started" in text
    assert "100/800 steps" in text
    assert "loss 0.2500" in text
    assert "attempt ended (worker 1: RuntimeError: peer is gone); starting again" in text
    assert "train flow_matching, seed=0: done in 0:10" in text
    assert "\x1b" not in text


def test_a_terminal_gets_a_bar_with_rate_and_remaining_time(plan: Plan, clock: Clock) -> None:
    text = shown(plan, clock, terminal=True)
    assert "━" in text
    assert "200/800" in text
    assert "steps, 10.0/s" in text
    assert "\x1b" in text


def test_the_status_table_names_every_task_once_and_who_shares_it(plan: Plan) -> None:
    output = io.StringIO()
    failing = plan.of_kind(EvaluateTask)[0].digest
    Console(file=output, width=160).print(status_table(plan, {failing: "FAILED: out of luck"}, verbose=True))
    text = output.getvalue()
    assert "21 tasks for 6 trials" in text
    assert text.count("train ") == 3
    assert "FAILED: out of luck" in text
    assert "and 2 more" in text


def test_the_plan_is_one_line_a_row_with_what_rows_share(plan: Plan) -> None:
    done = dict.fromkeys(plan.trials[0].trains, "done")
    lines = [" ".join(line.split()) for line in printed_table(plan, done).splitlines()]
    assert "paradigm / flow matching train 1 seed · evaluate 3 steps 1 of 4 done" in lines
    assert "paradigm / DFM train 1 seed · evaluate 3 steps to do" in lines
    assert any(line.startswith("stages / ") and line.endswith("the same as paradigm / DFM to do") for line in lines)
    assert any("trained as paradigm / DFM · evaluate 3 steps" in line for line in lines)
    assert sum(line.startswith(("paradigm /", "stages /")) for line in lines) == len(plan.trials)


def test_a_row_tells_how_its_tasks_differ() -> None:
    plan = make_plan(load_sweep(QUICKSTART, ["seeds=[0,1]"]))
    first, second = plan.trials[:2]
    states = dict.fromkeys([*first.trains, *(digest for _, digest in first.evaluations)], "done")
    states |= {second.trains[0]: "running: 3/700 steps", second.evaluations[0][1]: "FAILED: out of luck"}
    lines = [" ".join(line.split()) for line in printed_table(plan, states).splitlines()]
    told = "train 2 seeds · evaluate 3 steps 4 of 8 done, running: 3/700 steps, FAILED: out of luck"
    assert f"paradigm / flow matching {told}" in lines


def printed_table(plan: Plan, states: dict[str, str]) -> str:
    output = io.StringIO()
    Console(file=output, width=190).print(status_table(plan, states))
    return output.getvalue()


def test_titles_of_evaluations_name_the_seed_where_there_are_several(plan: Plan) -> None:
    assert "DFM @ 700" in {task.title for task in plan.of_kind(EvaluateTask)}
    titles = {task.title for task in make_plan(load_sweep(QUICKSTART, ["seeds=[0,3]"])).of_kind(EvaluateTask)}
    assert {"DFM, seed=0 @ 700", "DFM, seed=3 @ 700"} <= titles


def test_a_training_that_was_cut_off_tells_where_it_continues(plan: Plan) -> None:
    output = io.StringIO()
    display = Display(Console(file=output, width=120))
    display.started(plan.of_kind(TrainTask)[0], 800, 200)
    assert "train flow_matching, seed=0: continues at step 200" in output.getvalue()
