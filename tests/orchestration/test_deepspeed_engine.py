"""Must hold: the same result on any number of workers and at any ZeRO stage, and after any cut.

All trainings run in two process groups, started once for the module: starting DeepSpeed costs more than training.
"""

from __future__ import annotations

import pytest

from dfm_core.data.datasets import load_dataset, measure_scale_std
from dfm_core.paradigms import build_paradigm
from dfm_core.training.engine import PlainEngine
from dfm_core.training.loop import LoopPlan, train
from dfm_core.training.state import build_model
from tests.orchestration.process_group import CONFIG, CUT_STEP, LAST_STEP, Finding, Job, run_jobs

TOLERANCE = 1e-5
"""Relative, on losses of order one: another number of workers adds the same numbers in another order."""


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Finding]:
    folder = tmp_path_factory.mktemp("trainings")
    cut = {stage: str(folder / f"two-workers-zero-{stage}") for stage in (1, 2, 3)}
    alone = str(folder / "one-worker")
    two = [
        *[Job(f"whole-{stage}", stage, 4) for stage in (1, 2, 3)],
        *[Job(f"head-{stage}", stage, 4, until=CUT_STEP, save_to=cut[stage]) for stage in (1, 2, 3)],
        *[Job(f"tail-{stage}", stage, 4, start=CUT_STEP, resume_from=cut[stage]) for stage in (1, 2, 3)],
        Job("micro", 1, 2),
        Job("tail-zero-2-of-zero-3", 2, 4, start=CUT_STEP, resume_from=cut[3]),
    ]
    one = [
        Job("one-1", 1, 8),
        Job("one-3", 3, 4),
        Job("one-head", 2, 8, until=CUT_STEP, save_to=alone),
        Job("one-tail-of-two", 2, 8, start=CUT_STEP, resume_from=cut[1]),
    ]
    results = run_jobs(2, two, folder) | run_jobs(1, one, folder)
    return results | run_jobs(2, [Job("two-tail-of-one", 3, 4, start=CUT_STEP, resume_from=alone)], folder)


def test_the_training_learns(found: dict[str, Finding]) -> None:
    losses = found["whole-1"].losses
    assert len(losses) == LAST_STEP
    assert sum(losses[-3:]) < 0.9 * sum(losses[:3])


@pytest.mark.parametrize("name", ["whole-2", "whole-3", "micro", "one-1", "one-3"])
def test_workers_zero_stage_and_micro_batch_change_no_result(found: dict[str, Finding], name: str) -> None:
    assert found[name].losses == pytest.approx(found["whole-1"].losses, rel=TOLERANCE)
    assert found[name].ema == pytest.approx(found["whole-1"].ema, rel=TOLERANCE)


def test_zero_1_and_2_agree_bitwise(found: dict[str, Finding]) -> None:
    assert found["whole-2"] == found["whole-1"]


@pytest.mark.parametrize("stage", [1, 2, 3])
def test_a_resumed_training_equals_the_uninterrupted_one_bitwise(found: dict[str, Finding], stage: int) -> None:
    assert found[f"head-{stage}"].losses + found[f"tail-{stage}"].losses == found[f"whole-{stage}"].losses
    assert found[f"tail-{stage}"].ema == found[f"whole-{stage}"].ema


@pytest.mark.parametrize("name", ["tail-zero-2-of-zero-3", "one-tail-of-two", "two-tail-of-one"])
def test_a_training_resumes_on_other_workers_and_another_zero_stage(found: dict[str, Finding], name: str) -> None:
    assert found[name].losses == pytest.approx(found["whole-1"].losses[CUT_STEP:], rel=TOLERANCE)
    assert found[name].ema == pytest.approx(found["whole-1"].ema, rel=TOLERANCE)


class _Nobody:
    def progress(self, step: int) -> None: ...

    def log(self, row: dict[str, float]) -> None: ...

    def save(self, step: int, curve: list[dict[str, float]]) -> None: ...


def test_deepspeed_trains_as_plain_torch_does(found: dict[str, Finding]) -> None:
    dataset = load_dataset("fashion_mnist", "train")
    scale_std = measure_scale_std(CONFIG, dataset)
    engine = PlainEngine(build_model(CONFIG, 1, 10, scale_std), CONFIG.training)
    plan = LoopPlan(LAST_STEP, 8, 1, frozenset())
    rows = train(CONFIG, build_paradigm(CONFIG, scale_std), dataset, engine, plan, _Nobody())
    assert [row["loss"] for row in rows] == pytest.approx(found["whole-1"].losses, rel=TOLERANCE)
