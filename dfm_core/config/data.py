"""The data of an experiment: which samples, and in what form a model sees them. Needs no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge, Interval

MADE = ":made:"
"""Separator of kind and recipe digest in the identity of an autoencoder that this project trains."""
IN_BF16 = ":bf16"
"""End of the identity of an autoencoder that runs under bf16 autocast: its latents are others."""
_MAX_SIDE = 8192


@dataclass(frozen=True)
class CaptionsDescription:
    """Facts of captioned images and of the encoders of their captions."""

    token_pixels: int
    """Side of a model's token in pixels: the autoencoder's factor times 2, the patches of every such model."""
    encoders: str = ""
    """Identity of the text encoders with their weights; empty: none are named."""
    token_width: int = 0
    """Width of the encodings of tokens."""
    pooled_width: int = 0
    """Width of the one vector of a caption."""
    value_bytes: int = 2
    """Bytes of each value of the encodings, and of each weight of the encoders."""
    encoder_weights: int = 0
    """Weights of the encoder of tokens."""
    in_workers: bool = False
    """The encoder of tokens runs wherever captions are read, of which tokens are stored: a place that changes no
    number, so no digest of what is trained or measured sees it."""

    @property
    def encoder_bytes(self) -> int:
        """Return the memory of an encoder of tokens wherever captions are read; 0 where encodings are stored."""
        return self.encoder_weights * self.value_bytes if self.in_workers else 0


@dataclass(frozen=True)
class DataDescription:
    """Facts from a dataset's listing and an autoencoder's settings: all that planning needs beside the config."""

    fingerprint: str
    """Digest of the dataset's names, sizes and labels; of an embedded one, of its file."""
    encoder: str
    """Identity of the autoencoder with its weights; see `MADE` for one that this project trains."""
    class_names: tuple[str, ...]
    num_samples: int
    """Size of the training part, flips not counted, as far as it is known before its files are read."""
    num_reference: int
    """Real images that samples are measured against."""
    reference_fingerprint: str
    resolution: int
    """Side of a latent, in positions."""
    channels: int
    """Channels of a latent."""
    latent_frames: int | None = None
    """None: images."""
    captions: CaptionsDescription | None = None
    """None: labels are classes."""


@dataclass(frozen=True)
class DataConfig:
    """The images or videos, and the normalisation of their scales."""

    dataset: str = "fashion_mnist"
    """A name in `dfm_core.catalog.datasets.DATASETS`, or one under the sweep's `datasets:`."""
    autoencoder: str = ""
    """A name under the sweep's `autoencoders:` whose latents are trained on; empty: pixels."""
    side: Annotated[int, Interval(ge=0, le=_MAX_SIDE)] = 0
    """Side in pixels that files are cropped to, for a dataset under `datasets:`."""
    frames: Annotated[int, Interval(ge=0, le=10_000)] = 0
    """Frames taken of each clip; 0: the files are images."""
    stride: Annotated[int, Interval(ge=1, le=1000)] = 1
    """Between the frames that are taken of a clip."""
    mirrored: bool = False
    """Train on the horizontal flip of each sample too, encoded for itself."""
    window_shards: Annotated[int, Ge(1)] = 256
    """Shards of latents whose samples are shuffled together; all, if there are no more (numerics of the order)."""
    sides: tuple[Annotated[int, Interval(ge=1, le=_MAX_SIDE)], ...] = ()
    """Captioned images: sides in pixels of the squares that stand for their shapes; each image is used at every side
    that it reaches (`data.captions.buckets`)."""
    side_shares: tuple[Annotated[float, Interval(gt=0.0, le=1e6)], ...] = ()
    """Captioned images: share of the steps at each of the sides, to scale; empty: equal."""
    text: str = ""
    """A name under the sweep's `text_encoders:`, by which captions are encoded; empty: labels are classes."""
    text_length: Annotated[int, Interval(ge=1, le=4096)] = 512
    """Tokens of a caption that are kept; shorter ones are padded to it."""
    standardize: bool = False
    """Divide every scale by its standard deviation on the training data before noising (numerics: optional)."""
    described: DataDescription | None = None
    """Found when a sweep is read, never given; None: the dataset is trained on as it is embedded."""

    @property
    def title(self) -> str:
        """Return the dataset with the sides in pixels at which its files are used: "imagenet at 512 px"."""
        sides = self.sides or ((self.side,) if self.side else ())
        return f"{self.dataset} at {', '.join(map(str, sides))} px" if sides else self.dataset

    @property
    def step_shares(self) -> dict[int, float]:
        """Return the share of the steps at each side, to scale; empty unless images have captions."""
        return dict(zip(self.sides, self.side_shares or (1.0,) * len(self.sides), strict=True))
