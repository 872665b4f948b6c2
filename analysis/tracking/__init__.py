"""MLflow's runs as plain data, read over its public API alone, and a cache of what was read.

Begin with `mlflow_api`, the client, and `run`, its values. `changed_runs` asks a server only for runs that may have
changed, `cached_runs` and `cached_run_data` keep the others, `cache` is the file behind both. Imports `plan` and
`errors`; only this package of `analysis` imports mlflow.
"""
