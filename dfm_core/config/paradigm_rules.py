"""Rules of each paradigm about other settings: (key, message) of each broken rule. Needs no torch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

from dfm_core.config.experiment import ExperimentConfig, stage_columns
from dfm_core.config.model import ModelConfig

Rule = tuple[str, str]
_SHARE_TOLERANCE = 1e-6


def sum_to_one(shares: Sequence[float]) -> bool:
    """Return True if shares add up to one whole."""
    return abs(sum(shares) - 1.0) <= _SHARE_TOLERANCE


def weights_per_stage(model: ModelConfig, whom: str) -> Iterator[Rule]:
    """Yield the settings that give a network weights per stage."""
    default = ModelConfig()
    for setting in ("backbone", "specialization", "lora_rank"):
        if getattr(model, setting) not in (getattr(default, setting), "flux"):  # which has rules of its own
            yield f"model.{setting}", f"weights per stage mean nothing to {whom}"


def paradigm_problems(config: ExperimentConfig) -> Iterator[Rule]:
    """Yield the rules of the paradigm that the config breaks."""
    if config.paradigm == "flow_matching":
        yield from _flow_matching_problems(config)
    elif config.paradigm == "cascaded":
        yield from _cascade_problems(config)
    elif config.paradigm == "pyramidal_flow":
        yield from _pyramidal_problems(config)


def _flow_matching_problems(config: ExperimentConfig) -> Iterator[Rule]:
    if config.num_stages != 1:
        wanted = "give decomposition.resolutions the last one only"
        yield "decomposition.resolutions", f"flow_matching has one scale, got {config.num_stages}; {wanted}"
    if config.decomposition.domain == "frequency":
        yield "decomposition.domain", "flow_matching generates images, which frequency coefficients are not"


def _level_problems(config: ExperimentConfig) -> Iterator[Rule]:
    """Yield the broken rules of paradigms that generate an image at growing resolutions."""
    name = config.decomposition.name
    if name != "levels":
        yield "decomposition.name", f"{config.paradigm} generates the image at each resolution: levels, not {name}"
    if config.training.timesteps == "tied":
        yield "training.timesteps", f"tied is for dfm; {config.paradigm} generates one stage after the other"


def _cascade_problems(config: ExperimentConfig) -> Iterator[Rule]:
    yield from _level_problems(config)
    if config.num_stages != 2:
        message = f"a cascade has two stages, got {list(config.decomposition.resolutions)}"
        yield "decomposition.resolutions", message
    is_one_network = len(config.own_stages) == 1
    if not config.experts.steps and not config.experts.compute_shares and not is_one_network:
        message = "a cascade trains a network per stage: give the steps of each, e.g. [400000, 100000]"
        yield "experts.steps", f"{message}, or experts.compute_shares with the sweep's compute.budget"
    if not config.experts.steps:  # else the experts' rule says it
        yield from weights_per_stage(config.model, "a cascade, which has networks per stage")


def _pyramidal_problems(config: ExperimentConfig) -> Iterator[Rule]:
    yield from _level_problems(config)
    resolutions, batch = config.decomposition.resolutions, config.training.batch_size
    if len(resolutions) not in (2, 3):
        yield "decomposition.resolutions", f"pyramidal_flow has 2 or 3 stages, got {list(resolutions)}"
    for coarse, fine in pairwise(resolutions):
        if fine != 2 * coarse:
            doubles = f"pyramidal_flow doubles the side from stage to stage, not {coarse} to {fine}"
            yield "decomposition.resolutions", doubles
    sampling = config.sampling
    if sampling.guidance_interval != (0.0, 1.0):
        yield "sampling.guidance_interval", "pyramidal_flow is guided everywhere: give [0.0, 1.0]"
    if sampling.time_shift != 1.0:
        yield "sampling.time_shift", f"{sampling.time_shift:g}: pyramidal_flow has a time grid of its own; give 1"
    shares = config.stage_probabilities
    if len(shares) != config.num_stages or not sum_to_one(shares):
        return  # which the rule of the shares themselves reports
    columns = stage_columns(shares)
    if 0 in columns:
        yield "training.stage_probabilities", f"{list(shares)}: one network learns all stages, so no share may be 0"
    elif batch % sum(columns):
        message = f"{batch} is not a multiple of {sum(columns)}, which deals the shares {list(columns)} out"
        yield "training.batch_size", message
