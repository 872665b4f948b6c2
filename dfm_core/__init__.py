"""Decomposable Flow Matching: the method, its baselines and its metrics as a plain PyTorch library.

Public names are resolved on first use, so that `dfm_core.config` and `dfm_core.compute` can be used without torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dfm_core.config import ExperimentConfig
    from dfm_core.data.datasets import load_dataset, measure_scale_std
    from dfm_core.decompositions import build_decomposition
    from dfm_core.flow.schedules import stage_schedule
    from dfm_core.paradigms import build_paradigm
    from dfm_core.pipeline import DFMPipeline
    from dfm_core.training.engine import PlainEngine
    from dfm_core.training.loop import train
    from dfm_core.training.state import SnapshotCard, build_model, load_snapshot, write_snapshot
    from dfm_core.training.steps import LoopPlan
    from dfm_core.video_files import export_to_gif, export_to_video

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
    "load_dataset": "dfm_core.data.datasets",
    "load_snapshot": "dfm_core.training.state",
    "measure_scale_std": "dfm_core.data.datasets",
    "stage_schedule": "dfm_core.flow.schedules",
    "train": "dfm_core.training.loop",
    "write_snapshot": "dfm_core.training.state",
}

__all__ = [
    "DFMPipeline",
    "ExperimentConfig",
    "LoopPlan",
    "PlainEngine",
    "SnapshotCard",
    "build_decomposition",
    "build_model",
    "build_paradigm",
    "export_to_gif",
    "export_to_video",
    "load_dataset",
    "load_snapshot",
    "measure_scale_std",
    "stage_schedule",
    "train",
    "write_snapshot",
]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'dfm_core' has no attribute {name!r}; public names: {', '.join(__all__)}")
    return getattr(importlib.import_module(_PUBLIC[name]), name)
