"""FLUX over one or two scales of a latent: diffusers' network under its own names of weights, and the second scale's.

An exported pipeline takes this file along, so it needs torch and diffusers alone.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from diffusers import FluxTransformer2DModel
from diffusers.configuration_utils import register_to_config
from diffusers.models.embeddings import TimestepEmbedding
from diffusers.models.normalization import AdaLayerNormContinuous
from torch import Tensor, nn

_PATCH = 2
_TIME_FEATURES = 256
_TIME_SCALE = 1000


class SecondScale(nn.Module):
    """The layers that a second scale has of its own (DFM, appendix E.1)."""

    def __init__(self, width: int, token_values: int) -> None:
        super().__init__()
        self.x_embedder = nn.Linear(token_values, width)
        self.time = TimestepEmbedding(_TIME_FEATURES, width)
        self.norm_out = AdaLayerNormContinuous(width, width, elementwise_affine=False, eps=1e-6)
        self.proj_out = nn.Linear(width, token_values)
        self.stage_table = nn.Embedding(2, width)


class FluxScales(FluxTransformer2DModel):  # type: ignore[misc]  # diffusers has no types
    """`FluxTransformer2DModel` that reads and predicts scales of one size; with one scale it is that network, bitwise.

    h = Emb_1(M_1 X^1) + Emb_2(M_2 X^2),  c = Time_1(t_1) + Guidance + Text + Time_2(t_2) + Stage(q)
    v^s = -Out_s(Norm_s(h, c))
    """

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(
        self,
        patch_size: int = 1,
        in_channels: int = 64,
        out_channels: int | None = None,
        num_layers: int = 19,
        num_single_layers: int = 38,
        attention_head_dim: int = 128,
        num_attention_heads: int = 24,
        joint_attention_dim: int = 4096,
        pooled_projection_dim: int = 768,
        guidance_embeds: bool = False,
        axes_dims_rope: tuple[int, int, int] = (16, 56, 56),
        num_scales: int = 1,
    ) -> None:
        super().__init__(
            patch_size=patch_size,
            in_channels=in_channels,
            out_channels=out_channels,
            num_layers=num_layers,
            num_single_layers=num_single_layers,
            attention_head_dim=attention_head_dim,
            num_attention_heads=num_attention_heads,
            joint_attention_dim=joint_attention_dim,
            pooled_projection_dim=pooled_projection_dim,
            guidance_embeds=guidance_embeds,
            axes_dims_rope=tuple(axes_dims_rope),
        )
        self.register_to_config(num_scales=num_scales, axes_dims_rope=list(axes_dims_rope))
        width = num_attention_heads * attention_head_dim
        # Named by the scale's number, counted from 0.
        self.scales = nn.ModuleDict({str(s): SecondScale(width, in_channels) for s in range(1, num_scales)})

    def forward(
        self,
        scales: Sequence[Tensor],
        t: Tensor,
        mask: Tensor,
        text_tokens: Tensor,
        text_pooled: Tensor,
        guidance: float = 1.0,
    ) -> list[Tensor]:
        """Return the velocity of every scale, data - noise.

        Args: scales: noisy scales of one size, [S] of [B, C, H, W]; H and W are even. t: timesteps in [0, 1], 0 is
            noise, [B, S]. mask: 1 for active scales, else 0, [B, S]. text_tokens: [B, L, D_text]. text_pooled:
            [B, D_pooled]. guidance: the distilled guidance weight, for networks that read one.
        Returns: as scales.
        """
        height, width = scales[0].shape[-2:]
        x = self.x_embedder(pack(mask[:, 0, None, None, None] * scales[0]))
        for s, own in enumerate(self._others, start=1):
            x = x + own.x_embedder(pack(mask[:, s, None, None, None] * scales[s]))
        condition = self._condition(t, mask, text_pooled, guidance, x.dtype)
        x = self._blocks(x, self.context_embedder(text_tokens), condition, height // _PATCH, width // _PATCH)
        first = -unpack(self.proj_out(self.norm_out(x, condition)), height, width)
        return [first, *(-unpack(own.proj_out(own.norm_out(x, condition)), height, width) for own in self._others)]

    @property
    def _others(self) -> list[SecondScale]:
        return [own for own in self.scales.values() if isinstance(own, SecondScale)]

    def _condition(self, t: Tensor, mask: Tensor, pooled: Tensor, guidance: float, dtype: torch.dtype) -> Tensor:
        """Conditioning vector, [B, D]; times in the precision of the tokens, as the pretrained network takes them."""
        noise = (1 - t).to(dtype) * _TIME_SCALE
        inputs = [noise[:, 0], pooled]
        if self.config.guidance_embeds:
            inputs.insert(1, torch.full_like(noise[:, 0], guidance) * _TIME_SCALE)
        condition: Tensor = self.time_text_embed(*inputs)
        stage = mask.sum(dim=1).long() - 1
        for s, own in enumerate(self._others, start=1):
            features = self.time_text_embed.time_proj(noise[:, s]).to(pooled.dtype)
            condition = condition + own.time(features) + own.stage_table(stage)
        return condition

    def _blocks(self, x: Tensor, text: Tensor, condition: Tensor, rows: int, columns: int) -> Tensor:
        """Tokens of the image after all blocks, [B, N, D]."""
        rotation = self.pos_embed(position_ids(text.shape[1], rows, columns, x.device))
        for block in [*self.transformer_blocks, *self.single_transformer_blocks]:
            if torch.is_grad_enabled() and self.gradient_checkpointing:
                text, x = self._gradient_checkpointing_func(block, x, text, condition, rotation)
            else:
                text, x = block(hidden_states=x, encoder_hidden_states=text, temb=condition, image_rotary_emb=rotation)
        return x


def pack(latents: Tensor) -> Tensor:
    """[B, C, H, W] -> tokens of 2 x 2 positions, row after row, [B, H W / 4, 4 C], ordered (channel, row, column)."""
    batch, channels, height, width = latents.shape
    cells = latents.reshape(batch, channels, height // _PATCH, _PATCH, width // _PATCH, _PATCH)
    return cells.permute(0, 2, 4, 1, 3, 5).reshape(batch, height * width // _PATCH**2, channels * _PATCH**2)


def unpack(tokens: Tensor, height: int, width: int) -> Tensor:
    """Return the inverse of `pack`, [B, C, height, width]."""
    batch, _, values = tokens.shape
    cells = tokens.reshape(batch, height // _PATCH, width // _PATCH, values // _PATCH**2, _PATCH, _PATCH)
    return cells.permute(0, 3, 1, 4, 2, 5).reshape(batch, values // _PATCH**2, height, width)


def position_ids(text_length: int, rows: int, columns: int, device: torch.device) -> Tensor:
    """Positions of the text's tokens, 0, and of the image's, (0, row, column), [L + N, 3]."""
    ids = torch.zeros(text_length + rows * columns, 3, device=device)
    grid = ids[text_length:].view(rows, columns, 3)
    grid[..., 1] = torch.arange(rows, device=device)[:, None]
    grid[..., 2] = torch.arange(columns, device=device)[None, :]
    return ids
