"""CLIP: shape, tokens, and that image and text features are those of the transformers model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from dfm_core.metrics.features.clip import ClipNetwork, build_tokenizer, vit_base_32
from dfm_core.metrics.features.preprocessing import clip_input
from dfm_core.metrics.features.pretrained import build_pretrained
from tests.support.feature_standins import MERGES, VOCABULARY, tiny_clip, tiny_clip_config

START, END = 13, 14


@pytest.fixture
def network() -> ClipNetwork:
    return tiny_clip()


def projected(output: Any) -> Tensor:
    return output if isinstance(output, Tensor) else output.pooler_output


def test_vit_base_32_has_the_published_number_of_parameters() -> None:
    from transformers import CLIPModel

    with torch.device("meta"):
        model = CLIPModel(vit_base_32())
    assert sum(parameter.numel() for parameter in model.parameters()) == 151_277_313
    text, vision = model.config.text_config, model.config.vision_config
    assert (text.num_attention_heads, vision.num_attention_heads) == (8, 12)
    assert text.hidden_act == vision.hidden_act == "quick_gelu"


@pytest.mark.parametrize(
    ("caption", "ids"),
    [
        ("low", [11]),
        ("Low  LOWER", [11, 10, 2, 12]),  # low; lo w er: pairs merge in the order of the file
        ("", []),
        ("wo", [2, 6]),
    ],
)
def test_captions_are_lower_cased_and_merged(caption: str, ids: list[int]) -> None:
    assert build_tokenizer(VOCABULARY, MERGES)(caption)["input_ids"] == [START, *ids, END]


def test_image_and_text_features_are_the_models_own(network: ClipNetwork) -> None:
    pixels, captions = torch.randint(0, 256, (2, 1, 30, 40), dtype=torch.uint8), ["low", "lower low"]
    tokens = network._tokenizer(captions, padding=True, return_tensors="pt")
    with torch.no_grad():
        image = projected(network._model.get_image_features(pixel_values=clip_input(pixels)))
        text = projected(network._model.get_text_features(**tokens))
    torch.testing.assert_close(network(pixels)["image"], image)
    torch.testing.assert_close(network.text(captions), text)
    assert network.text(captions).shape == (2, 12)


def test_a_caption_does_not_see_the_others(network: ClipNetwork) -> None:
    captions = ["low", "lower lower lower low", "we"]
    together, alone = network.text(captions), torch.cat([network.text([caption]) for caption in captions])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-5)
    assert (together[0] - together[2]).abs().max() > 1e-2


def test_long_captions_are_named_and_none_is_cut(network: ClipNetwork) -> None:
    longest = " ".join(["low"] * 75)
    assert network.text([longest]).shape == (1, 12)
    with pytest.raises(ValueError, match=r"^1 of 2 captions have more than 77 tokens: \[1\]; the first: 'low low "):
        network.text(["low", longest + " low"])


def test_published_weights_with_their_position_ids_load() -> None:
    from transformers import CLIPModel

    network = tiny_clip()
    tensors = network._model.state_dict() | {
        "text_model.embeddings.position_ids": torch.arange(77)[None],
        "vision_model.embeddings.position_ids": torch.arange(50)[None],
    }
    loaded = build_pretrained(CLIPModel, tiny_clip_config(), tensors, Path("clip.bin"))
    assert all(torch.equal(value, tensors[name]) for name, value in loaded.state_dict().items())
