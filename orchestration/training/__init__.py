"""Trainings on Ray Train and DeepSpeed.

Begin with worker_groups.py, the driver's side, which hands requests (train_request.py) through a work queue to the
workers; worker.py is a worker's side, and checkpointed_run.py its life between two checkpoints. Imports `tracking` and
below.
"""
