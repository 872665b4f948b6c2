"""Exit codes of every command; docs/running.md lists them."""

from __future__ import annotations

EXIT_USER_ERROR = 2
EXIT_TASKS_FAILED = 1
EXIT_SECOND_DRIVER = 3
EXIT_BUDGET_SPENT = 4
EXIT_STOPPED = 5
EXIT_CLUSTER_LOST = 6
EXIT_INTERRUPTED = 130
EXIT_TERMINATED = 143
