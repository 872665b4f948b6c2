"""Everything that can change a number, as frozen dataclasses.

The *training* half decides what a snapshot contains, the *sampling* and *evaluation* halves decide what is
measured on it; `orchestration.plan` digests them apart, so that trials which differ only in sampling share one
training. What cannot change a number (workers, paths, logging) lives in `orchestration.runtime`, not here: the
digest leaves it out by type, not by a list of exceptions.

This module needs no torch. Ranges are declared with `annotated_types`; rules that span fields are checked by
`ExperimentConfig.problems`, which reports all of them at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from itertools import pairwise
from typing import Annotated, Any, Literal, get_args

from annotated_types import Ge, Gt, Interval, Le, Len

from dfm_core.data.catalog import DATASETS

NUMERICS_VERSION = 1
"""Raised whenever the same config would give other numbers; part of every digest."""

Paradigm = Literal["dfm", "flow_matching"]
DecompositionName = Literal["identity", "laplacian"]
ModelSize = Literal["nano", "micro", "S", "B", "L", "XL"]
Preconditioning = Literal["edm", "no_skip", "none"]
Positions = Literal["rope", "sincos"]
TimestepLaw = Literal["independent", "tied"]
Precision = Literal["fp32", "bf16"]
LabelSampling = Literal["uniform", "balanced"]
MetricName = Literal["fd_lite0_block10", "fd_lite0_head", "label_accuracy"]

Probability = Annotated[float, Interval(ge=0.0, le=1.0)]
PositiveInt = Annotated[int, Interval(gt=0, le=10**9)]
DecayRate = Annotated[float, Interval(ge=0.0, lt=1.0)]
Location = Annotated[float, Interval(ge=-20.0, le=20.0)]
Scale = Annotated[float, Interval(gt=0.0, le=20.0)]
NonNegativeInt = Annotated[int, Interval(ge=0, le=2**63 - 1)]
PositiveFloat = Annotated[float, Gt(0.0)]


@dataclass(frozen=True)
class DataConfig:
    """Which images, and how their scales are normalised."""

    dataset: str = "fashion_mnist"
    """A name in `dfm_core.data.catalog.DATASETS`."""
    standardize: bool = False
    """Divide every scale by its standard deviation on the training data before noising (numerics: optional)."""


@dataclass(frozen=True)
class DecompositionConfig:
    """The multi-scale representation (DFM, Eq. 2)."""

    name: DecompositionName = "laplacian"
    resolutions: Annotated[tuple[PositiveInt, ...], Len(1, 6)] = (16, 32)
    """Side of each scale, coarsest first, in cells of the model's input; the last is the data's side."""


@dataclass(frozen=True)
class ModelConfig:
    """The diffusion transformer."""

    size: ModelSize = "micro"
    """A row of `MODEL_SIZES`."""
    patch_sizes: Annotated[tuple[PositiveInt, ...], Len(1, 6)] = (2, 4)
    """Patch side of each scale; every scale must give the same number of tokens."""
    preconditioning: Preconditioning = "edm"
    """`edm`: c_in, c_skip, c_out of EDM carried to flow matching; `no_skip`: c_skip = 0; `none`: raw network."""
    input_masking: bool = True
    """Feed zeros for scales that are not generated yet (False is the paper's "- masking" ablation)."""
    positions: Positions = "rope"
    """`rope`: rotary embedding over the token grid; `sincos`: the fixed additive table of the original DiT."""
    stage_embedding: bool = True
    """Add an embedding of the active stage to the conditioning vector."""
    timestep_scale: PositiveFloat = 1000.0
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
    location: Location = 0.0
    """Location of the logit-normal timestep of the active stage."""
    scale: Scale = 1.0
    """Scale of the logit-normal timestep of the active stage."""
    previous_location: Location = 1.5
    """Location of the logit-normal timestep of the stages before the active one."""
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
    """Timestep that stage s reaches before stage s + 1 starts; one per stage but the last."""
    guidance: Annotated[float, Interval(ge=0.0, le=100.0)] = 1.0
    """Classifier-free guidance weight; 1 is the conditional model alone."""


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


@dataclass(frozen=True)
class ExperimentConfig:
    """One fully resolved experiment. Construct freely; `problems()` says what does not fit together."""

    paradigm: Paradigm = "dfm"
    seed: NonNegativeInt = 0
    data: DataConfig = field(default_factory=DataConfig)
    decomposition: DecompositionConfig = field(default_factory=DecompositionConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)

    @property
    def num_stages(self) -> int:
        return len(self.decomposition.resolutions)

    @property
    def evaluation_steps(self) -> tuple[int, ...]:
        return tuple(sorted(set(self.evaluation.at_steps))) or (self.training.steps,)

    @property
    def stage_probabilities(self) -> tuple[float, ...]:
        """P(stage q is the active one), [S], sums to 1 (numerics 3.1; A21 for S > 2)."""
        if self.num_stages == 1:
            return (1.0,)
        first = self.training.first_stage_probability
        rest = (1.0 - first) / (self.num_stages - 1)
        return (first, *[rest] * (self.num_stages - 1))

    def problems(self) -> list[tuple[str, str]]:
        """All rules that span fields: (key, message) of each one broken."""
        return [*_scale_problems(self), *_stage_problems(self), *_step_problems(self)]


def _scale_problems(config: ExperimentConfig) -> list[tuple[str, str]]:
    """The data, the decomposition and the patches must fit each other."""
    resolutions, patches = config.decomposition.resolutions, config.model.patch_sizes
    found = [("decomposition.resolutions", message) for message in _resolution_problems(config)]
    if len(patches) != len(resolutions):
        count = f"{len(patches)} patch sizes for {len(resolutions)} resolutions: give one per scale"
        return [*found, ("model.patch_sizes", count)]
    for side, patch in zip(resolutions, patches, strict=True):
        if side % patch:
            found.append(("model.patch_sizes", f"patch {patch} does not divide side {side}"))
    tokens = [(side // patch) ** 2 for side, patch in zip(resolutions, patches, strict=True)]
    if len(set(tokens)) > 1:
        unequal = f"{list(patches)} give {tokens} tokens at sides {list(resolutions)}"
        found.append(("model.patch_sizes", f"{unequal}; all scales need the same number"))
    return found


def _resolution_problems(config: ExperimentConfig) -> Iterator[str]:
    resolutions = config.decomposition.resolutions
    if list(resolutions) != sorted(set(resolutions)):
        yield f"{list(resolutions)} must grow strictly, coarsest first"
    if config.data.dataset in DATASETS:
        side = DATASETS[config.data.dataset].resolution
        if resolutions[-1] != side:
            yield f"the last is {resolutions[-1]}, but {config.data.dataset} has side {side}"
    for coarse, fine in pairwise(resolutions):
        if fine % coarse:
            yield f"{fine} is not a multiple of {coarse}"
    if config.decomposition.name == "identity" and len(resolutions) != 1:
        yield f"identity has one scale, got {len(resolutions)}"


def _stage_problems(config: ExperimentConfig) -> list[tuple[str, str]]:
    """The paradigm, the stages and the sampler must fit each other."""
    found: list[tuple[str, str]] = []
    stages, steps, tau = config.num_stages, config.sampling.steps, config.sampling.tau
    if config.paradigm == "flow_matching" and stages != 1:
        message = f"flow_matching has one scale, got {stages}; give decomposition.resolutions the last one only"
        found.append(("decomposition.resolutions", message))
    if len(steps) != stages:
        found.append(("sampling.steps", f"{list(steps)} has {len(steps)} entries for {stages} stage(s)"))
    if len(tau) != stages - 1:
        found.append(("sampling.tau", f"{list(tau)} has {len(tau)} entries; {stages} stage(s) need {stages - 1}"))
    return found


def _step_problems(config: ExperimentConfig) -> list[tuple[str, str]]:
    late = [step for step in config.evaluation.at_steps if step > config.training.steps]
    if late:
        return [("evaluation.at_steps", f"{late} lie after the last training step {config.training.steps}")]
    return []


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


def as_plain(config: object) -> Any:
    """Nested dicts, lists and scalars of a config dataclass, for JSON and digests."""
    if hasattr(config, "__dataclass_fields__"):
        return {f.name: as_plain(getattr(config, f.name)) for f in fields(config)}  # type: ignore[arg-type]
    if isinstance(config, tuple | list):
        return [as_plain(value) for value in config]
    return config
