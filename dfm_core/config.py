"""Everything that can change a number, as frozen dataclasses.

The *training* half decides what a snapshot contains, the *sampling* and *evaluation* halves decide what is
measured on it; `orchestration.plan.plan` digests them apart, so that trials which differ only in sampling share one
training. What cannot change a number (workers, paths, logging) lives in `orchestration.config.runtime`, not here: the
digest leaves it out by type, not by a list of exceptions.

This module needs no torch. Ranges are declared with `annotated_types`; rules that span fields are in
`dfm_core.config_rules`, which reports all of them at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, is_dataclass, replace
from fractions import Fraction
from itertools import pairwise
from math import lcm
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from annotated_types import Ge, Gt, Interval, Le, Len

from dfm_core.data_config import DataConfig as DataConfig  # a section like the others, in a file of its own

NUMERICS_VERSION = 2
"""Raised whenever the same config would give other numbers; part of every digest."""

_MAX_COLUMNS = 10_000
_SCALARS = frozenset({str, int, float, bool, type(None)})
Config = TypeVar("Config")
Paradigm = Literal["dfm", "flow_matching", "cascaded", "pyramidal_flow"]
DecompositionName = Literal["identity", "levels", "laplacian", "wavelet", "cosine", "fourier", "learned"]
WaveletFamily = Literal["haar", "db2", "db4", "sym4", "coif1"]
Upsampling = Literal["direct", "doubling"]
Domain = Literal["spatial", "frequency"]
ModelSize = Literal["nano", "micro", "S", "B", "L", "XL"]
Preconditioning = Literal["edm", "no_skip", "none"]
Positions = Literal["rope", "sincos"]
Backbone = Literal["dit", "tokenformer"]
Specialization = Literal["none", "modulation", "projection", "conditioning", "attention", "mlp", "full"]
PatchGrid = Literal["shared", "per_stage"]
TimestepLaw = Literal["independent", "tied"]
StageDraw = Literal["sample", "batch"]
Solver = Literal["euler", "heun"]
Precision = Literal["fp32", "bf16"]
LabelSampling = Literal["uniform", "balanced"]
ConditionTokens = Literal["added", "joined"]
SampledWeights = Literal["ema", "raw"]
MetricName = Literal[
    "fd_lite0_block10",
    "fd_lite0_head",
    "fd_lite0_changes",
    "label_accuracy",
    "class_score",
    "kd_lite0",
    "precision_lite0",
    "recall_lite0",
    "density_lite0",
    "coverage_lite0",
    "fid",
    "kid",
    "inception_score",
    "fdd",
    "precision",
    "recall",
    "density",
    "coverage",
    "frame_fid",
    "fvd",
    "clip_similarity",
]

Probability = Annotated[float, Interval(ge=0.0, le=1.0)]
PositiveInt = Annotated[int, Interval(gt=0, le=10**9)]
DecayRate = Annotated[float, Interval(ge=0.0, lt=1.0)]
Location = Annotated[float, Interval(ge=-20.0, le=20.0)]
Scale = Annotated[float, Interval(gt=0.0, le=20.0)]
NonNegativeInt = Annotated[int, Interval(ge=0, le=2**63 - 1)]
PositiveFloat = Annotated[float, Gt(0.0)]
Factor = Annotated[float, Interval(gt=0.0, le=1e6)]
UnitTime = Annotated[float, Interval(ge=0.0, le=1.0)]


@dataclass(frozen=True)
class PyramidFitConfig:
    """How the learned pyramid is fitted, by a task of its own, before anything is trained on its scales."""

    width: PositiveInt = 32
    """Channels of its hidden convolutions."""
    steps: PositiveInt = 400
    batch_size: PositiveInt = 32
    learning_rate: PositiveFloat = 2e-3
    coarse_weight: Annotated[float, Ge(0.0)] = 0.1
    """Weight of staying close to the mean over cells; keeps the coarse scale an image, and its variance from 0."""


@dataclass(frozen=True)
class DecompositionConfig:
    """The multi-scale representation (DFM, Eq. 2)."""

    name: DecompositionName = "laplacian"
    resolutions: Annotated[tuple[PositiveInt, ...], Len(1, 6)] = (16, 32)
    """Side of each scale, coarsest first, in cells of the model's input; the last is the data's side."""
    upsampling: Upsampling = "direct"
    """laplacian, ratio 4 and more: one bilinear resize, or one after the other by 2 (numerics 2.1)."""
    wavelet: WaveletFamily = "haar"
    """wavelet: the orthonormal family."""
    block_size: Literal[4, 8] = 8
    """cosine: side of the blocks."""
    domain: Domain = "spatial"
    """cosine: feed each band as an image (paper, appendix F) or as raw coefficients, one channel a frequency."""
    fit: PyramidFitConfig = field(default_factory=PyramidFitConfig)
    """learned: how its weights are made."""

    @property
    def sides(self) -> tuple[int, ...]:
        """Side of each scale's tensor, [S]: its resolution, or in the frequency domain the number of blocks."""
        if self.name == "cosine" and self.domain == "frequency":
            return (self.resolutions[-1] // self.block_size,) * len(self.resolutions)
        return self.resolutions

    def channels(self, data_channels: int) -> tuple[int, ...]:
        """Channels of each scale's tensor, [S]: the data's, times the band's coefficients in the frequency domain."""
        if self.name == "cosine" and self.domain == "frequency":
            kept = [0, *(side * self.block_size // self.resolutions[-1] for side in self.resolutions)]
            return tuple(data_channels * (high**2 - low**2) for low, high in pairwise(kept))
        return (data_channels,) * len(self.resolutions)


DECOMPOSITION_SETTINGS: dict[DecompositionName, tuple[str, ...]] = {
    "identity": (),
    "levels": (),
    "laplacian": ("upsampling",),
    "wavelet": ("wavelet",),
    "cosine": ("block_size", "domain"),
    "fourier": (),
    "learned": ("fit",),
}
"""The settings that each decomposition reads beside its resolutions; the others change nothing and enter no digest."""
assert set(DECOMPOSITION_SETTINGS) == set(get_args(DecompositionName)), "every decomposition says what it reads"


@dataclass(frozen=True)
class ModelConfig:
    """The diffusion transformer."""

    size: ModelSize = "micro"
    """A row of `MODEL_SIZES`."""
    patch_sizes: Annotated[tuple[PositiveInt, ...], Len(1, 6)] = (2, 4)
    """Patch side of each scale."""
    patch_grid: PatchGrid = "shared"
    """`shared`: every scale gives the same number of tokens. `per_stage`: a stage has the tokens of its own scale, and
    earlier scales are spread over that finer grid, so that early stages are cheap (Table 1e; numerics 5.6)."""
    backbone: Backbone = "dit"
    """`tokenformer`: the blocks' linear maps are attention over parameter tokens, some of them a stage's own."""
    specialization: Specialization = "none"
    """Which weights have a version per stage, averaged with the common one (Table 1d; numerics 6)."""
    lora_rank: Annotated[int, Interval(ge=0, le=4096)] = 0
    """Rank of a low-rank addition per stage to every linear map of the blocks; 0 is none."""
    lora_alpha: Factor = 16.0
    """The addition is scaled by alpha / rank."""
    preconditioning: Preconditioning = "edm"
    """`edm`: c_in, c_skip, c_out of EDM carried to flow matching; `no_skip`: c_skip = 0; `none`: raw network."""
    input_masking: bool = True
    """Feed zeros for scales that are not generated yet (False is the paper's "- masking" ablation)."""
    positions: Positions = "rope"
    """`rope`: rotary embedding over the token grid; `sincos`: the fixed additive table of the original DiT."""
    stage_embedding: bool = True
    """Add an embedding of the active stage to the conditioning vector."""
    timestep_scale: Factor = 1000.0
    """Factor on t in [0, 1] before the sin-cos features."""


@dataclass(frozen=True)
class TrainingConfig:
    """The training distribution, the optimiser and the weights average."""

    steps: PositiveInt = 500
    """Optimiser steps. Not part of the digest: with a constant learning rate a longer run extends a shorter one."""
    batch_size: PositiveInt = 256
    """Images per optimiser step, over all workers."""
    timesteps: TimestepLaw = "independent"
    """`independent`: one draw per scale (numerics 3.1); `tied`: one timestep shared by all scales, none masked."""
    first_stage_probability: Probability = 0.9
    """P(only the coarsest scale is active); the rest is split evenly over the later stages (numerics A1, A21)."""
    stage_probabilities: Annotated[tuple[Probability, ...], Len(0, 6)] = ()
    """P(each stage is the active one), given outright instead of by `first_stage_probability`; empty: not given.
    pyramidal_flow: the share of every batch that trains each stage; empty: twice as much for inner stages."""
    stage_draw: StageDraw = "sample"
    """`sample`: every sample draws its stage; `batch`: all samples of a step share one (numerics A3)."""
    loss_masking: bool = True
    """Leave the scales after the active one out of the loss (False trains on scales that are pure noise)."""
    location: Location = 0.0
    """Location of the logit-normal timestep of the active stage."""
    scale: Scale = 1.0
    """Scale of the logit-normal timestep of the active stage."""
    previous_location: Location = 1.5
    """Location of the logit-normal timestep of the stages before the active one, which a cascade is conditioned on."""
    previous_scale: Scale = 1.0
    """Scale of the logit-normal timestep of the stages before the active one."""
    class_dropout: Probability = 0.1
    """Share of labels replaced by the null class, for classifier-free guidance."""
    learning_rate: PositiveFloat = 1e-4
    warmup_steps: NonNegativeInt = 10_000
    """Linear warm-up from 0; constant afterwards."""
    adam_beta1: DecayRate = 0.9
    adam_beta2: DecayRate = 0.99
    adam_epsilon: PositiveFloat = 1e-8
    weight_decay: Annotated[float, Ge(0.0)] = 0.01
    """Decoupled (AdamW)."""
    gradient_clip: PositiveFloat = 1.0
    """Largest global L2 norm of the gradient."""
    ema_decay: DecayRate = 0.9999
    precision: Precision = "fp32"
    """`bf16`: autocast around the network, fp32 weights; meant for CUDA (many CPUs are far slower in bf16)."""


@dataclass(frozen=True)
class SamplingConfig:
    """How a snapshot is turned into images."""

    steps: Annotated[tuple[Annotated[int, Interval(gt=0, le=10_000)], ...], Len(1, 6)] = (30, 10)
    """Solver steps of each stage."""
    tau: tuple[Annotated[float, Gt(0.0), Le(1.0)], ...] = (0.7,)
    """dfm: timestep that stage s reaches before stage s + 1 starts; one per stage but the last."""
    guidance: Annotated[float, Interval(ge=0.0, le=100.0)] = 1.0
    """Classifier-free guidance weight; 1 is the conditional model alone."""
    guidance_interval: Annotated[tuple[UnitTime, ...], Len(2, 2)] = (0.0, 1.0)
    """A scale is guided only while its timestep lies in [first, second]; elsewhere it follows the conditional model."""
    solver: Solver = "euler"
    """`heun` evaluates twice a step, but once in a step that ends at the data, and converges with order 2."""
    time_shift: PositiveFloat = 1.0
    """Time grid inside each stage: 1 is linear; s > 1 takes smaller steps near the noise, t -> t / (s - (s - 1) t)."""
    condition_noise: Annotated[float, Interval(ge=0.0, lt=1.0)] = 0.025
    """cascaded: share of fresh noise in the first stage's output when the second reads it (paper, appendix B)."""
    weights: SampledWeights = "ema"
    """`ema`: the averaged weights (training.ema_decay); `raw`: those that the optimiser moves."""


@dataclass(frozen=True)
class EvaluationConfig:
    """What is measured on a snapshot."""

    at_steps: tuple[PositiveInt, ...] = ()
    """Training steps whose snapshots are evaluated; empty means the last step only."""
    num_samples: Annotated[int, Interval(ge=2, le=10**7)] = 10_000
    metrics: Annotated[tuple[MetricName, ...], Len(1, 16)] = ("fd_lite0_block10", "fd_lite0_head", "label_accuracy")
    label_sampling: LabelSampling = "uniform"
    """`uniform`: classes drawn at random (DiT); `balanced`: sample i has class i mod num_classes."""
    seed: NonNegativeInt = 0
    """Seed of the sampling noise; shared by all rows, so that methods are compared on the same noise."""
    bootstrap_replicates: Annotated[int, Interval(ge=0, le=10_000)] = 100
    """Resamplings behind a metric's standard error; 0: no standard error, and no features in memory for it."""
    inception_splits: PositiveInt = 10
    """inception_score, class_score: parts of the samples whose scores are averaged."""
    kernel_subsets: PositiveInt = 100
    """kid, kd_lite0: subsets whose distances are averaged."""
    kernel_subset_size: PositiveInt = 1000
    num_neighbours: PositiveInt = 5
    """precision, recall, density, coverage: balls reach to this nearest neighbour."""
    caption: str = "a photo of a {}"
    """clip_similarity: the text of a class, its name in the place of {}."""


@dataclass(frozen=True)
class ExpertsConfig:
    """One network per stage instead of one for all, each trained on its own stage (paper, appendix F); a cascade always
    has them."""

    steps: Annotated[tuple[PositiveInt, ...], Len(0, 6)] = ()
    """Training steps of each stage's network; empty: one network for all stages, trained for `training.steps`."""
    compute_shares: Annotated[tuple[Probability, ...], Len(0, 6)] = ()
    """Each network's share of a sweep's compute budget, from which `steps` follow; only with `compute.budget`."""
    initialize: Literal["previous", "scratch"] = "previous"
    """`previous`: each network starts from the averaged weights of the one before."""
    initialize_at: PositiveInt | None = None
    """Step of the network before at which the next one starts from it; default: its last."""


@dataclass(frozen=True)
class CascadeConfig:
    """How the second network of a cascade reads the first one's output (numerics 7, A10)."""

    condition_tokens: ConditionTokens = "added"
    """`added`: position by position, as if channels were concatenated; `joined`: as more tokens of the sequence."""


@dataclass(frozen=True)
class PyramidalFlowConfig:
    """The baseline of Jin et al. (numerics 8)."""

    gamma: Annotated[float, Interval(gt=0.0, le=1 / 3)] = 1 / 3
    """Strength of the block noise at a jump: its covariance is (1 + gamma) I - gamma 1 1^T, which needs <= 1/3."""


@dataclass(frozen=True)
class ExperimentConfig:
    """One fully resolved experiment. Construct freely; `config_rules` says what does not fit together."""

    paradigm: Paradigm = "dfm"
    seed: NonNegativeInt = 0
    data: DataConfig = field(default_factory=DataConfig)
    decomposition: DecompositionConfig = field(default_factory=DecompositionConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    experts: ExpertsConfig = field(default_factory=ExpertsConfig)
    cascade: CascadeConfig = field(default_factory=CascadeConfig)
    pyramidal_flow: PyramidalFlowConfig = field(default_factory=PyramidalFlowConfig)
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)

    @property
    def num_stages(self) -> int:
        return len(self.decomposition.resolutions)

    @property
    def evaluation_steps(self) -> tuple[int, ...]:
        """Training steps at which something is measured; experts are measured once, after the steps of all of them."""
        if self.experts.steps:
            return (sum(self.experts.steps),)
        return tuple(sorted(set(self.evaluation.at_steps))) or (self.training.steps,)

    @property
    def stage_probabilities(self) -> tuple[float, ...]:
        """P(stage q is the active one), [S], sums to 1 (numerics 3.1; A21 for S > 2); tied: always the last."""
        if self.training.timesteps == "tied":
            return (*[0.0] * (self.num_stages - 1), 1.0)
        if self.training.stage_probabilities:
            return self.training.stage_probabilities
        if self.num_stages == 1:
            return (1.0,)
        if self.paradigm == "cascaded":  # no stage is drawn: each has a network of its own
            return (1.0 / self.num_stages,) * self.num_stages
        if self.paradigm == "pyramidal_flow":  # the ends count once, what lies between twice (numerics 8.2)
            once = 1.0 / (2 * self.num_stages - 2)
            return (once, *[2 * once] * (self.num_stages - 2), once)
        first = self.training.first_stage_probability
        rest = (1.0 - first) / (self.num_stages - 1)
        return (first, *[rest] * (self.num_stages - 1))

    @property
    def own_stages(self) -> tuple[int, ...]:
        """Stages that are ever the active one in training: for an expert, or a cascade's network, one of them."""
        return tuple(stage for stage, share in enumerate(self.stage_probabilities) if share > 0.0)

    @property
    def token_sides(self) -> tuple[int, ...]:
        """Side of the token grid on which each stage runs, [S]."""
        own = [side // patch for side, patch in zip(self.decomposition.sides, self.model.patch_sizes, strict=True)]
        return tuple(own)


def expert_config(config: ExperimentConfig, stage: int) -> ExperimentConfig:
    """The config of the training of one stage's network, for `experts.steps` of it if they are given."""
    shares = tuple(float(other == stage) for other in range(config.num_stages))
    steps = config.experts.steps[stage] if config.experts.steps else config.training.steps
    training = replace(config.training, stage_probabilities=shares, steps=steps)
    return replace(config, training=training, experts=ExpertsConfig())


def stage_columns(shares: Sequence[float]) -> tuple[int, ...]:
    """The smallest whole numbers in the ratio of the shares, [S]; of shares that sum to 1 and are small fractions."""
    fractions = [Fraction(share).limit_denominator(_MAX_COLUMNS) for share in shares]
    whole = lcm(*(fraction.denominator for fraction in fractions))
    return tuple(int(fraction * whole) for fraction in fractions)


@dataclass(frozen=True)
class ModelSizeSpec:
    """Dimensions of a diffusion transformer (numerics 5.2; `nano` and `micro` are ours, for CPUs)."""

    depth: int
    width: int
    heads: int


MODEL_SIZES: dict[ModelSize, ModelSizeSpec] = {
    "nano": ModelSizeSpec(depth=2, width=32, heads=2),
    "micro": ModelSizeSpec(depth=3, width=128, heads=4),
    "S": ModelSizeSpec(depth=12, width=384, heads=6),
    "B": ModelSizeSpec(depth=12, width=768, heads=12),
    "L": ModelSizeSpec(depth=24, width=1024, heads=16),
    "XL": ModelSizeSpec(depth=28, width=1152, heads=16),
}
assert set(MODEL_SIZES) == set(get_args(ModelSize)), "MODEL_SIZES and ModelSize name the same sizes"


def from_plain(kind: type[Config], data: Mapping[str, Any]) -> Config:
    """The inverse of `as_plain` for a config dataclass. Checks names and choices, not ranges.

    Raises: ValueError naming keys that the dataclass does not have, or a choice that it does not offer; TypeError.
    """
    if not isinstance(data, Mapping):
        raise TypeError(f"{kind.__name__} is a mapping, got {data!r}")
    hints = get_type_hints(kind)
    unknown = sorted(set(data) - set(hints))
    if unknown:
        raise ValueError(f"{kind.__name__} has no {', '.join(unknown)}; it was written by another version")
    values: dict[str, Any] = {}
    for name, value in data.items():
        section = next((part for part in (hints[name], *get_args(hints[name])) if is_dataclass(part)), None)
        if isinstance(section, type) and value is not None:
            values[name] = from_plain(section, value)
        elif get_origin(hints[name]) is Literal and value not in get_args(hints[name]):
            raise ValueError(
                f"{kind.__name__}.{name} {value!r} is none of {', '.join(map(str, get_args(hints[name])))}"
            )
        else:
            values[name] = tuple(value) if isinstance(value, list) else value
    return kind(**values)


def as_plain(config: object) -> Any:
    """Nested dicts, lists and scalars of a config dataclass, for JSON and digests."""
    if type(config) in _SCALARS:
        return config
    if hasattr(config, "__dataclass_fields__"):
        return {name: as_plain(getattr(config, name)) for name in config.__dataclass_fields__}
    if isinstance(config, tuple | list):
        return [as_plain(value) for value in config]
    return config
