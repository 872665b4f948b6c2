"""The time that trials to come take, at measured or assumed speeds, as a plan tells it of rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from orchestration.plan.estimate import Estimate, estimate, is_short
from orchestration.plan.plan import Plan, make_plan
from orchestration.search.summary import ALL_PROPOSED, corner_costs, flops_text, goes_on, has_more, num_left
from orchestration.spec.rows import PartSpec
from orchestration.spec.search.rows import PartSearch
from orchestration.spec.search.trial import SearchTrial
from orchestration.tasks.task import EvaluateTask, TrainTask


def cost_lines(plan: Plan, search: PartSearch, trials: Sequence[SearchTrial], left: Estimate) -> Iterator[str]:
    """Yield the most that the trials to come cost, in FLOPs and in time. Args: left: the plan's own estimate."""
    if not has_more(search, trials):
        yield ALL_PROPOSED
        return
    costs, are_all = corner_costs(search, plan.tasks.keys())
    yield flops_text(search, trials, costs, are_all)
    trainings, samplings = _to_come(search, trials)
    if not costs or not samplings:
        return
    row = max(reversed(costs), key=lambda cost: cost.whole_training + cost.sampling).row
    alone = PartSpec(search.part, search.part, (replace(row, configs=row.configs[:1], left=()),))
    own, workers = make_plan(replace(plan.spec, parts=(alone,), searches=())), plan.spec.runtime.workers
    trained = [task.digest for task in own.of_kind(TrainTask)]
    shared = [task.digest for task in own.tasks.values() if not isinstance(task, (TrainTask, EvaluateTask))]
    whole = estimate(own, shared, {}, left.speeds, left.sampling_speeds)
    measuring = estimate(own, [*shared, *trained], {}, left.speeds, left.sampling_speeds).accelerator_seconds
    stepping = whole.accelerator_seconds - whole.startup_seconds - measuring
    if all(digest in plan.tasks for digest in trained):
        trainings = 0
    on_warm_workers = all(is_short(own.tasks[digest], workers, left.speeds) for digest in trained)
    starts = min(trainings, 1) if on_warm_workers else trainings
    seconds = trainings * stepping + starts * whole.startup_seconds + samplings * measuring
    yield f"  That is {whole.time_text(seconds)} {whole.basis}."


def _to_come(search: PartSearch, trials: Sequence[SearchTrial]) -> tuple[int, int]:
    """Return the most trainings, and rows to sample, of trials to come and of winners on new seeds."""
    left, seeds, confirm = max(0, num_left(search, trials)), len(search.context.seeds), search.spec.config.confirm
    of_a_training = search.spec.inner.num_wanted if search.spec.inner else 1
    trainings = seeds * (-(-left // of_a_training) if search.trains else min(left, 1))
    if confirm is None or not goes_on(search, trials):
        return trainings, seeds * left
    winners = min(confirm.num_trials, search.spec.num_wanted)
    again = len(confirm.seeds) * (winners if search.trains else 1)
    return trainings + again, seeds * left + len(confirm.seeds) * winners
