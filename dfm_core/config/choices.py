"""Choices and ranges that config fields share, as annotated types."""

from __future__ import annotations

from typing import Annotated, Literal

from annotated_types import Gt, Interval

Paradigm = Literal["dfm", "flow_matching", "cascaded", "pyramidal_flow"]
DecompositionName = Literal["identity", "levels", "laplacian", "wavelet", "cosine", "fourier", "learned"]
WaveletFamily = Literal["haar", "db2", "db4", "sym4", "coif1"]
Upsampling = Literal["direct", "doubling"]
HeldAt = Literal["own", "full"]
Domain = Literal["spatial", "frequency"]
ModelSize = Literal["nano", "micro", "S", "B", "L", "XL"]
Preconditioning = Literal["edm", "no_skip", "none"]
Positions = Literal["rope", "sincos"]
Backbone = Literal["dit", "tokenformer", "flux"]
Specialization = Literal["none", "modulation", "projection", "conditioning", "attention", "mlp", "full"]
PatchGrid = Literal["shared", "per_stage"]
TimestepLaw = Literal["independent", "tied"]
StageDraw = Literal["sample", "batch"]
Solver = Literal["euler", "heun"]
Precision = Literal["fp32", "bf16"]
Trainable = Literal["all", "projections"]
LabelSampling = Literal["uniform", "balanced"]
ConditionTokens = Literal["added", "joined"]
SampledWeights = Literal["ema", "raw"]
Probability = Annotated[float, Interval(ge=0.0, le=1.0)]
PositiveInt = Annotated[int, Interval(gt=0, le=10**9)]
DecayRate = Annotated[float, Interval(ge=0.0, lt=1.0)]
Location = Annotated[float, Interval(ge=-20.0, le=20.0)]
Scale = Annotated[float, Interval(gt=0.0, le=20.0)]
NonNegativeInt = Annotated[int, Interval(ge=0, le=2**63 - 1)]
NonNegativeSteps = Annotated[int, Interval(ge=0, le=10**9)]
PositiveFloat = Annotated[float, Gt(0.0)]
Factor = Annotated[float, Interval(gt=0.0, le=1e6)]
UnitTime = Annotated[float, Interval(ge=0.0, le=1.0)]
