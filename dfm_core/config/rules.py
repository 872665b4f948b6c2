"""The rules that span fields of an `ExperimentConfig`: (key, message) of each one broken. Needs no torch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import fields
from itertools import pairwise

from dfm_core.catalog.datasets import DATASETS
from dfm_core.catalog.metrics import METRICS
from dfm_core.config.backbone_rules import backbone_problems
from dfm_core.config.data import DataConfig
from dfm_core.config.dataset_card import find_card
from dfm_core.config.evaluation_rules import evaluation_problems
from dfm_core.config.experiment import ExperimentConfig
from dfm_core.config.model import DECOMPOSITION_SETTINGS, DecompositionConfig
from dfm_core.config.paradigm_rules import Rule, paradigm_problems, sum_to_one, weights_per_stage


def broken_rules(config: ExperimentConfig) -> list[Rule]:
    """Return all broken rules, the data's first."""
    return [
        *(("decomposition.resolutions", message) for message in _resolution_problems(config)),
        *_decomposition_problems(config.decomposition),
        *_token_problems(config),
        *_network_problems(config),
        *_stage_problems(config),
        *paradigm_problems(config),
        *backbone_problems(config),
        *_expert_problems(config),
        *_step_problems(config),
        *evaluation_problems(config),
        *_latents_problems(config),
    ]


def _latents_problems(config: ExperimentConfig) -> Iterator[Rule]:
    """Yield the settings that work on embedded images alone."""
    if config.data.described is None:
        return
    if config.decomposition.name == "learned":
        yield "decomposition.name", "learned is fitted to embedded images, not to latents"
    probed = [name for name in config.evaluation.metrics if METRICS[name].needs_probe]
    if probed and config.data.dataset not in DATASETS:
        message = "a label probe of training images, which are kept as latents only; leave it out: give, e.g."
        rest = [name for name in config.evaluation.metrics if name not in probed] or ["fd_lite0_block10"]
        yield "evaluation.metrics", f"{', '.join(probed)} needs {message} [{', '.join(rest)}]"


def _resolution_problems(config: ExperimentConfig) -> Iterator[str]:
    """The data and the decomposition must fit each other."""
    name, resolutions = config.decomposition.name, config.decomposition.resolutions
    if list(resolutions) != sorted(set(resolutions)):
        yield f"{list(resolutions)} must grow strictly, coarsest first"
    card = find_card(config.data)
    if card is not None and resolutions[-1] != card.resolution:
        yield f"the last is {resolutions[-1]}, but {_side_text(config.data, card.resolution, resolutions[-1])}"
    for coarse, fine in pairwise(resolutions):
        ratio = fine // coarse
        if fine % coarse:
            yield f"{fine} is not a multiple of {coarse}"
        elif name in ("wavelet", "learned") and ratio & (ratio - 1):
            yield f"{fine} is {ratio} times {coarse}; {name} needs a power of 2"
    if name == "identity" and len(resolutions) != 1:
        yield f"identity has one scale, got {len(resolutions)}"
    if name == "learned" and len(resolutions) == 1:
        yield "learned has nothing to learn with one scale; give two or more, or decomposition.name: identity"


def _side_text(data: DataConfig, side: int, wanted: int) -> str:
    """Return the side of a dataset as the model sees it, and how to come to another."""
    has = f"{'latents of ' if data.autoencoder else ''}side {side}"
    if data.described is None or not data.side:
        return f"{data.dataset} has {has}: end with {side}"
    factor = data.side // side
    pixels = f" ({data.side} px / {factor})" if data.autoencoder else ""
    other = f"let data.side, or that of its alias, be {wanted * factor}"
    return f"{data.dataset} has {has}{pixels}: end with {side}, or {other}"


def _decomposition_problems(decomposition: DecompositionConfig) -> Iterator[Rule]:
    """Yield settings that the named decomposition does not read, and blocks that do not fit."""
    name, resolutions = decomposition.name, decomposition.resolutions
    default = DecompositionConfig()
    always = ("name", "resolutions", *DECOMPOSITION_SETTINGS[name])
    for setting in fields(decomposition):
        if setting.name not in always and getattr(decomposition, setting.name) != getattr(default, setting.name):
            reader = next(reader for reader, read in DECOMPOSITION_SETTINGS.items() if setting.name in read)
            yield f"decomposition.{setting.name}", f"is read by {reader} only, and the decomposition is {name}"
    if decomposition.held_at == "full" and name == "laplacian" and len(resolutions) != 2:
        yield "decomposition.held_at", f"full holds two scales at full size, got {len(resolutions)}: give own"
    if name == "cosine":
        block, side = decomposition.block_size, resolutions[-1]
        if side % block:
            yield "decomposition.block_size", f"{block} does not divide side {side}"
        for coarse in resolutions[:-1]:
            if coarse * block % side:
                message = f"{coarse} of {side} keeps no whole number of frequencies of a block of {block}"
                yield "decomposition.resolutions", message


def _token_problems(config: ExperimentConfig) -> Iterator[Rule]:
    """The scales and the patches must fit each other."""
    sides, patches = config.decomposition.sides, config.model.patch_sizes
    if len(patches) != len(sides):
        yield "model.patch_sizes", f"{len(patches)} patch sizes for {len(sides)} resolutions: give one per scale"
        return
    if 0 in sides:
        return  # a block wider than the data, which the decomposition's own rule reports
    uneven = [(side, patch) for side, patch in zip(sides, patches, strict=True) if side % patch]
    for side, patch in uneven:
        yield "model.patch_sizes", f"patch {patch} does not divide side {side}"
    tokens = [(side // patch) ** 2 for side, patch in zip(sides, patches, strict=True)]
    if config.model.patch_grid == "shared" and len(set(tokens)) > 1:
        unequal = f"{list(patches)} give {tokens} tokens at sides {list(sides)}"
        yield "model.patch_sizes", f"{unequal}; all scales need the same number, or model.patch_grid: per_stage"
    if config.model.patch_grid == "per_stage" and not uneven:
        grids = config.token_sides
        if any(fine % coarse for coarse, fine in pairwise(grids)):
            yield "model.patch_sizes", f"token grids of sides {list(grids)}: each must be a multiple of the one before"


def _network_problems(config: ExperimentConfig) -> Iterator[Rule]:
    """Switches of the architecture that exclude each other."""
    model = config.model
    if model.patch_grid == "per_stage":
        if not model.input_masking:
            yield "model.input_masking", "false feeds every scale in every stage; model.patch_grid: per_stage does not"
        if not config.training.loss_masking:
            message = "false trains every scale in every stage; model.patch_grid: per_stage leaves later ones out"
            yield "training.loss_masking", message
        if model.positions != "rope":
            yield "model.positions", "model.patch_grid: per_stage needs rope, which knows grids of any side"
    card = find_card(config.data)
    if card is not None and card.frames is not None and model.positions != "rope":
        yield "model.positions", f"{config.data.dataset} holds videos, and the table knows no frames: give rope"
    if model.backbone == "tokenformer" and model.specialization in ("attention", "mlp", "full"):
        message = f"{model.specialization} concerns linear maps that a tokenformer does not have"
        yield "model.specialization", f"{message}; its parameter tokens are specialised already"
    if model.backbone == "tokenformer" and model.lora_rank:
        yield "model.lora_rank", "a tokenformer's blocks have no linear maps to add to; its tokens are specialised"
    if model.lora_rank and model.specialization != "none":
        yield "model.lora_rank", f"choose one: specialization is {model.specialization}"


def _stage_problems(config: ExperimentConfig) -> Iterator[Rule]:
    """The stages and the sampler must fit each other."""
    stages, sampling, given = config.num_stages, config.sampling, config.training.stage_probabilities
    steps, tau, interval = sampling.steps, sampling.tau, sampling.guidance_interval
    if len(steps) != stages:
        later = max(1, sum(steps) // (2 * stages))
        example = [max(1, sum(steps) - later * (stages - 1)), *[later] * (stages - 1)]
        yield "sampling.steps", f"{_entries(steps)} for {_stages(stages)}: give one number a stage, e.g. {example}"
    if config.paradigm in ("cascaded", "pyramidal_flow"):
        if tau:
            yield "sampling.tau", f"{list(tau)}: {config.paradigm} ends a stage before the next begins; give []"
    elif len(tau) != stages - 1:
        yield "sampling.tau", f"{_entries(tau)}; {_stages(stages)} need{'s' * (stages == 1)} {stages - 1}"
    yield from _count_problem("training.stage_probabilities", given, stages)
    if given and not sum_to_one(given):
        yield "training.stage_probabilities", f"{list(given)} sum to {sum(given):g}, not to 1"
    if given and config.training.timesteps == "tied":
        yield "training.stage_probabilities", "are not read when all timesteps are tied"
    if interval[0] > interval[1]:
        yield "sampling.guidance_interval", f"{list(interval)} ends before it begins"


def _count_problem(key: str, given: Sequence[object], stages: int) -> Iterator[Rule]:
    """Yield a setting that has not one entry for each stage, unless it is not given."""
    if given and len(given) != stages:
        yield key, f"{_entries(given)} for {_stages(stages)}: give one number a stage"


def _entries(given: Sequence[object]) -> str:
    return f"{list(given)} has {len(given)} entr{'y' if len(given) == 1 else 'ies'}"


def _stages(number: int) -> str:
    return f"{number} stage{'' if number == 1 else 's'}"


def _expert_problems(config: ExperimentConfig) -> Iterator[Rule]:
    """Experts have a stage each, and what concerns several stages in one network means nothing to them."""
    experts, shares = config.experts, config.experts.compute_shares
    yield from _count_problem("experts.compute_shares", shares, config.num_stages)
    if shares and (not sum_to_one(shares) or 0.0 in shares):
        yield "experts.compute_shares", f"{list(shares)} must be above 0 and sum to 1; they sum to {sum(shares):g}"
    if shares and config.paradigm not in ("dfm", "cascaded"):
        yield "experts.compute_shares", f"{config.paradigm} has one network; experts are for dfm and cascaded"
    if shares and experts.steps:
        yield "experts.compute_shares", f"experts.steps {list(experts.steps)} are given; leave one of them out"
    if experts.steps and config.num_stages == 1:
        yield "experts.steps", "experts need two stages or more"
    elif experts.steps:
        yield from _expert_clashes(config)
    elif experts.initialize_at is not None and not shares:
        yield "experts.initialize_at", "means nothing without experts.steps"


def _expert_clashes(config: ExperimentConfig) -> Iterator[Rule]:
    experts, training = config.experts, config.training
    yield from _count_problem("experts.steps", experts.steps, config.num_stages)
    if config.paradigm not in ("dfm", "cascaded"):
        yield "experts.steps", f"{config.paradigm} has one network; experts are for dfm and cascaded"
    if training.timesteps == "tied":
        yield "training.timesteps", "tied trains all stages at once; experts have one each"
    if training.stage_probabilities:
        yield "training.stage_probabilities", "means nothing to experts, which have one stage each"
    yield from weights_per_stage(config.model, "experts, which are networks per stage")
    if config.evaluation.at_steps:
        yield "evaluation.at_steps", "experts are measured once, at the end of all of them: give []"
    if experts.initialize_at is not None and experts.initialize == "scratch":
        yield "experts.initialize_at", "means nothing with experts.initialize: scratch"


def _step_problems(config: ExperimentConfig) -> Iterator[Rule]:
    late = [step for step in config.evaluation.at_steps if step > config.training.steps]
    is_trained = config.training.steps > 0 or config.model.backbone == "flux"  # others are told that they must be
    if late and not config.experts.steps and is_trained:
        yield "evaluation.at_steps", f"{late} lie after the last training step {config.training.steps}"
