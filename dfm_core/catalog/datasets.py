"""The datasets that can be named in a config. Needs no torch: planning reads it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

_EMBEDDED = Path(__file__).parents[1] / "data" / "embedded"


@dataclass(frozen=True)
class DataShape:
    """Shape of the data, as a model needs it."""

    channels: int
    num_classes: int
    frames: int | None = None
    """Frames of a video; None for images."""

    def of_scale(self, channels: int, side: int) -> tuple[int, ...]:
        """Return the shape of one sample with these channels and side: (C, r, r), or (C, T, r, r) for videos."""
        return (channels, side, side) if self.frames is None else (channels, self.frames, side, side)


@dataclass(frozen=True)
class Motion:
    """Motion that turns still images into clips (`moving_images`)."""

    side: int
    """Side of the shrunk image, in pixels; the dataset's resolution is the side of the canvas that it crosses."""
    max_speed: float
    """Along each axis, in pixels a frame."""


@dataclass(frozen=True)
class DatasetCard:
    """Facts of a dataset that planning needs before anything is loaded."""

    path: Path | None
    """The file that holds it; its sha256 is the dataset's fingerprint. None: not part of the repository."""
    resolution: int
    """Side in cells as the model sees it: pixels, or positions of an autoencoder's latent."""
    channels: int
    class_names: tuple[str, ...]
    num_train_images: int
    num_reference_images: int
    """Held-out real images against which samples are measured."""
    licence: str
    about: str = ""
    """Origin of data that is not part of the repository."""
    frames: int | None = None
    """Frames of a video as the model sees it; None for images."""
    names_classes: bool = True
    """`class_names` are words, which a caption can be made of."""
    motion: Motion | None = None
    """The file holds still images; clips of `frames` frames are made of the first of each split."""
    held_out: bool = True
    """The reference images are no training images, so that real images have a floor that is measured against them."""

    @property
    def num_classes(self) -> int:
        return len(self.class_names)

    @property
    def kind(self) -> Literal["images", "videos"]:
        return "images" if self.frames is None else "videos"

    @property
    def shape(self) -> DataShape:
        return DataShape(self.channels, self.num_classes, self.frames)


FASHION_CLASSES = (
    "T-shirt",
    "trouser",
    "pullover",
    "dress",
    "coat",
    "sandal",
    "shirt",
    "sneaker",
    "bag",
    "ankle boot",
)  # fmt: skip

_FLUX_FACTOR = 8
IMAGENET_CLASSES = tuple(f"class {index}" for index in range(1000))


def _imagenet_latents(pixels: int) -> DatasetCard:
    """ImageNet-1K in the latent space of the paper's image experiments; the reference is the whole training set."""
    return DatasetCard(
        path=None,
        resolution=pixels // _FLUX_FACTOR,
        channels=16,
        class_names=IMAGENET_CLASSES,
        num_train_images=1_281_167,
        num_reference_images=1_281_167,
        licence="ImageNet terms of access",
        about=f"ImageNet-1K at {pixels} px as latents of the scale-equivariant FLUX autoencoder (paper, 4.1)",
        names_classes=False,
        held_out=False,
    )


_CLIP_FRAMES = 17
_COGVIDEOX_FRAMES_PER_LATENT = 4

KINETICS512 = DatasetCard(
    path=None,
    resolution=512 // 8,
    channels=16,
    class_names=tuple(f"class {index}" for index in range(700)),
    num_train_images=545_317,
    num_reference_images=545_317,
    licence="CC BY 4.0 (annotations); the clips are their owners'",
    about=f"Kinetics-700 clips of {_CLIP_FRAMES} frames at 512 px as latents of CogVideoX's autoencoder (paper, 4.1)",
    frames=1 + (_CLIP_FRAMES - 1) // _COGVIDEOX_FRAMES_PER_LATENT,
    names_classes=False,
    held_out=False,
)
"""The paper does not give the length of its clips (numerics A19)."""

_MOVING_FRAMES = 10
"""The fewest that I3D, and so FVD, can see."""

_FASHION = DatasetCard(
    path=_EMBEDDED / "fashion_mnist.npz",
    resolution=32,
    channels=1,
    class_names=FASHION_CLASSES,
    num_train_images=4000,
    num_reference_images=2000,
    licence="MIT, (c) 2017 Zalando SE",
)
DATASETS: dict[str, DatasetCard] = {
    "fashion_mnist": _FASHION,
    "moving_fashion": replace(
        _FASHION,
        resolution=16,
        num_train_images=2000,
        num_reference_images=1000,
        frames=_MOVING_FRAMES,
        motion=Motion(side=12, max_speed=0.75),
    ),
    "imagenet512_flux": _imagenet_latents(512),
    "imagenet1024_flux": _imagenet_latents(1024),
    "kinetics512_cogvideox": KINETICS512,
}
