"""Everything that can change a number, as frozen dataclasses with ranges and defaults; needs no torch.

Begin with `experiment.ExperimentConfig`: its sections are in `data`, `model`, `training` and `evaluation`, their
allowed values in `choices`. `rules.broken_rules` names settings that do not fit together, with `paradigm_rules` and
`evaluation_rules`; `dataset_card` describes the data of a config; `plain` turns configs into JSON and back. May import
`catalog` alone.
"""

from __future__ import annotations

from dfm_core.config.data import DataConfig
from dfm_core.config.evaluation import EvaluationConfig, SamplingConfig
from dfm_core.config.experiment import ExperimentConfig
from dfm_core.config.model import DecompositionConfig, ModelConfig
from dfm_core.config.training import TrainingConfig

__all__ = [
    "DataConfig",
    "DecompositionConfig",
    "EvaluationConfig",
    "ExperimentConfig",
    "ModelConfig",
    "SamplingConfig",
    "TrainingConfig",
]
