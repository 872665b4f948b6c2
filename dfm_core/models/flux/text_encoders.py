"""The text encoders of FLUX in diffusers' layout: T5 for the tokens, CLIP's text model for the pooled vector.

A folder holds `tokenizer`, `text_encoder` (CLIP), `tokenizer_2` and `text_encoder_2` (T5), as every FLUX pipeline does.
Nothing in it is executed: weights are safetensors alone. T5 sees no attention mask, and FLUX attends to the padding, so
tokens are padded to one length and cannot be trimmed (`FluxPipeline.encode_prompt` does the same).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from transformers import CLIPTextModel, PreTrainedTokenizerBase, T5EncoderModel

CLIP_TOKENIZER, CLIP, T5_TOKENIZER, T5 = "tokenizer", "text_encoder", "tokenizer_2", "text_encoder_2"
_CONFIG = "config.json"
_TOKENIZER, _OLD_TOKENIZER, _TOKENIZER_CONFIG = "tokenizer.json", "vocab.json", "tokenizer_config.json"
_CLASSES = {CLIP: "CLIPTextModel", T5: "T5EncoderModel"}
_MAX_BYTES = 1 << 28


@dataclass(frozen=True)
class TextEncoderCard:
    """Facts of a pair of text encoders, read without their weights."""

    token_width: int
    """Width of T5, 4096 for FLUX."""
    pooled_width: int
    """Width of CLIP's text model, 768 for FLUX."""
    pooled_length: int
    """Tokens that CLIP sees, 77."""
    token_weights: int
    """Weights of T5, 4.8 billion for FLUX."""


@dataclass(frozen=True)
class EncodedCaptions:
    """Encodings of captions, on the device of the encoders."""

    tokens: Tensor
    """[B, L, D_text], padded to L; [B, L] of `TextEncoders.encode_pooled`."""
    pooled: Tensor
    """[B, D_pooled]."""
    cut: tuple[bool, ...]
    """The caption has more than L tokens of T5, and the rest was cut off."""
    pooled_cut: tuple[bool, ...]
    """It has more tokens of CLIP than that sees."""


@dataclass(frozen=True)
class TextEncoders:
    """Both encoders and their tokenizers. Made by `load_text_encoders`."""

    card: TextEncoderCard
    length: int
    """Tokens of T5 that are kept."""
    clip_tokenizer: PreTrainedTokenizerBase
    clip: CLIPTextModel
    t5_tokenizer: PreTrainedTokenizerBase
    t5: T5EncoderModel

    def encode(self, captions: Sequence[str]) -> EncodedCaptions:
        """Encode captions as `FluxPipeline.encode_prompt` does, with this length."""
        pooled = self.encode_pooled(captions)
        return EncodedCaptions(self.encode_tokens(pooled.tokens), pooled.pooled, pooled.cut, pooled.pooled_cut)

    @torch.no_grad()
    def encode_pooled(self, captions: Sequence[str]) -> EncodedCaptions:
        """Encode captions by CLIP alone; in the place of their encodings stand T5's tokens, [B, L] int64."""
        tokens, cut = _tokens(self.t5_tokenizer, captions, self.length)
        pooled_tokens, pooled_cut = _tokens(self.clip_tokenizer, captions, self.card.pooled_length)
        with torch.autocast(self.t5.device.type, enabled=False):
            rows = [self.clip(own[None].to(self.t5.device)).pooler_output for own in pooled_tokens]
        return EncodedCaptions(tokens, torch.cat(rows), cut, pooled_cut)

    @torch.no_grad()
    def encode_tokens(self, tokens: Tensor) -> Tensor:
        """Return T5's encodings of tokens, [B, L, D_text]; each caption's are a function of itself alone, bitwise:
        in a batch they would be rounded by its size.

        Args: tokens: [B, L] int.
        """
        with torch.autocast(self.t5.device.type, enabled=False):
            return torch.cat([self.t5(own[None].to(self.t5.device, torch.int64))[0] for own in tokens])


def _tokens(
    tokenizer: PreTrainedTokenizerBase, captions: Sequence[str], length: int
) -> tuple[Tensor, tuple[bool, ...]]:
    """Return tokens, [B, length] int64, and which captions were cut."""
    whole = tokenizer(list(captions), padding=False, truncation=False, verbose=False)["input_ids"]
    given = tokenizer(
        list(captions), padding="max_length", max_length=length, truncation=True, return_tensors="pt"
    ).input_ids
    return given, tuple(len(own) > length for own in whole)


def read_text_encoder_card(folder: Path) -> TextEncoderCard:
    """Return the facts that planning needs; the weights need not be there.

    Raises: ValueError if a part is missing or of another class, or a tokenizer has tokens that its encoder has not.
    """
    configs = {part: _config(folder / part, name) for part, name in _CLASSES.items()}
    for tokenizer, part in ((CLIP_TOKENIZER, CLIP), (T5_TOKENIZER, T5)):
        _check_vocabulary(folder / tokenizer, _size(configs[part], "vocab_size", folder / part))
    clip, t5 = folder / CLIP, folder / T5
    return TextEncoderCard(
        token_width=_size(configs[T5], "d_model", t5),
        pooled_width=_size(configs[CLIP], "hidden_size", clip),
        pooled_length=_size(configs[CLIP], "max_position_embeddings", clip),
        token_weights=_t5_weights(configs[T5], t5),
    )


def load_text_encoders(folder: Path, length: int, device: torch.device, dtype: torch.dtype) -> TextEncoders:
    """Load both encoders, frozen.

    Args: length: tokens of T5 that are kept. dtype: of both networks; bfloat16 is what FLUX is used with.
    Raises: as `read_text_encoder_card`; ValueError for weights that are missing or another network's.
    """
    from transformers import AutoTokenizer, CLIPTextModel, T5EncoderModel

    card = read_text_encoder_card(folder)
    models = {}
    for part, network in ((CLIP, CLIPTextModel), (T5, T5EncoderModel)):
        models[part] = _loaded(network, folder / part, dtype).to(device).eval().requires_grad_(requires_grad=False)
    clip_tokenizer, t5_tokenizer = (
        AutoTokenizer.from_pretrained(folder / part, local_files_only=True, trust_remote_code=False)
        for part in (CLIP_TOKENIZER, T5_TOKENIZER)
    )
    return TextEncoders(card, length, clip_tokenizer, models[CLIP], t5_tokenizer, models[T5])


def _loaded(network: Any, folder: Path, dtype: torch.dtype) -> Any:
    """Raises: ValueError naming missing or differing weights."""
    try:
        model, report = network.from_pretrained(
            folder, dtype=dtype, local_files_only=True, use_safetensors=True, output_loading_info=True
        )
    except (OSError, RuntimeError) as error:
        raise ValueError(f"{folder}: cannot be loaded ({' '.join(str(error).split())[:200]})") from None
    missing, different = sorted(report["missing_keys"]), sorted(map(str, report["mismatched_keys"]))
    if missing or different:
        raise ValueError(
            f"{folder}: holds the weights of another network: {len(missing)} are missing and {len(different)} have "
            f"another shape, such as {(missing + different)[0]}"
        )
    return model


def _config(folder: Path, class_name: str) -> dict[str, Any]:
    """Raises: ValueError if there is none, or it is another class's."""
    config = _document(folder / _CONFIG)
    classes = config.get("architectures")
    if not isinstance(classes, list) or class_name not in classes:
        raise ValueError(f"{folder / _CONFIG}: is of {classes!r}, needed is {class_name!r}")
    return config


def _document(path: Path) -> dict[str, Any]:
    """Raises: ValueError if there is none, or it is no JSON object."""
    if not path.is_file():
        needed = ", ".join((CLIP_TOKENIZER, CLIP, T5_TOKENIZER, T5))
        raise ValueError(f"{path}: is not there; text encoders are folders {needed}, as diffusers saves FLUX")
    if path.stat().st_size > _MAX_BYTES:
        raise ValueError(f"{path}: has {path.stat().st_size} bytes; at most {_MAX_BYTES} are read")
    try:
        document = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: is no JSON ({' '.join(str(error).split())[:100]})") from None
    return dict(_object(document, path))


def _object(document: object, path: Path) -> dict[str, Any]:
    """Raises: ValueError if it is none."""
    if isinstance(document, dict):
        return document
    raise ValueError(f"{path}: is no JSON object")


def _size(config: dict[str, Any], key: str, folder: Path) -> int:
    value = config.get(key)
    if type(value) is not int or value < 1:
        raise ValueError(f"{folder / _CONFIG}: {key} is {value!r}; a whole number is needed")
    return value


def _t5_weights(config: dict[str, Any], folder: Path) -> int:
    """Return the weights of T5's encoder: embeddings, and in each layer attention, a feed-forward part, often gated,
    and two norms; all layers share one table of positions."""
    keys = ("d_model", "d_kv", "num_heads", "d_ff", "num_layers", "vocab_size")
    width, per_head, heads, hidden, layers, tokens = (_size(config, key, folder) for key in keys)
    maps = 3 if str(config.get("feed_forward_proj", "")).startswith("gated-") else 2
    layer = 4 * width * per_head * heads + maps * width * hidden + 2 * width
    positions = config.get("relative_attention_num_buckets", 32) * heads
    return int(layers * layer + tokens * width + positions + width)


def _check_vocabulary(folder: Path, num_rows: int) -> None:
    """Compare a tokenizer with its encoder, which would fail at a caption with a number that it has no row for.

    Raises: ValueError if there are more tokens than rows.
    """
    is_old = not (folder / _TOKENIZER).exists() and (folder / _OLD_TOKENIZER).exists()
    if is_old:  # the CLIP tokenizer of FLUX.1-dev has no tokenizer.json
        numbers = [*_document(folder / _OLD_TOKENIZER).values()]
        numbers += map(int, _document(folder / _TOKENIZER_CONFIG).get("added_tokens_decoder", {}))
    else:
        document = _document(folder / _TOKENIZER)
        vocabulary = (document.get("model") or {}).get("vocab", ())
        numbers = [*vocabulary.values()] if isinstance(vocabulary, dict) else [*range(len(vocabulary))]
        numbers += [token.get("id") for token in document.get("added_tokens") or ()]
    num_tokens = 1 + max((number for number in numbers if type(number) is int), default=-1)
    if not 0 < num_tokens <= num_rows:
        why = "tokens were added to it, or it is another's"
        raise ValueError(f"{folder}: has {num_tokens} tokens, its encoder {num_rows}: {why}")
