"""Tasks: one class for each kind, with the digest of all that can change its result. Pure functions of a config.

Begin with `task`, the classes; `training`, `encoding`, `references` and `evaluation` build them. `metric_task` holds
what all tasks that compute metrics share, `measurement` parts of their payloads, `training_chain` the trainings of
experts and cascades. It imports `common`, `storage.layout`, `config` and `data`.
"""
