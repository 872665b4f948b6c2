"""Everything that can change a number, as frozen dataclasses with ranges and defaults; needs no torch.

Begin with `experiment.ExperimentConfig`: its sections are in `data`, `model`, `training` and `evaluation`, their
allowed values in `choices`. `rules.broken_rules` names settings that do not fit together, with `paradigm_rules` and
`evaluation_rules`; `dataset_card` describes the data of a config; `plain` turns configs into JSON and back. May import
`catalog` alone.
"""

from __future__ import annotations

from dfm_core.catalog.metrics import MetricName
from dfm_core.config.choices import (
    Backbone,
    ConditionTokens,
    DecayRate,
    DecompositionName,
    Domain,
    ModelSize,
    NonNegativeInt,
    Paradigm,
    PatchGrid,
    Positions,
    PositiveFloat,
    PositiveInt,
    Precision,
    Preconditioning,
    SampledWeights,
    Solver,
    Specialization,
    StageDraw,
    TimestepLaw,
    Upsampling,
    WaveletFamily,
)
from dfm_core.config.data import DataConfig
from dfm_core.config.evaluation import EvaluationConfig, SamplingConfig
from dfm_core.config.experiment import (
    NUMERICS_CHANGED_IN,
    NUMERICS_VERSION,
    ExperimentConfig,
    expert_config,
    stage_columns,
)
from dfm_core.config.model import (
    DECOMPOSITION_SETTINGS,
    MODEL_SIZES,
    DecompositionConfig,
    ModelConfig,
    ModelSizeSpec,
    PyramidFitConfig,
)
from dfm_core.config.plain import as_plain, from_plain
from dfm_core.config.training import ExpertsConfig, PyramidalFlowConfig, TrainingConfig

__all__ = [
    "DECOMPOSITION_SETTINGS",
    "MODEL_SIZES",
    "NUMERICS_CHANGED_IN",
    "NUMERICS_VERSION",
    "Backbone",
    "ConditionTokens",
    "DataConfig",
    "DecayRate",
    "DecompositionConfig",
    "DecompositionName",
    "Domain",
    "EvaluationConfig",
    "ExperimentConfig",
    "ExpertsConfig",
    "MetricName",
    "ModelConfig",
    "ModelSize",
    "ModelSizeSpec",
    "NonNegativeInt",
    "Paradigm",
    "PatchGrid",
    "Positions",
    "PositiveFloat",
    "PositiveInt",
    "Precision",
    "Preconditioning",
    "PyramidFitConfig",
    "PyramidalFlowConfig",
    "SampledWeights",
    "SamplingConfig",
    "Solver",
    "Specialization",
    "StageDraw",
    "TimestepLaw",
    "TrainingConfig",
    "Upsampling",
    "WaveletFamily",
    "as_plain",
    "expert_config",
    "from_plain",
    "stage_columns",
]
