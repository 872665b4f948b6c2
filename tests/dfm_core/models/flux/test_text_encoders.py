"""Text encoders: as diffusers' own pipeline encodes, and files that are not what they should be."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from dfm_core.models.flux.text_encoders import TextEncoderCard, load_text_encoders, read_text_encoder_card
from tests.support.tiny_text_encoders import POOLED_WIDTH, TOKEN_WIDTH, make_text_encoders

CAPTIONS = ["rose on a blue background", "", "a red tree", "rose " * 40 + "on a blue background" * 30]
LENGTH = 24
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_text_encoders(tmp_path_factory.mktemp("encoders"))


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "encoders"))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_encodings_are_those_of_the_pipeline_bitwise_whatever_else_a_batch_holds(
    made: Path, dtype: torch.dtype
) -> None:
    from diffusers import FluxPipeline

    encoders = load_text_encoders(made, LENGTH, CPU, dtype)
    pipeline = FluxPipeline(
        scheduler=None,
        vae=None,
        text_encoder=encoders.clip,
        tokenizer=encoders.clip_tokenizer,
        text_encoder_2=encoders.t5,
        tokenizer_2=encoders.t5_tokenizer,
        transformer=None,
    )
    ours = encoders.encode(CAPTIONS)
    for at, caption in enumerate(CAPTIONS):
        with torch.no_grad():
            tokens, pooled, _ = pipeline.encode_prompt(caption, device=CPU, max_sequence_length=LENGTH)
        assert torch.equal(ours.tokens[at : at + 1], tokens)
        assert torch.equal(ours.pooled[at : at + 1], pooled)
    assert ours.tokens.shape == (4, LENGTH, TOKEN_WIDTH)


def test_captions_that_were_cut_are_told(made: Path) -> None:
    encoded = load_text_encoders(made, LENGTH, CPU, torch.float32).encode(CAPTIONS)
    assert encoded.cut == (False, False, False, True)
    assert encoded.pooled_cut == (False, False, False, True)
    long = load_text_encoders(made, 512, CPU, torch.float32).encode(CAPTIONS)
    assert long.cut == (False, False, False, False)
    assert long.pooled_cut == (False, False, False, True)


def test_words_have_encodings_of_their_own(made: Path) -> None:
    encoders = load_text_encoders(made, LENGTH, CPU, torch.float32)
    encoded = encoders.encode(["rose on a blue background", "rose on a red background"])
    assert not torch.equal(encoded.tokens[0], encoded.tokens[1])
    assert not torch.equal(encoded.pooled[0], encoded.pooled[1])


def test_card_is_read_without_weights(folder: Path) -> None:
    t5 = load_text_encoders(folder, LENGTH, CPU, torch.float32).t5
    weights = sum(weight.numel() for weight in t5.parameters())
    for path in folder.rglob("*.safetensors"):
        path.unlink()
    assert read_text_encoder_card(folder) == TextEncoderCard(TOKEN_WIDTH, POOLED_WIDTH, 77, weights)
    with pytest.raises(ValueError, match="text_encoder: cannot be loaded"):
        load_text_encoders(folder, LENGTH, CPU, torch.float32)


def changed(path: Path, **values: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_tokenizer_with_more_tokens_than_its_encoder_is_refused(folder: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder / "tokenizer_2")
    tokenizer.add_tokens(["<my-style>"])
    tokenizer.save_pretrained(folder / "tokenizer_2")
    with pytest.raises(ValueError, match="tokenizer_2: has 14 tokens, its encoder 13: tokens were added to it"):
        read_text_encoder_card(folder)


def test_tokenizer_of_the_old_form_is_read(folder: Path) -> None:
    whole = json.loads((folder / "tokenizer/tokenizer.json").read_text())
    (folder / "tokenizer/tokenizer.json").unlink()
    (folder / "tokenizer/vocab.json").write_text(json.dumps(whole["model"]["vocab"]))
    assert read_text_encoder_card(folder).pooled_width == POOLED_WIDTH
    (folder / "tokenizer/vocab.json").write_text(json.dumps(whole["model"]["vocab"] | {"more</w>": 1000}))
    with pytest.raises(ValueError, match="tokenizer: has 1001 tokens, its encoder"):
        read_text_encoder_card(folder)


def test_another_class_is_refused(folder: Path) -> None:
    changed(folder / "text_encoder_2/config.json", architectures=["T5ForConditionalGeneration"])
    with pytest.raises(ValueError, match="is of \\['T5ForConditionalGeneration'\\], needed is 'T5EncoderModel'"):
        read_text_encoder_card(folder)


@pytest.mark.parametrize("part", ["tokenizer/tokenizer.json", "text_encoder/config.json", "tokenizer_2/tokenizer.json"])
def test_missing_part_is_named(folder: Path, part: str) -> None:
    (folder / part).unlink()
    with pytest.raises(ValueError, match=f"{part}: is not there; text encoders are folders tokenizer, text_encoder"):
        read_text_encoder_card(folder)


def test_damaged_parts_are_named(folder: Path) -> None:
    (folder / "text_encoder/config.json").write_bytes(b"[" * 100_000)
    with pytest.raises(ValueError, match=r"text_encoder/config.json: is no JSON"):
        read_text_encoder_card(folder)


def test_weights_of_another_width_are_refused(folder: Path, tmp_path: Path) -> None:
    wider = make_text_encoders(tmp_path / "wider", token_width=24)
    shutil.copy(wider / "text_encoder_2/model.safetensors", folder / "text_encoder_2/model.safetensors")
    with pytest.raises(ValueError, match="text_encoder_2"):
        load_text_encoders(folder, LENGTH, CPU, torch.float32)
