"""The control of a launch and its end: heartbeat, lease, stop requests, budget, failure policy, outcome.

Begin with `outcome` and `failure_policy`, then `heartbeat`, which says whether a driver is alive. May import common,
private, storage, config, data and artifacts; `progress_board` and `work_queue` alone use Ray.
"""
