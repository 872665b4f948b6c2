"""DINOv2 ViT-L/14, the network of FDD: the class token after the last norm.

Weights: the original `dinov2_vitl14_pretrain.pth`, or `model.safetensors` of its transformers version. The position
table of 37 x 37 is interpolated to 16 x 16 once, at loading, and as in the original code, which published numbers come
from: by the factor (16 + 0.1) / 37. transformers' own interpolation samples at other points.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from dfm_core.catalog.feature_networks import FEATURE_NETWORKS, FeatureNetworkCard
from dfm_core.catalog.weight_files import GivenFile
from dfm_core.metrics.features.base import MovableNetwork, checked_features
from dfm_core.metrics.features.preprocessing import VIT_SIDE, fdd_input
from dfm_core.metrics.features.pretrained import build_pretrained, read_tensors

if TYPE_CHECKING:
    from transformers import Dinov2Config

PATCH = 14
_POSITIONS = "embeddings.position_embeddings"
_OFFSET = 0.1
_RENAMED = {
    "cls_token": "embeddings.cls_token",
    "mask_token": "embeddings.mask_token",
    "pos_embed": _POSITIONS,
    "patch_embed.proj": "embeddings.patch_embeddings.projection",
    "norm": "layernorm",
}
_RENAMED_IN_BLOCK = {"attn.proj": "attention.output.dense", "ls1.gamma": "layer_scale1.lambda1"} | {
    "ls2.gamma": "layer_scale2.lambda1"
}


class DinoV2Network(MovableNetwork):
    """Class token after the last norm, [B, 1024], of 8-bit images."""

    def __init__(self, model: Any, card: FeatureNetworkCard = FEATURE_NETWORKS["dinov2"]) -> None:
        super().__init__(model)
        self.card = card

    @torch.no_grad()
    def __call__(self, pixels: Tensor) -> dict[str, Tensor]:
        tokens = self._model(fdd_input(pixels).to(self._device)).last_hidden_state
        return checked_features(self.card, {"cls": tokens[:, 0]}, len(pixels))


def vit_large(image_side: int = VIT_SIDE) -> Dinov2Config:
    """Return the shape of ViT-L/14; 304,368,640 parameters at the 518 px that it was trained on."""
    from transformers import Dinov2Config

    return Dinov2Config(
        hidden_size=1024,
        num_hidden_layers=24,
        num_attention_heads=16,
        mlp_ratio=4,
        patch_size=PATCH,
        image_size=image_side,
    )


def load_dinov2(files: Mapping[str, GivenFile]) -> DinoV2Network:
    """Return the network from the user's file.

    Raises: FileNotFoundError or ValueError if the file is missing, its checksum another, or it is not ViT-L/14.
    """
    card = FEATURE_NETWORKS["dinov2"]
    (needed,), given = card.files, files["weights"]
    tensors = read_tensors(given.read(needed), given.path)
    return DinoV2Network(build_dinov2(tensors, vit_large(), given), card)


def build_dinov2(tensors: Mapping[str, Tensor], config: Dinov2Config, given: GivenFile) -> Any:
    """Return the transformers model for 224 px, from tensors under either set of names.

    Raises: ValueError if they are not those of the config.
    """
    from transformers import Dinov2Model

    state = published_names(tensors) if "pos_embed" in tensors else dict(tensors)
    if _POSITIONS in state:
        state[_POSITIONS] = positions_at_224(state[_POSITIONS])
    return build_pretrained(Dinov2Model, config, state, given.path)


def published_names(original: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return tensors of the original code under the names of the transformers checkpoint."""
    renamed: dict[str, Tensor] = {}
    for name, value in original.items():
        module, _, parameter = name.rpartition(".")
        if name.startswith("blocks."):
            _, block, inner = name.split(".", 2)
            renamed |= _block_names(f"encoder.layer.{block}", inner, value)
        elif name in _RENAMED:
            renamed[_RENAMED[name]] = value
        else:
            renamed[f"{_RENAMED.get(module, module)}.{parameter}"] = value
    return renamed


def positions_at_224(table: Tensor) -> Tensor:
    """Return the position table for 16 x 16 patches, [1, 1 + n^2, D] -> [1, 257, D]; the class token's stays."""
    side, new = round((table.shape[1] - 1) ** 0.5), VIT_SIDE // PATCH
    if side == new:
        return table
    grid = table[:, 1:].float().reshape(1, side, side, -1).permute(0, 3, 1, 2)
    factor = (new + _OFFSET) / side
    resized = interpolate(grid, scale_factor=(factor, factor), mode="bicubic", align_corners=False)
    return torch.cat([table[:, :1].float(), resized.permute(0, 2, 3, 1).flatten(1, 2)], dim=1)


def _block_names(block: str, inner: str, value: Tensor) -> dict[str, Tensor]:
    module, _, parameter = inner.rpartition(".")
    if module == "attn.qkv":
        parts = zip(("query", "key", "value"), value.chunk(3), strict=True)
        return {f"{block}.attention.attention.{name}.{parameter}": part.contiguous() for name, part in parts}
    if inner in _RENAMED_IN_BLOCK:
        return {f"{block}.{_RENAMED_IN_BLOCK[inner]}": value}
    return {f"{block}.{_RENAMED_IN_BLOCK.get(module, module)}.{parameter}": value}
