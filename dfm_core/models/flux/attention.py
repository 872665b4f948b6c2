"""FLUX's attention with the product of queries, keys and values left to a function."""

from __future__ import annotations

from typing import Any

import torch
from diffusers.models.embeddings import apply_rotary_emb
from torch import Tensor

from dfm_core.models.network import Attend


class AttentionBy:
    """A processor of diffusers' `FluxAttention` that attends by a given function; same numbers, if that is the same."""

    def __init__(self, attend: Attend) -> None:
        self._attend = attend

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        image_rotary_emb: tuple[Tensor, Tensor] | None = None,
    ) -> Any:
        """Arguments and result are those of diffusers' `FluxAttnProcessor`."""
        assert attention_mask is None, "FLUX attends to padding too"
        query, key, value = self._projected(attn, hidden_states, ("q", "k", "v"), ("to_q", "to_k", "to_v"))
        if encoder_hidden_states is not None:
            names = ("add_q_proj", "add_k_proj", "add_v_proj")
            text = self._projected(attn, encoder_hidden_states, ("added_q", "added_k", "added_v"), names)
            query, key, value = (torch.cat(pair, dim=1) for pair in zip(text, (query, key, value), strict=True))
        if image_rotary_emb is not None:
            query = apply_rotary_emb(query, image_rotary_emb, sequence_dim=1)
            key = apply_rotary_emb(key, image_rotary_emb, sequence_dim=1)
        attended = self._attend(query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2))
        x = attended.transpose(1, 2).flatten(2).to(query.dtype)
        if encoder_hidden_states is None:
            return x
        text_tokens, tokens = torch.split(x, [encoder_hidden_states.shape[1], hidden_states.shape[1]], dim=1)
        return attn.to_out[1](attn.to_out[0](tokens.contiguous())), attn.to_add_out(text_tokens.contiguous())

    def _projected(self, attn: Any, x: Tensor, norms: tuple[str, ...], layers: tuple[str, ...]) -> tuple[Tensor, ...]:
        """Queries, keys and values, [B, N, heads, D] each; the first two normalised."""
        query, key, value = (getattr(attn, layer)(x).unflatten(-1, (-1, attn.head_dim)) for layer in layers)
        return getattr(attn, f"norm_{norms[0]}")(query), getattr(attn, f"norm_{norms[1]}")(key), value
