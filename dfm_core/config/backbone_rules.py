"""Rules of pretrained backbones about other settings: (key, message) of each broken rule. Needs no torch."""

from __future__ import annotations

from collections.abc import Iterator

from dfm_core.config.dataset_card import find_card
from dfm_core.config.experiment import ExperimentConfig
from dfm_core.config.model import BackboneDescription, ModelConfig
from dfm_core.config.paradigm_rules import Rule
from dfm_core.config.training import TrainingConfig

_FORCED = {
    "preconditioning": ("none", "has none of its own"),
    "positions": ("rope", "rotates queries and keys"),
    "specialization": ("none", "has no weights per stage"),
    "lora_rank": (0, "has no weights per stage; of the whole network training.adapter has a rank"),
    "patch_grid": ("shared", "has one grid of tokens"),
    "input_masking": (True, "never sees a scale that waits"),
    "stage_embedding": (True, "is told the stage"),
    "timestep_scale": (1000.0, "takes times in thousandths"),
}
"""Setting of the model -> the one value that FLUX allows, and why."""
_PATCH = 2


def backbone_problems(config: ExperimentConfig) -> Iterator[Rule]:
    """Yield the rules of the backbone that the config breaks."""
    if config.model.backbone == "flux":
        yield from _flux_problems(config)
        return
    default = ModelConfig()
    only = f"is read by flux only, and the backbone is {config.model.backbone}"
    for setting in ("start", "guidance_input"):
        if getattr(config.model, setting) != getattr(default, setting):
            yield f"model.{setting}", only
    for setting in ("trainable", "adapter"):
        if getattr(config.training, setting) != getattr(TrainingConfig(), setting):
            yield f"training.{setting}", only
    if config.training.steps == 0:
        yield "training.steps", "0 must be 1 or more: 0 is for model.backbone: flux with model.start alone"


def _flux_problems(config: ExperimentConfig) -> Iterator[Rule]:
    model = config.model
    for setting, (value, why) in _FORCED.items():
        if (given := getattr(model, setting)) != value:
            yield f"model.{setting}", f"{given!r}: flux {why}; give {str(value).lower()}"
    if set(model.patch_sizes) != {_PATCH}:
        wanted = f"give {[_PATCH] * config.num_stages}"
        yield (
            "model.patch_sizes",
            f"{list(model.patch_sizes)}: flux has tokens of {_PATCH} x {_PATCH} positions; {wanted}",
        )
    if not model.start:
        yield "model.start", "is needed: the name under backbones: of the network that flux starts from"
    if not config.data.text:
        yield "data.text", "is needed: flux reads captions; name their encoders, under text_encoders:"
    if config.training.adapter is not None and config.training.trainable != "all":
        yield "training.trainable", f"{config.training.trainable}: an adapter says what is trained; give all"
    yield from _stage_problems(config)
    yield from _fit_problems(config)


def _stage_problems(config: ExperimentConfig) -> Iterator[Rule]:
    stages = config.num_stages
    if config.paradigm not in ("dfm", "flow_matching"):
        yield "model.backbone", f"flux is trained with dfm or flow_matching, not with {config.paradigm}"
    if stages > 2:
        message = f"flux has one scale or two, got {list(config.decomposition.resolutions)}"
        yield "decomposition.resolutions", message
    elif stages == 2 and config.decomposition.held_at != "full":
        yield "decomposition.held_at", "own: flux has one patch size, so two scales need laplacian with held_at: full"
    if config.experts.steps or config.experts.compute_shares:
        yield "experts.steps", "flux is one network for all stages"


def _fit_problems(config: ExperimentConfig) -> Iterator[Rule]:
    """Yield what does not fit the architecture that the backbone's files have."""
    card, described = find_card(config.data), config.model.described
    if card is not None and card.frames is not None:
        yield "data.dataset", f"{config.data.dataset} holds videos, and flux takes images"
    if described is None:
        return
    captions = config.data.described and config.data.described.captions
    if captions and captions.token_width:
        yield from text_problems(described, captions.token_width, captions.pooled_width)
    own = described.architecture
    if card is not None and card.channels != own.latent_channels:
        message = f"{config.model.start} takes latents of {own.latent_channels} channels, {config.data.dataset}'s have"
        yield "model.start", f"{message} {card.channels}: give the autoencoder it was trained with"
    if config.model.guidance_input != ModelConfig().guidance_input and not own.guidance_embeds:
        yield "model.guidance_input", f"{config.model.start} was not distilled: it reads no guidance"


def text_problems(described: BackboneDescription, token_width: int, pooled_width: int) -> Iterator[Rule]:
    """Yield what does not fit between a backbone and the encoders of captions.

    Args: token_width: of the encodings of tokens, T5's. pooled_width: of the one vector of a caption, CLIP's.
    """
    wanted = described.architecture.text_widths
    for which, own, given in zip(("tokens", "one vector"), wanted, (token_width, pooled_width), strict=True):
        if own != given:
            yield "data.text", f"its encoders give {which} of width {given}, the backbone reads {own}: give its own"
