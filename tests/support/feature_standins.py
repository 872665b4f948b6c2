"""Networks with the call signatures and output dimensions of the real files, small and random."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, adaptive_avg_pool3d, interpolate

from dfm_core.catalog.feature_networks import FEATURE_NETWORKS
from dfm_core.catalog.weight_files import GivenFile
from dfm_core.metrics.features.clip import ClipNetwork, build_tokenizer
from dfm_core.metrics.features.dinov2 import DinoV2Network

VOCABULARY = b"""{"l": 0, "o": 1, "w": 2, "e": 3, "r": 4, "l</w>": 5, "o</w>": 6, "w</w>": 7, "e</w>": 8, "r</w>": 9,
"lo": 10, "low</w>": 11, "er</w>": 12, "<|startoftext|>": 13, "<|endoftext|>": 14}"""
MERGES = b"#version: 0.2\nl o\nlo w</w>\ne r</w>\n"


class InceptionStandIn(nn.Module):
    """Resizes 8-bit values inside; pool3 of 2048 from 8 x 8 cells of 32 channels."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Conv2d(3, 32, 3, padding=1)
        self.output = nn.Linear(2048, 1008)
        nn.init.normal_(self.output.bias)  # large enough that logits with it are other logits

    def forward(
        self, img: Tensor, return_features: bool = False, use_fp16: bool = False, no_output_bias: bool = False
    ) -> Tensor:
        x = interpolate(img.to(torch.float16 if use_fp16 else torch.float32), size=[32, 32], mode="bilinear")
        features = adaptive_avg_pool2d(self.layers((x - 128) / 128).relu(), [8, 8]).reshape(-1, 2048)
        if return_features:
            return features
        logits = features @ self.output.weight.t() if no_output_bias else self.output(features)
        return logits.softmax(dim=1)


class I3DStandIn(nn.Module):
    """Accepts [-1, 1] only where it is told not to rescale; the 400 activations come with `return_features`."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Conv3d(3, 8, 3, padding=1)
        self.logits = nn.Linear(8 * 2 * 2 * 2, 400)

    def forward(self, x: Tensor, rescale: bool = True, resize: bool = True, return_features: bool = False) -> Tensor:
        if rescale or resize:
            return torch.full([x.shape[0], 400], torch.nan)
        features = adaptive_avg_pool3d(self.layers(x[:, :, :, ::8, ::8]), [2, 2, 2]).flatten(1)
        logits = self.logits(features)
        return logits if return_features else logits.softmax(dim=1)


def given(path: Path) -> GivenFile:
    """A file with the checksum that it has."""
    return GivenFile(path, hashlib.sha256(path.read_bytes()).hexdigest())


def scripted(module: nn.Module, path: Path) -> GivenFile:
    """A module as a TorchScript file."""
    torch.jit.save(torch.jit.script(module.eval()), path)
    return given(path)


def tiny_dinov2_config(image_side: int = 224) -> Any:
    from transformers import Dinov2Config

    return Dinov2Config(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, mlp_ratio=4, patch_size=14, image_size=image_side
    )


def tiny_dinov2() -> DinoV2Network:
    from transformers import Dinov2Model

    card = replace(FEATURE_NETWORKS["dinov2"], outputs={"cls": 16})
    return DinoV2Network(randomized(Dinov2Model(tiny_dinov2_config())), card)


def tiny_clip() -> ClipNetwork:
    from transformers import CLIPModel

    card = replace(FEATURE_NETWORKS["clip"], outputs={"image": 12})
    return ClipNetwork(randomized(CLIPModel(tiny_clip_config())), build_tokenizer(VOCABULARY, MERGES), card)


def tiny_clip_config() -> Any:
    from transformers import CLIPConfig

    sides = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    return CLIPConfig(
        text_config={**sides, "vocab_size": 15, "bos_token_id": 13, "eos_token_id": 14, "pad_token_id": 14},
        vision_config={**sides, "image_size": 224, "patch_size": 32},
        projection_dim=12,
    )


def randomized(model: nn.Module) -> nn.Module:
    """Every parameter drawn large enough to matter; what is initialised to zero or one would hide mistakes."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.3)
    return model.eval()
