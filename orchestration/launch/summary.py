"""The plan and the outcome in words: what is shared, what is done, what it will cost and what it did cost."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence

from dfm_core.flow.scale_balance import FEWEST_NEAR_NOISE, weak_scales
from orchestration.artifacts.task_record import TaskRecord
from orchestration.common.console import make_console
from orchestration.common.errors import Problem
from orchestration.common.redaction import without_credentials
from orchestration.common.wording import counted
from orchestration.config.prices import PricesConfig
from orchestration.config.runtime import RuntimeConfig
from orchestration.control.budget_meter import BudgetMeter, hours
from orchestration.control.outcome import EarlyExit, Outcome
from orchestration.launch.task_table import resume_text, status_table
from orchestration.plan.diff import changes_text
from orchestration.plan.estimate import Estimate
from orchestration.plan.plan import Plan
from orchestration.plan.preflight import root_source
from orchestration.plan.progress import Progress
from orchestration.search.cost import cost_lines
from orchestration.search.summary import search_text
from orchestration.spec.search.trial import SearchTrial
from orchestration.storage.layout import SNAPSHOTS, TaskPaths
from orchestration.storage.store import Store
from orchestration.tasks.task import EncodeTask, TrainTask

_MANY_SAMPLES = 10_000
"""Number of samples that a rehearsal hardly means to encode."""


def print_plan(
    plan: Plan,
    done: dict[str, TaskRecord],
    store: Store,
    progress: Progress,
    left: Estimate,
    *,
    verbose: bool = False,
) -> None:
    """Print rows, the user's data, sharing, what an edit changed, FLOPs, estimated hours and bytes.

    Args: left: estimate of what is to do. verbose: print every task.
    """
    console = make_console()
    continuing = {digest: resume_text(step) for digest, step in progress.steps.items() if step and digest not in done}
    console.print(status_table(plan, dict.fromkeys(done, "done") | continuing, verbose=verbose))
    for line in (*_layers_text(plan), *plan.spec.notices, *plan.spec.about_data):
        console.print(line, markup=False)
    if shared := _shared_text(plan):
        console.print(shared, markup=False)
    if changes := changes_text(plan, store):
        console.print(changes, markup=False)
    for line in (*power_text(plan, done), *balance_text(plan, recorded_stds(done))):
        console.print(line, markup=False)
    if plan.tasks:
        console.print(_left_text(len(plan.tasks) - left.num_tasks, left.num_tasks))
    if left.num_tasks:
        console.print(str(left), markup=False)
    console.print(spent_text(progress.spent, plan.spec.runtime))
    console.print(f"Storage: {store.root} ({root_source(plan.spec, os.environ)})", markup=False)


def _layers_text(plan: Plan) -> Iterator[str]:
    layers = plan.spec.layers
    if layers.site:
        yield f"Site: {without_credentials(layers.site)}"
    if layers.overlay:
        yield f"With: {without_credentials(layers.overlay)}, which wins over the sweep and its rows"
        most = max((task.num_samples for task in plan.of_kind(EncodeTask)), default=0)
        if most > _MANY_SAMPLES:
            yield f"It shrinks no data: {most:,} samples are to be encoded. A site with fewer is given by --site."


def power_text(plan: Plan, done: Mapping[str, TaskRecord]) -> Sequence[str]:
    """Return what differences between rows the sweep can find; empty if it has none to compare."""
    if not any(len(part.rows) > 1 for part in plan.spec.parts):
        return ()
    if len(plan.spec.seeds) < 2:
        return ("One seed separates nothing: claims about rows need two `seeds:` or more.",)
    from orchestration.launch.standings import power_lines  # scipy comes with it

    return tuple(power_lines(plan, done))


def balance_text(plan: Plan, scale_stds: Mapping[str, Sequence[float]]) -> Iterator[str]:
    """Yield a warning for each scale that trainings hardly see where signal and noise are about equal in power.

    Args: scale_stds: standard deviations of the scales of trainings, by digest; other trainings are left out.
    """
    rows: dict[tuple[int, str, str], list[str]] = {}
    for task in plan.of_kind(TrainTask):
        for weak in weak_scales(task.config, scale_stds.get(task.digest, ())):
            key = weak.stage, f"{weak.std:.2g}, {weak.share:.1%}", f"{weak.equal_location:.2g}"
            rows.setdefault(key, []).extend(plan.users(task.digest)[:1] or [task.title])
    for (stage, measured, location), names in rows.items():
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        yield (
            f"Scale {stage + 1} of {names[0]}{more}: standard deviation {measured} of its timesteps are drawn where "
            f"signal and noise are about equal in power, {FEWEST_NEAR_NOISE:.0%} should be; "
            f"set data.standardize: true, or training.location near {location}."
        )


def recorded_stds(done: Mapping[str, TaskRecord]) -> dict[str, Sequence[float]]:
    """Return the standard deviations of scales that trainings measured, by digest."""
    return {digest: record.about["scale_std"] for digest, record in done.items() if "scale_std" in record.about}


def _shared_text(plan: Plan) -> str:
    """Return "6 trials share 3 trainings; 18 cells share 15 evaluations."; "" if nothing is shared."""
    trains = [digest for trial in plan.trials for digest in trial.trains]
    cells = [digest for trial in plan.trials for _, digest in trial.evaluations]
    texts = []
    if len({*trains}) < len(trains):
        texts.append(f"{counted(len(plan.trials), 'trial')} share {counted(len({*trains}), 'training')}")
    if len({*cells}) < len(cells):
        texts.append(f"{counted(len(cells), 'cell')} share {counted(len({*cells}), 'evaluation')}")
    return f"{'; '.join(texts)}." if texts else ""


def _left_text(num_done: int, num_left: int) -> str:
    if num_done:
        return f"{_are(num_done, 'task')} done or not needed, {num_left:,} to do."
    return f"{counted(num_left, 'task')} to do."


def _are(number: int, noun: str) -> str:
    return f"{counted(number, noun)} {'is' if number == 1 else 'are'}"


def print_searches(plan: Plan, trials: Mapping[str, Sequence[SearchTrial]], left: Estimate) -> None:
    """Print each search's space, its trials so far, and the most that those to come cost beside the plan.

    Args: left: estimate of the plan, with the speeds that were measured.
    """
    console = make_console()
    for search in plan.spec.searches:
        own_trials = trials.get(search.part, ())
        for line in (*search_text(search, own_trials), *cost_lines(plan, search, own_trials, left)):
            console.print(line, markup=False)


def print_missing(problems: Sequence[Problem], absent: Sequence[Problem]) -> None:
    """Print what would stop the sweep here before it starts anything. Args: absent: those of files in digests."""
    if problems:
        console = make_console()
        console.print("It cannot run here yet:")
        for problem in problems:
            console.print(f"  {problem}", markup=False)
        if absent:
            console.print("Digests of the tasks that read these files are provisional until they are there.")


def snapshots_text(plan: Plan, outcome: Outcome, store: Store) -> str:
    """Return where snapshots are, and which is the best of each part."""
    from orchestration.launch.standings import best_snapshots  # scipy comes with it

    lines = [f"Snapshots: {store.uri(SNAPSHOTS)}/<digest>/step-<n>, for DFMPipeline.from_pretrained"]
    trained = {(trial.part, trial.row): trial.trains[-1] for trial in reversed(plan.trials)}
    for best in best_snapshots(plan, outcome.done, outcome.failed):
        place = TaskPaths(trained[best.part, best.row]).snapshot(best.step)
        is_here = store.manifest(place) is not None  # an imported record comes without
        lines.append(f"  {best.part} / {best.row}: {store.uri(place) if is_here else 'where its record was made'}")
    return "\n".join(lines)


def spent_text(seconds: float, runtime: RuntimeConfig) -> str:
    """Return what the sweep's tasks have cost, and may cost."""
    limit_hours = runtime.workers.max_accelerator_hours
    allowed = "" if limit_hours is None else f" of {limit_hours:g} (workers.max_accelerator_hours)"
    return f"Spent so far: {hours(seconds)}{allowed} accelerator-hours{runtime.prices.beside(seconds)}."


def cost_text(meter: BudgetMeter, prices: PricesConfig) -> str:
    """Return the cost of a launch in words."""
    held, busy = meter.held_in_this_launch, meter.busy_in_this_launch
    return f"This run held {hours(held)} accelerator-hours{prices.beside(held)} and worked in {hours(busy)} of them"


def compared_text(estimated: Estimate, meter: BudgetMeter) -> str:
    """Return the estimate of a launch beside what it cost."""
    text = cost_text(meter, estimated.prices)
    if estimated.accelerator_seconds <= 0:
        return f"{text}."
    share = meter.busy_in_this_launch / estimated.accelerator_seconds
    return (
        f"{text}. The plan had estimated {hours(estimated.accelerator_seconds)} {estimated.basis}: "
        f"the work took {share:.2g} times as long."
    )


def early_exit_text(early_exit: EarlyExit, left: Estimate) -> str:
    """Return why a launch ended early, what is left to do, and how to resume."""
    return (
        f"Stopped: {early_exit.reason}. {_are(left.num_tasks, 'task')} left, "
        f"about {hours(left.accelerator_seconds)} accelerator-hours{left.prices.beside(left.accelerator_seconds)} "
        f"{left.basis}. To go on: {early_exit.how_to_go_on}."
    )
