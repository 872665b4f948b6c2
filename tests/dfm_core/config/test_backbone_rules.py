"""Rules of pretrained backbones about other settings: each broken one is found, with what to give."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from dfm_core.config import DecompositionConfig, ExperimentConfig
from dfm_core.config.backbone_rules import backbone_problems, text_problems
from dfm_core.config.model import BackboneDescription
from dfm_core.config.plain import as_plain, from_plain
from dfm_core.config.rules import broken_rules
from tests.support.flux import TINY_FLUX, tiny_flux
from tests.support.models import tiny_dfm, with_values


@pytest.mark.parametrize("stages", [1, 2])
def test_what_fits_together_has_no_problem(stages: int) -> None:
    unknown_data = with_values(tiny_flux(stages), {"data.dataset": "of any side"})
    assert broken_rules(unknown_data) == []


@pytest.mark.parametrize(
    ("stages", "values", "key", "message"),
    [
        (1, {"model.preconditioning": "edm"}, "model.preconditioning", "'edm': flux has none of its own; give none"),
        (1, {"model.positions": "sincos"}, "model.positions", "give rope"),
        (2, {"model.specialization": "mlp"}, "model.specialization", "no weights per stage; give none"),
        (2, {"model.lora_rank": 4}, "model.lora_rank", "training.adapter has a rank; give 0"),
        (2, {"model.input_masking": False}, "model.input_masking", "give true"),
        (2, {"model.patch_grid": "per_stage"}, "model.patch_grid", "one grid of tokens; give shared"),
        (2, {"model.patch_sizes": (1, 2)}, "model.patch_sizes", r"\[1, 2\]: .* give \[2, 2\]"),
        (1, {"model.start": ""}, "model.start", "the name under backbones: of the network"),
        (2, {"paradigm": "pyramidal_flow"}, "model.backbone", "not with pyramidal_flow"),
        (2, {"decomposition.held_at": "own"}, "decomposition.held_at", "need laplacian with held_at: full"),
        (2, {"decomposition": DecompositionConfig("wavelet", (4, 8))}, "decomposition.held_at", "held_at: full"),
        (
            2,
            {"decomposition.resolutions": (2, 4, 8)},
            "decomposition.resolutions",
            r"one scale or two, got \[2, 4, 8\]",
        ),
        (2, {"experts.steps": (3, 3)}, "experts.steps", "one network for all stages"),
        (1, {"data.text": ""}, "data.text", "name their encoders, under text_encoders:"),
        (1, {"data.dataset": "fashion_mnist"}, "model.start", "takes latents of 4 channels, fashion_mnist's have 1"),
        (
            1,
            {
                "model.described": BackboneDescription("x", replace(TINY_FLUX, guidance_embeds=False)),
                "model.guidance_input": 3.5,
            },
            "model.guidance_input",
            "tiny was not distilled",
        ),
    ],
)
def test_a_broken_rule_is_told_with_what_to_give(stages: int, values: dict[str, Any], key: str, message: str) -> None:
    config = with_values(tiny_flux(stages, {"data.dataset": "of any side"}), values)
    found = dict(backbone_problems(config))
    assert key in found
    with pytest.raises(ValueError, match=message):
        raise ValueError(found[key])


@pytest.mark.parametrize(("key", "value"), [("start", "dev"), ("guidance_input", 3.5)])
def test_settings_of_flux_mean_nothing_to_others(key: str, value: object) -> None:
    found = dict(broken_rules(with_values(tiny_dfm(), {f"model.{key}": value})))
    assert found[f"model.{key}"] == "is read by flux only, and the backbone is dit"


def test_encoders_of_another_width_are_told() -> None:
    described = BackboneDescription("x", TINY_FLUX)
    assert list(text_problems(described, 12, 10)) == []
    told = [message for _, message in text_problems(described, 4096, 768)]
    assert told == [
        "its encoders give tokens of width 4096, the backbone reads 12: give its own",
        "its encoders give one vector of width 768, the backbone reads 10: give its own",
    ]


def test_a_config_with_a_backbone_comes_back_from_plain_data() -> None:
    config = tiny_flux(2)
    assert from_plain(ExperimentConfig, as_plain(config)) == config
