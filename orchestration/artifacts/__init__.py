"""Typed things in the store: records of tasks, checkpoints, snapshots, features, latents, autoencoders, provenance.

Begin with task_record.py (a finished task) and training_artifacts.py (a training's state). May import `data` and lower
layers.
"""
