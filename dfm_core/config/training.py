"""Training: distribution, optimiser, experts, and settings of single paradigms."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge, Interval, Len

from dfm_core.catalog.flux import AdapterTarget
from dfm_core.config import choices


@dataclass(frozen=True)
class OptimizerSettings:
    """The optimiser and the weights average of a training of any kind; all that an engine reads of its config."""

    steps: choices.PositiveInt = 500
    """Optimiser steps. Not part of a model's digest: with a constant learning rate a longer run extends a shorter
    one."""
    batch_size: choices.PositiveInt = 256
    """Images per optimiser step, over all workers."""
    learning_rate: choices.PositiveFloat = 1e-4
    """AdamW's, after the warm-up."""
    warmup_steps: choices.NonNegativeInt = 10_000
    """Linear warm-up from 0; constant afterwards."""
    adam_beta1: choices.DecayRate = 0.9
    """AdamW's decay rate of the first moment."""
    adam_beta2: choices.DecayRate = 0.99
    """AdamW's decay rate of the second moment."""
    adam_epsilon: choices.PositiveFloat = 1e-8
    """AdamW's term in the denominator."""
    weight_decay: Annotated[float, Ge(0.0)] = 0.01
    """Decoupled (AdamW)."""
    gradient_clip: choices.PositiveFloat = 1.0
    """Largest global L2 norm of the gradient."""
    ema_decay: choices.DecayRate = 0.9999
    """0: no average is kept, and what is sampled is the weights."""
    precision: choices.Precision = "fp32"
    """`bf16`: autocast around the network, fp32 weights; meant for CUDA (many CPUs are far slower in bf16)."""


@dataclass(frozen=True)
class AdapterConfig:
    """Low-rank additions to linear maps of a backbone, whose own weights stay as they are: W + B A."""

    rank: Annotated[int, Interval(ge=1, le=4096)] = 16
    """Columns of B, and rows of A."""
    targets: Annotated[tuple[AdapterTarget, ...], Len(1, 32)] = ("attn.to_q", "attn.to_k", "attn.to_v", "attn.to_out.0")
    """Ends of the names of these maps, diffusers' own; in every block that has one."""


@dataclass(frozen=True)
class TrainingChange:
    """Settings that change while a training goes on: the state stays, moments of the optimiser included."""

    after_step: choices.PositiveInt
    """Last step with the settings before."""
    settings: tuple[tuple[str, float], ...] = ()
    """Names in `TrainingConfig` and their new values, see `CHANGEABLE`; none: the same go on."""


CHANGEABLE = (
    "learning_rate",
    "first_stage_probability",
    "location",
    "scale",
    "previous_location",
    "previous_scale",
    "weight_decay",
    "gradient_clip",
    "class_dropout",
)
"""Settings that a training may change on its way: neither model, data nor the state's form depend on them."""


@dataclass(frozen=True)
class TrainingConfig(OptimizerSettings):
    """The training distribution, the optimiser and the weights average."""

    steps: choices.NonNegativeSteps = 500
    """Optimiser steps. Not part of a model's digest: with a constant learning rate a longer run extends a shorter one.
    0: what it starts from is measured as it is."""
    trainable: choices.Trainable = "all"
    """flux: `projections` trains only what turns latents into tokens and back (paper, appendix E.1)."""
    adapter: AdapterConfig | None = None
    """flux: trains low-rank additions, and all of a second scale, and nothing else; another thing than
    `model.lora_rank`, which is a stage's."""
    timesteps: choices.TimestepLaw = "independent"
    """`independent`: one draw per scale (numerics 3.1); `tied`: one timestep shared by all scales, none masked."""
    first_stage_probability: choices.Probability = 0.9
    """P(only the coarsest scale is active); the rest is split evenly over the later stages (numerics A1, A21)."""
    stage_probabilities: Annotated[tuple[choices.Probability, ...], Len(0, 6)] = ()
    """P(each stage is the active one), given outright instead of by `first_stage_probability`; empty: not given.
    pyramidal_flow: the share of every batch that trains each stage; empty: twice as much for inner stages."""
    stage_draw: choices.StageDraw = "sample"
    """`sample`: every sample draws its stage; `batch`: all samples of a step share one (numerics A3)."""
    loss_masking: bool = True
    """Leave the scales after the active one out of the loss (False trains on scales that are pure noise)."""
    location: choices.Location = 0.0
    """Location of the logit-normal timestep of the active stage."""
    scale: choices.Scale = 1.0
    """Scale of the logit-normal timestep of the active stage."""
    previous_location: choices.Location = 1.5
    """Location of the logit-normal timestep of the stages before the active one, which a cascade is conditioned on."""
    previous_scale: choices.Scale = 1.0
    """Scale of the logit-normal timestep of the stages before the active one."""
    class_dropout: choices.Probability = 0.1
    """Share of labels replaced by the null class, for classifier-free guidance."""
    deterministic: bool = False
    """On a GPU use kernels that give the same bits in every run (flash attention's backward pass does not by default),
    so that a resumed training is the uninterrupted one bit for bit; slower. CPUs always do."""
    changes: tuple[TrainingChange, ...] = ()
    """Changes on the way, by step; one after the last step says that others may go on from there. Decided by searches
    with `trial_scheduler: {kind: pbt}`, never given."""


@dataclass(frozen=True)
class ExpertsConfig:
    """One network per stage instead of one for all, each trained on its own stage (paper, appendix F); a cascade always
    has them."""

    steps: Annotated[tuple[choices.PositiveInt, ...], Len(0, 6)] = ()
    """Training steps of each stage's network; empty: one network for all stages, trained for `training.steps`."""
    compute_shares: Annotated[tuple[choices.Probability, ...], Len(0, 6)] = ()
    """Each network's share of a sweep's compute budget, from which `steps` follow; only with `compute.budget`."""
    initialize: Literal["previous", "scratch"] = "previous"
    """`previous`: each network starts from the averaged weights of the one before."""
    initialize_at: choices.PositiveInt | None = None
    """Step of the network before at which the next one starts from it; default: its last."""


@dataclass(frozen=True)
class CascadeConfig:
    """Input of a cascade's second network: the first one's output (numerics 7, A10)."""

    condition_tokens: choices.ConditionTokens = "added"
    """`added`: position by position, as if channels were concatenated; `joined`: as more tokens of the sequence."""


@dataclass(frozen=True)
class PyramidalFlowConfig:
    """The baseline of Jin et al. (numerics 8)."""

    gamma: Annotated[float, Interval(gt=0.0, le=1 / 3)] = 1 / 3
    """Strength of the block noise at a jump: its covariance is (1 + gamma) I - gamma 1 1^T, which needs <= 1/3."""
