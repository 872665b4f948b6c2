"""Decomposable Flow Matching: the method, its baselines and its metrics as a plain PyTorch library.

In reading order:

    config                what can change a number: dataclasses, choices, rules
    catalog               datasets, metrics, feature networks and autoencoders that a config can name
    decompositions        an image as scales and back
    flow                  path, timesteps, schedules, solvers
    paradigms             loss and sampling of DFM and its baselines
    models, wiring        the transformer, and the layers that run in each stage
    training              loop, engine, snapshots
    data, seeding         samples, and every random draw
    metrics               feature networks and scores
    autoencoders          pixels to latents; `autoencoder_training` trains and measures them
    compute               FLOPs and parameters of a config, without building it
    pipeline, video_files sampling a snapshot as diffusers' pipelines do
    sweep_rows            the parts of a sweep's row, from the package that knows sweeps

tests/test_layers.py holds the order of imports. Public names are resolved on first use, so that `dfm_core.config` and
`dfm_core.compute` can be used without torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dfm_core.config import ExperimentConfig as ExperimentConfig
    from dfm_core.data.image_dataset import load_dataset as load_dataset
    from dfm_core.data.image_dataset import load_image_folder as load_image_folder
    from dfm_core.decompositions import build_decomposition as build_decomposition
    from dfm_core.flow.schedules import stage_schedule as stage_schedule
    from dfm_core.paradigms import build_paradigm as build_paradigm
    from dfm_core.paradigms.standardization import measure_scale_std as measure_scale_std
    from dfm_core.pipeline import DFMPipeline as DFMPipeline
    from dfm_core.training.engine import PlainEngine as PlainEngine
    from dfm_core.training.loop import train as train
    from dfm_core.training.state import SnapshotCard as SnapshotCard
    from dfm_core.training.state import build_model as build_model
    from dfm_core.training.state import load_snapshot as load_snapshot
    from dfm_core.training.state import write_snapshot as write_snapshot
    from dfm_core.training.steps import LoopPlan as LoopPlan
    from dfm_core.video_files import export_to_gif as export_to_gif
    from dfm_core.video_files import export_to_video as export_to_video

_PUBLIC = {
    "DFMPipeline": "dfm_core.pipeline",
    "ExperimentConfig": "dfm_core.config",
    "LoopPlan": "dfm_core.training.steps",
    "PlainEngine": "dfm_core.training.engine",
    "SnapshotCard": "dfm_core.training.state",
    "build_decomposition": "dfm_core.decompositions",
    "build_model": "dfm_core.training.state",
    "build_paradigm": "dfm_core.paradigms",
    "export_to_gif": "dfm_core.video_files",
    "export_to_video": "dfm_core.video_files",
    "load_dataset": "dfm_core.data.image_dataset",
    "load_image_folder": "dfm_core.data.image_dataset",
    "load_snapshot": "dfm_core.training.state",
    "measure_scale_std": "dfm_core.paradigms.standardization",
    "stage_schedule": "dfm_core.flow.schedules",
    "train": "dfm_core.training.loop",
    "write_snapshot": "dfm_core.training.state",
}

__all__ = tuple(_PUBLIC)


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'dfm_core' has no attribute {name!r}; public names: {', '.join(__all__)}")
    return getattr(importlib.import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    """Names for completion: the public ones too, which are not resolved yet."""
    return sorted([*globals(), *__all__])
