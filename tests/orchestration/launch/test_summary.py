"""The plan in words: warnings of scales that a training hardly sees."""

from __future__ import annotations

import pytest

from orchestration.commands.check_models import embedded_stds
from orchestration.launch.summary import balance_text
from orchestration.plan.plan import make_plan
from orchestration.spec.load import load_sweep
from orchestration.tasks.task import TrainTask
from tests.orchestration.conftest import QUICKSTART


def test_a_scale_without_power_is_warned_of_once_with_the_remedy() -> None:
    plan = make_plan(load_sweep(QUICKSTART, ["data.standardize=false", "seeds=[0, 1]"]))
    lines = list(balance_text(plan, embedded_stds(plan)))
    (line,) = [line for line in lines if line.startswith("Scale 2 of paradigm / DFM and 3 more: ")]
    assert "standard deviation 0.21, 8.5% of its timesteps" in line
    assert line.endswith("set data.standardize: true, or training.location near 1.6.")
    assert len(lines) == 1  # Flow Matching has one scale, of 0.66


def test_nothing_is_warned_of_once_the_data_is_standardised() -> None:
    plan = make_plan(load_sweep(QUICKSTART, ["data.standardize=true"]))
    assert list(balance_text(plan, embedded_stds(plan))) == []


@pytest.mark.parametrize("known", [False, True])
def test_only_trainings_whose_scales_are_known_are_judged(known: bool) -> None:
    plan = make_plan(load_sweep(QUICKSTART, ["data.standardize=false"]))
    training = next(task for task in plan.of_kind(TrainTask) if task.config.paradigm == "dfm")
    stds = {training.digest: (0.63, 0.1)} if known else {}
    assert [line[:8] for line in balance_text(plan, stds)] == (["Scale 2 "] if known else [])
