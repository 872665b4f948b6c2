"""The table of tasks by kind and state."""

from __future__ import annotations

from collections.abc import Mapping

from rich.box import SIMPLE
from rich.table import Table

from orchestration.common.counts import counted
from orchestration.plan.plan import Plan

_MAX_TABLE_ROWS = 200


def status_table(plan: Plan, statuses: Mapping[str, str]) -> Table:
    """Return a table of all tasks with their state, trainings once however many rows use them."""
    title = f"{plan.spec.name}: {counted(len(plan.tasks), 'task')} for {counted(len(plan.trials), 'trial')}"
    table = Table(title=title, title_justify="left", box=SIMPLE)
    for name in ("task", "digest", "state", "used by"):
        table.add_column(name, overflow="fold")
    for task in list(plan.tasks.values())[:_MAX_TABLE_ROWS]:
        users = plan.users(task.digest)
        shown_users = users[0] + (f" and {len(users) - 1} more" if len(users) > 1 else "") if users else "all"
        table.add_row(f"{task.kind} {task.title}", task.digest[:10], statuses.get(task.digest, "to do"), shown_users)
    if len(plan.tasks) > _MAX_TABLE_ROWS:
        table.add_row(f"and {len(plan.tasks) - _MAX_TABLE_ROWS} more", "", "", "")
    return table
