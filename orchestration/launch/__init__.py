"""One submission, from its plan to the report.

Begin with `run_sweep` (publish, run, report), then `session` (cluster, heartbeat, budget) and `task_loop`, which starts
tasks and collects them; all share a `LaunchContext`. May import search and the packages below it, and of `analysis`
what writes the report, and the tables' results.
"""
