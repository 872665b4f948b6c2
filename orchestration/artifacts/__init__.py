"""Typed things in the store: records of tasks, checkpoints, snapshots, features, latents, autoencoders, provenance.

Begin with task_record.py (a finished task) and checkpoints.py (a training's state). Imports `data` and below.
"""
