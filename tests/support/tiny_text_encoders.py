"""Text encoders of the real classes with random weights, and tokenizers of a few words, made without a hub."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

WORDS = ("rose", "tree", "house", "on", "a", "blue", "red", "green", "background")
TOKEN_WIDTH, POOLED_WIDTH = 16, 12


def make_text_encoders(
    folder: Path, words: Sequence[str] = WORDS, token_width: int = TOKEN_WIDTH, pooled_width: int = POOLED_WIDTH
) -> Path:
    """Write a CLIP text model and a T5 encoder with their tokenizers, in diffusers' layout."""
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer, T5Config, T5EncoderModel, T5Tokenizer

    specials = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", -20.0), ("▁", -6.0)]
    t5_tokenizer = T5Tokenizer(vocab=[*specials, *((f"▁{word}", -3.0) for word in words)], extra_ids=0)
    t5_tokenizer.save_pretrained(folder / "tokenizer_2")
    pieces = ["<|startoftext|>", "<|endoftext|>", *(f"{word}</w>" for word in words)]
    letters = sorted({letter for word in words for letter in word})
    pieces += [*letters, *(f"{letter}</w>" for letter in letters)]
    merges = _merges(words)
    pieces += [left + right for left, right in merges if left + right not in pieces]
    clip_tokenizer = CLIPTokenizer(
        vocab={piece: number for number, piece in enumerate(pieces)}, merges=merges, model_max_length=77
    )
    clip_tokenizer.save_pretrained(folder / "tokenizer")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        t5 = T5Config(
            vocab_size=len(specials) + len(words),
            d_model=token_width,
            d_kv=8,
            d_ff=32,
            num_layers=2,
            num_heads=2,
            feed_forward_proj="gated-gelu",
        )
        T5EncoderModel(t5).save_pretrained(folder / "text_encoder_2")
        clip = CLIPTextConfig(
            vocab_size=len(pieces),
            hidden_size=pooled_width,
            intermediate_size=24,
            num_hidden_layers=2,
            num_attention_heads=2,
            bos_token_id=0,
            eos_token_id=1,
            pad_token_id=1,
        )
        CLIPTextModel(clip).save_pretrained(folder / "text_encoder")
    return folder


def _merges(words: Sequence[str]) -> list[tuple[str, str]]:
    """Return the merges that join each word's letters from the left."""
    merges: dict[tuple[str, str], None] = {}
    for word in words:
        letters = [*word[:-1], f"{word[-1]}</w>"]
        joined = letters[0]
        for letter in letters[1:]:
            merges[joined, letter] = None
            joined += letter
    return list(merges)
