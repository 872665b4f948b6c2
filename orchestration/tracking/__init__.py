"""MLflow: runs of tasks and registered models, filled from the records in the store.

Begin with tracker.py (the protocol) and mlflow_tracker.py (its implementation); async_tracker.py puts it into a thread.
Imports `plan` and below.
"""
