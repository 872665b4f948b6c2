"""The table of what a sweep does: one line a row, or one a task."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence

from rich.box import SIMPLE
from rich.table import Table
from rich.text import Text

from orchestration.common.wording import counted
from orchestration.plan.plan import Plan, Trial

_MAX_TABLE_ROWS = 200
_TO_DO, _DONE = "to do", "done"
_MOST_STATES = 3
"""Different states of a row's tasks that its line tells."""


def status_table(plan: Plan, statuses: Mapping[str, str], *, verbose: bool = False) -> Table | Text:
    """Return a table of a plan with its state: a line for each row and each task that rows share; or, verbose, for each
    task. A search that has proposed nothing yet has a title alone."""
    title = f"{plan.spec.name}: {_about(plan)}"
    if not plan.tasks:
        return Text(title)
    table = Table(title=title, title_justify="left", box=SIMPLE)
    for name in ("task", "digest", "state", "used by") if verbose else ("row", "work", "state"):
        table.add_column(name, overflow="fold")
    lines = list(_task_lines(plan, statuses) if verbose else _row_lines(plan, statuses))
    for line in lines[:_MAX_TABLE_ROWS]:
        table.add_row(*line)
    if len(lines) > _MAX_TABLE_ROWS:
        table.add_row(f"and {len(lines) - _MAX_TABLE_ROWS} more", *[""] * (len(table.columns) - 1))
    return table


def _about(plan: Plan) -> str:
    """Return what a plan holds: "9 tasks for 2 trials", "a search of 20 trials"."""
    if plan.tasks or not plan.spec.searches:
        return f"{counted(len(plan.tasks), 'task')} for {counted(len(plan.trials), 'trial')}"
    trials = [counted(search.spec.config.num_trials, "trial") for search in plan.spec.searches]
    return " and ".join(f"a search of {number}" for number in trials)


def resume_text(step: int) -> str:
    """Return how a training that was cut off resumes."""
    return f"continues at step {step}"


def _task_lines(plan: Plan, statuses: Mapping[str, str]) -> Iterator[Sequence[str]]:
    for task in plan.tasks.values():
        users = plan.users(task.digest)
        shown_users = users[0] + (f" and {len(users) - 1} more" if len(users) > 1 else "") if users else "all"
        yield f"{task.kind} {task.title}", task.digest[:10], statuses.get(task.digest, _TO_DO), shown_users


def _row_lines(plan: Plan, statuses: Mapping[str, str]) -> Iterator[Sequence[str]]:
    own_tasks = {digest for trial in plan.trials for digest in (*trial.trains, *(one for _, one in trial.evaluations))}
    for digest, task in plan.tasks.items():
        if digest not in own_tasks:
            yield "", f"{task.kind} {task.title}", statuses.get(digest, _TO_DO)
    trials: dict[tuple[str, str], list[Trial]] = defaultdict(list)
    for trial in plan.trials:
        trials[trial.part, trial.row].append(trial)
    names = {(part.name, row.label): f"{part.name} / {row.short}" for part in plan.spec.parts for row in part.rows}
    first_user: dict[str, str] = {}
    for key, own in trials.items():
        name = names[key]
        digests = [digest for trial in own for digest in (*trial.trains, *(one for _, one in trial.evaluations))]
        work = " · ".join(_work(own, first_user))
        yield name, work, _state([statuses.get(digest, _TO_DO) for digest in dict.fromkeys(digests)])
        for digest in digests:
            first_user.setdefault(digest, name)


def _work(trials: Sequence[Trial], first_user: Mapping[str, str]) -> Iterator[str]:
    """Yield what a row does; what a row above does for it too is named after that row."""
    trains = [digest for trial in trials for digest in trial.trains]
    evaluations = [digest for trial in trials for _, digest in trial.evaluations]
    seeds, steps = counted(len(trials), "seed"), counted(max(len(trial.evaluations) for trial in trials), "step")
    networks = f" of {counted(len(trials[0].trains), 'network')}" if len(trials[0].trains) > 1 else ""
    if {*trains, *evaluations} <= first_user.keys() and len({first_user[one] for one in (*trains, *evaluations)}) == 1:
        yield f"the same as {first_user[trains[0]]}"
        return
    yield f"trained as {first_user[trains[0]]}" if trains[0] in first_user else f"train {seeds}{networks}"
    if evaluations:
        measured = evaluations[0] in first_user
        yield f"measured as {first_user[evaluations[0]]}" if measured else f"evaluate {steps}"


def _state(states: Sequence[str]) -> str:
    """Return the states of a row's tasks in a line: "4 of 8 done, running: 340/800 steps"."""
    counts = Counter(states)
    if len(counts) == 1:
        return states[0]
    texts = [f"{counts[_DONE]} of {len(states)} done"] if counts[_DONE] else []
    others = [state for state in counts if state not in (_DONE, _TO_DO)]
    texts += others[:_MOST_STATES]
    if len(others) > _MOST_STATES:
        texts.append(f"and {len(others) - _MOST_STATES} more")
    return ", ".join(texts)
