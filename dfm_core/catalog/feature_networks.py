"""All feature networks: their outputs, files and preprocessing. Needs no torch: planning reads it.

To add one: a module with its loader, a card here, a line in `loaders.LOADERS`.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from dfm_core.catalog.weight_files import LITE0_WEIGHTS, GivenFile, NeededFile, WeightsFile

FeatureNetworkName = Literal["lite0", "inception", "dinov2", "i3d", "clip"]


@dataclass(frozen=True)
class FeatureNetworkCard:
    """Facts of a feature network for readers and for planning."""

    name: FeatureNetworkName
    title: str
    takes: Literal["images", "clips"]
    """8-bit images [B, C, H, W] or clips [B, C, T, H, W], C 1 or 3."""
    outputs: Mapping[str, int]
    """Name of each output -> its dimension."""
    preprocessing: str
    """Treatment of the 8-bit values; part of the protocol of every number measured on this network."""
    licence: str
    """Licence of the weights, as far as their makers state one."""
    files: tuple[NeededFile, ...] = ()
    """Files that the user provides."""
    packaged: WeightsFile | None = None
    """File that an installed package provides."""
    min_frames: int = 1
    """Fewest frames of a clip that it can take."""
    library: str = ""
    """Package that is needed besides torch, from the extra `features`."""

    def problems(self, given: Mapping[str, GivenFile]) -> list[str]:
        """Return everything that prevents loading it, each with what to do about it.

        Args: given: role -> file, as the user named them.
        """
        problems = [self.packaged.problem()] if self.packaged else []
        if self.library and importlib.util.find_spec(self.library) is None:
            problems.append(f"the package {self.library} is missing: pip install 'dfm-experiments[features]'")
        known = [needed.role for needed in self.files]
        problems += [
            f"{role}: it needs no such file; known: {', '.join(known) or 'none'}" for role in given if role not in known
        ]
        for needed in self.files:
            problems.append(given[needed.role].verify(needed) if needed.role in given else needed.not_given)
        return [f"{self.name} ({self.title}): {problem}" for problem in problems if problem]

    def weights_sha256(self, given: Mapping[str, GivenFile]) -> str:
        """Identity of the weights, for the protocol of a number: the checksum of the file under "weights"."""
        return self.packaged.sha256 if self.packaged else given["weights"].sha256.lower()


_CLIP_SOURCE = "the model page openai/clip-vit-base-patch32"

FEATURE_NETWORKS: dict[FeatureNetworkName, FeatureNetworkCard] = {
    "lite0": FeatureNetworkCard(
        name="lite0",
        title="EfficientNet-Lite0, ImageNet-1k",
        takes="images",
        outputs={"block10": 112, "head": 1280},
        preprocessing="bicubic without antialiasing to 112x112, (v - 127) / 128",
        licence="Apache-2.0",
        packaged=LITE0_WEIGHTS,
    ),
    "inception": FeatureNetworkCard(
        name="inception",
        title="Inception-v3 of 2015-12-05, TorchScript",
        takes="images",
        outputs={"pool3": 2048, "logits": 1008},
        preprocessing="8-bit values given to the TorchScript file, which resizes to 299x299 as TensorFlow 1 does "
        "(bilinear, no antialiasing) and scales; logits without bias",
        licence="network Apache-2.0 (TensorFlow); for the file see the terms of its project",
        files=(
            NeededFile(
                "weights",
                "inception-2015-12-05.pt",
                "the metrics of the project NVlabs/stylegan2-ada-pytorch (the .pkl of StyleGAN3 and EDM holds the same "
                "network as a pickle, which is not loaded)",
            ),
        ),
    ),
    "dinov2": FeatureNetworkCard(
        name="dinov2",
        title="DINOv2 ViT-L/14 without registers",
        takes="images",
        outputs={"cls": 1024},
        preprocessing="Pillow bicubic (antialiased, 8 bits) to 224x224, not keeping the aspect, / 255, ImageNet mean "
        "and std; positions interpolated as in the original code (bicubic, offset 0.1); class token after the norm",
        licence="Apache-2.0",
        files=(
            NeededFile(
                "weights",
                "dinov2_vitl14_pretrain.pth",
                "the project facebookresearch/dinov2 (or model.safetensors from the model page facebook/dinov2-large)",
            ),
        ),
        library="transformers",
    ),
    "i3d": FeatureNetworkCard(
        name="i3d",
        title="I3D, Kinetics-400, TensorFlow hub's weights, TorchScript",
        takes="clips",
        outputs={"logits": 400},
        preprocessing="/ 255, short side bilinear without antialiasing to 224, centre crop, 2 v - 1; 10 frames or "
        "more; activations before the softmax",
        licence="network Apache-2.0 (kinetics-i3d); its file states none",
        min_frames=10,
        files=(NeededFile("weights", "i3d_torchscript.pt", "the project universome/fvd-comparison (StyleGAN-V)"),),
    ),
    "clip": FeatureNetworkCard(
        name="clip",
        title="CLIP ViT-B/32",
        takes="images",
        outputs={"image": 512},
        preprocessing="Pillow bicubic (antialiased, 8 bits) of the short side to 224, centre crop, / 255, CLIP mean "
        "and std; text lower-cased, byte-pair encoded, 77 tokens; projections not normalised",
        licence="MIT",
        files=(
            NeededFile("weights", "model.safetensors", f"{_CLIP_SOURCE} (or its pytorch_model.bin)"),
            NeededFile("vocabulary", "vocab.json", _CLIP_SOURCE),
            NeededFile("merges", "merges.txt", _CLIP_SOURCE),
        ),
        library="transformers",
    ),
}
assert set(FEATURE_NETWORKS) == set(get_args(FeatureNetworkName)), "every name has a card"
