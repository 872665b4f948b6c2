"""Trainings on Ray Train and DeepSpeed.

Begin with worker.py, a training on one worker, and checkpointed_run.py, its life between two checkpoints. The driver's
side is worker_group_pool.py, which hands requests (train_request.py) to worker groups through the work queue of
`control`. May import `tracking` and lower layers.
"""
