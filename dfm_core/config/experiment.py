"""Everything that can change a number, as frozen dataclasses.

The *training* half decides what a snapshot contains, the *sampling* and *evaluation* halves decide what is
measured on it; `orchestration.plan.plan` digests them apart, so that trials which differ only in sampling share one
training. What cannot change a number (workers, paths, logging) lives in `orchestration.config.runtime`, not here: the
digest leaves it out by type, not by a list of exceptions.

This module needs no torch. Ranges are declared with `annotated_types`; rules that span fields are in
`dfm_core.config.rules`, which reports all of them at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from math import lcm

from dfm_core.config.choices import NonNegativeInt, Paradigm
from dfm_core.config.data import DataConfig
from dfm_core.config.evaluation import EvaluationConfig, SamplingConfig
from dfm_core.config.model import DecompositionConfig, ModelConfig
from dfm_core.config.training import CascadeConfig, ExpertsConfig, PyramidalFlowConfig, TrainingConfig

NUMERICS_VERSION = 2
"""Raised whenever the same config would give other numbers, of whatever kind of work (docs/numerics.md)."""
NUMERICS_CHANGED_IN = {
    "encode": 2,
    "finetune_autoencoder": 2,
    "pyramid": 2,
    "train": 2,
    "generated": 2,
    "real": 2,
    "reference": 2,
    "probe": 2,
    "floor": 2,
    "evaluate": 2,
    "images": 2,
}
"""Kind of work -> the `NUMERICS_VERSION` that changed its numbers last; part of its digests."""

_MAX_COLUMNS = 10_000


@dataclass(frozen=True)
class ExperimentConfig:
    """One fully resolved experiment. Construct freely; `config.rules` says what does not fit together."""

    paradigm: Paradigm = "dfm"
    """The method: a generative process over scales and how its network is trained."""
    seed: NonNegativeInt = 0
    """Seed of weights, batches, noise and samples; a sweep gives `seeds` instead."""
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
    """Return the config of the training of one stage's network, for `experts.steps` of it if they are given."""
    shares = tuple(float(other == stage) for other in range(config.num_stages))
    steps = config.experts.steps[stage] if config.experts.steps else config.training.steps
    training = replace(config.training, stage_probabilities=shares, steps=steps)
    return replace(config, training=training, experts=ExpertsConfig())


def stage_columns(shares: Sequence[float]) -> tuple[int, ...]:
    """The smallest whole numbers in the ratio of the shares, [S]; of shares that sum to 1 and are small fractions."""
    fractions = [Fraction(share).limit_denominator(_MAX_COLUMNS) for share in shares]
    whole = lcm(*(fraction.denominator for fraction in fractions))
    return tuple(int(fraction * whole) for fraction in fractions)
