"""The architecture of FLUX: shapes, parameters and compute, before any network is built. Needs no torch."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Annotated, Any, Literal, NamedTuple, Self

from annotated_types import Interval, Len

_Count = Annotated[int, Interval(ge=0, le=1000)]
_Width = Annotated[int, Interval(ge=1, le=2**20)]
_PATCH = 2
_TIME_FEATURES = 256
_IN_TABLE, _SCALES_WITH_TABLE = 2, 2

AdapterTarget = Literal[
    "attn.to_q",
    "attn.to_k",
    "attn.to_v",
    "attn.to_out.0",
    "attn.add_q_proj",
    "attn.add_k_proj",
    "attn.add_v_proj",
    "attn.to_add_out",
    "ff.net.0.proj",
    "ff.net.2",
    "ff_context.net.0.proj",
    "ff_context.net.2",
    "norm1.linear",
    "norm1_context.linear",
    "norm.linear",
    "proj_mlp",
    "proj_out",
]
"""Ends of the names of the linear maps in FLUX's blocks."""


class _Map(NamedTuple):
    """A linear map of a block."""

    name: AdapterTarget
    is_single: bool
    inputs: int
    outputs: int
    """Both in widths."""
    tokens: Literal["image", "text", "all", "one"]


_MAPS = (
    *(_Map(name, False, 1, 1, "image") for name in ("attn.to_q", "attn.to_k", "attn.to_v", "attn.to_out.0")),
    *(_Map(name, False, 1, 1, "text") for name in ("attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj")),
    _Map("attn.to_add_out", False, 1, 1, "text"),
    _Map("ff.net.0.proj", False, 1, 4, "image"),
    _Map("ff.net.2", False, 4, 1, "image"),
    _Map("ff_context.net.0.proj", False, 1, 4, "text"),
    _Map("ff_context.net.2", False, 4, 1, "text"),
    _Map("norm1.linear", False, 1, 6, "one"),
    _Map("norm1_context.linear", False, 1, 6, "one"),
    *(_Map(name, True, 1, 1, "all") for name in ("attn.to_q", "attn.to_k", "attn.to_v")),
    _Map("proj_mlp", True, 1, 4, "all"),
    _Map("proj_out", True, 5, 1, "all"),
    _Map("norm.linear", True, 1, 3, "one"),
)


@dataclass(frozen=True)
class FluxArchitecture:
    """The settings of diffusers' `FluxTransformer2DModel`, under its names; the defaults are FLUX.1-dev's."""

    in_channels: _Width = 64
    """Values of a token: those of 2 x 2 positions of a latent."""
    num_layers: _Count = 19
    """Blocks with weights of their own for text and image."""
    num_single_layers: _Count = 38
    """Blocks with common weights."""
    attention_head_dim: _Width = 128
    """Width of one attention head."""
    num_attention_heads: _Width = 24
    """Their product with the width of a head is the width of a token."""
    joint_attention_dim: _Width = 4096
    """Width of the text's tokens, T5's."""
    pooled_projection_dim: _Width = 768
    """Width of the text's one vector, CLIP's."""
    guidance_embeds: bool = True
    """The distilled guidance weight is an input."""
    axes_dims_rope: Annotated[tuple[_Width, ...], Len(3, 3)] = (16, 56, 56)
    """Parts of a head's width that tell text, row and column."""

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> Self:
        """Return the architecture that a `config.json` of diffusers describes.

        Raises: ValueError if it is of another network, or of a variant that is not supported.
        """
        if (own := settings.get("_class_name")) != "FluxTransformer2DModel":
            raise ValueError(f"its config.json is of {own!r}, needed is 'FluxTransformer2DModel'")
        if settings.get("patch_size", 1) != 1 or settings.get("out_channels") not in (
            None,
            settings.get("in_channels", cls.in_channels),
        ):
            raise ValueError("its config.json has another patch_size than 1, or other out_channels than in_channels")
        given = {field.name: settings[field.name] for field in fields(cls) if field.name in settings}
        given["axes_dims_rope"] = tuple(given.get("axes_dims_rope", cls.axes_dims_rope))
        return cls(**given)

    @property
    def settings(self) -> dict[str, Any]:
        """The arguments of `FluxTransformer2DModel`."""
        return {**asdict(self), "axes_dims_rope": list(self.axes_dims_rope)}

    @property
    def width(self) -> int:
        return self.num_attention_heads * self.attention_head_dim

    @property
    def latent_channels(self) -> int:
        """Channels of the latents that it takes."""
        return self.in_channels // _PATCH**2

    @property
    def text_widths(self) -> tuple[int, int]:
        """Widths of a caption's tokens and of its one vector."""
        return self.joint_attention_dim, self.pooled_projection_dim

    @property
    def patch_size(self) -> int:
        return _PATCH

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yield (key, message) of settings that do not fit together."""
        if self.in_channels % _PATCH**2:
            yield "in_channels", f"{self.in_channels} is no multiple of 4: a token holds 2 x 2 positions"
        if any(width % 2 for width in self.axes_dims_rope):
            yield "axes_dims_rope", f"{list(self.axes_dims_rope)} must be even"
        if sum(self.axes_dims_rope) != self.attention_head_dim:
            total = sum(self.axes_dims_rope)
            yield "axes_dims_rope", f"sum to {total}, not to attention_head_dim {self.attention_head_dim}"

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shape of each tensor of `FluxTransformer2DModel`, by its name."""
        own, head, values = self.width, self.attention_head_dim, self.in_channels
        linears = {"context_embedder": (self.joint_attention_dim, own), "x_embedder": (values, own)}
        linears |= {"norm_out.linear": (own, 2 * own), "proj_out": (own, values)}
        embedders = {"timestep_embedder": _TIME_FEATURES, "text_embedder": self.pooled_projection_dim}
        embedders |= {"guidance_embedder": _TIME_FEATURES} if self.guidance_embeds else {}
        for name, given in embedders.items():
            both = {1: given, 2: own}
            linears |= {f"time_text_embed.{name}.linear_{layer}": (width, own) for layer, width in both.items()}
        norms = []
        for block, is_single in self._blocks():
            maps = [one for one in _MAPS if one.is_single == is_single]
            linears |= {f"{block}.{one.name}": (one.inputs * own, one.outputs * own) for one in maps}
            which = ("q", "k") if is_single else ("q", "k", "added_q", "added_k")
            norms += [f"{block}.attn.norm_{one}.weight" for one in which]
        weights = {f"{name}.weight": (outputs, inputs) for name, (inputs, outputs) in linears.items()}
        biases = {f"{name}.bias": (outputs,) for name, (_, outputs) in linears.items()}
        return {**weights, **biases, **dict.fromkeys(norms, (head,))}

    def _blocks(self) -> Iterator[tuple[str, bool]]:
        """Yield name of each block, and whether text and image have common weights in it."""
        yield from ((f"transformer_blocks.{number}", False) for number in range(self.num_layers))
        yield from ((f"single_transformer_blocks.{number}", True) for number in range(self.num_single_layers))

    def num_parameters(self, num_scales: int = 1) -> int:
        """Return all weights; a scale beside the first has a projection, an embedder of its time and a head."""
        width = self.width
        # Attention and feed-forward, 12 D^2, and modulation, 6 D^2 or 3 D^2, with their biases and two norms.
        double = 2 * (18 * width**2 + 15 * width + 2 * self.attention_head_dim)
        single = 15 * width**2 + 11 * width + 2 * self.attention_head_dim
        time = _TIME_FEATURES * width + width + width**2 + width
        text = self.pooled_projection_dim * width + width + width**2 + width
        context = self.joint_attention_dim * width + width
        scale = 2 * self.in_channels * width + width + self.in_channels + 2 * width**2 + 2 * width
        shared = self.num_layers * double + self.num_single_layers * single + context + text
        shared += time if self.guidance_embeds else 0
        table = _IN_TABLE * width if num_scales == _SCALES_WITH_TABLE else 0
        return shared + num_scales * (scale + time) + table

    def num_added(self, num_scales: int) -> int:
        """Return the weights that scales beside the first add."""
        return self.num_parameters(num_scales) - self.num_parameters()

    def num_projections(self, num_scales: int) -> int:
        """Return the weights of the maps from latents to tokens and back."""
        return num_scales * (2 * self.in_channels * self.width + self.width + self.in_channels)

    def num_adapter_weights(self, rank: int, targets: Collection[str]) -> int:
        """Return the weights of low-rank additions."""
        maps = (one for one in _MAPS if one.name in targets)
        return rank * self.width * sum(self._count(one) * (one.inputs + one.outputs) for one in maps)

    def adapter_macs(self, rank: int, targets: Collection[str], num_tokens: int, text_length: int) -> int:
        """Return the multiply-accumulates of low-rank additions in one forward pass of one sample."""
        seen = {"image": num_tokens, "text": text_length, "all": num_tokens + text_length, "one": 1}
        maps = (one for one in _MAPS if one.name in targets)
        return rank * self.width * sum(self._count(one) * seen[one.tokens] * (one.inputs + one.outputs) for one in maps)

    def _count(self, one: _Map) -> int:
        return self.num_single_layers if one.is_single else self.num_layers

    def macs(self, num_tokens: int, text_length: int, num_scales: int) -> int:
        """Return the multiply-accumulates of one forward pass of one sample (numerics 11).

        Args: num_tokens: of the image. text_length: tokens of the caption.
        """
        width, total = self.width, num_tokens + text_length
        blocks, modulations = (
            self.num_layers + self.num_single_layers,
            12 * self.num_layers + 3 * self.num_single_layers,
        )
        embedders = num_scales + (1 if self.guidance_embeds else 0)
        return (
            blocks * (12 * width**2 * total + 2 * total**2 * width)
            + modulations * width**2
            + num_scales * (2 * self.in_channels * num_tokens * width + 2 * width**2)
            + embedders * (_TIME_FEATURES * width + width**2)
            + self.pooled_projection_dim * width
            + width**2
            + self.joint_attention_dim * text_length * width
        )
