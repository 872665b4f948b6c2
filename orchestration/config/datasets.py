"""The sections `datasets:` and `autoencoders:` of a sweep: places of files. A row uses them by its `data:` section."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Annotated, Literal

from annotated_types import Gt, Interval
from pydantic import AfterValidator

from dfm_core.autoencoder_training.config import FinetuningConfig
from dfm_core.autoencoders.architecture import KlArchitecture
from dfm_core.config import DataConfig
from dfm_core.config.data import IN_BF16
from orchestration.common.urls import is_url, parts_of_url, with_lower_scheme

_A_PLACE = "should be a folder, or a URL such as s3://bucket/images"


def _place_of_files(path: str) -> str:
    """Raises: ValueError, worded to follow what was given."""
    if not path.strip():
        raise ValueError(_A_PLACE)
    if is_url(path):
        parts = parts_of_url(path, _A_PLACE)
        if not parts.scheme or not (parts.netloc or parts.path.strip("/")):
            raise ValueError("should name a place, as s3://bucket/images does")
        path = with_lower_scheme(path)
    return path.rstrip("/") or path


Place = Annotated[str, AfterValidator(_place_of_files)]
"""A folder that every worker can read, or an fsspec URL."""
Layout = Literal["class_folders", "list", "image_shards", "captioned_folder"]


@dataclass(frozen=True)
class DatasetConfig:
    """The user's files, encoded before anything is trained on them."""

    files: Place
    """Folder, file or pattern: a path or a URL of fsspec."""
    layout: Layout = "class_folders"
    """`class_folders`: a folder for each class; `list`: a CSV beside the files; `image_shards`: tar, Parquet, Arrow;
    `captioned_folder`: each image beside a `.txt` or `.json` of its name."""
    caption_key: str = ""
    """Key of the captions in `.json` files, "caption" by default. image_shards: labels are the captions in this column,
    and not classes; in tars in `key.txt`, or under this key in `key.json`."""
    list_file: str = "list.csv"
    """list: name of the CSV with the columns path and label, under the files' place."""
    class_list: str = ""
    """Name of a text file with a class a line, in the order of the labels, under the files' place. image_shards need
    it; for the others it lists the classes that must be there."""
    reference: Place | None = None
    """Real images or clips that samples are measured against, in the same layout; default: the training files."""
    num_samples: Annotated[int, Gt(0)] | None = None
    """Samples in the training files: image_shards need it, as no listing tells it; see `num_classes`."""
    num_classes: Annotated[int, Gt(0)] | None = None
    """With `num_samples`: what to plan with as long as there are no files; those that come must have as many."""
    num_reference: Annotated[int, Gt(0)] | None = None
    """image_shards: samples in the reference files."""
    max_bad_share: Annotated[float, Interval(ge=0.0, lt=1.0)] = 0.0
    """Share of unreadable training samples that may be left out; of the reference none may."""

    @property
    def has_captions(self) -> bool:
        """Return whether labels are captions, not classes."""
        return self.layout == "captioned_folder" or bool(self.layout == "image_shards" and self.caption_key)

    def place(self, *, reference: bool) -> str:
        """Return the place of the training or the reference files."""
        return (self.reference or self.files) if reference else self.files


@dataclass(frozen=True)
class DatasetAlias:
    """Files and their use, for which a name in `data.dataset` stands."""

    dataset: str
    """A name under `datasets:`, or an embedded dataset."""
    side: Annotated[int, Interval(ge=0, le=65_536)] = 0
    """The `data.side` that it stands for."""
    frames: Annotated[int, Interval(ge=0, le=100_000)] = 0
    """The `data.frames` that it stands for."""
    stride: Annotated[int, Interval(ge=1, le=100_000)] = 1
    """The `data.stride` that it stands for."""
    autoencoder: str = ""
    """The `data.autoencoder` that it stands for."""
    mirrored: bool = False
    """The `data.mirrored` that it stands for."""

    def applied(self, data: DataConfig) -> DataConfig:
        """Return a data section that names the alias with what it stands for; what the section sets itself stays."""
        default = DataConfig()
        own = {key: getattr(data, key) for key in ("side", "frames", "stride", "autoencoder", "mirrored")}
        given = {key: value if value != getattr(default, key) else getattr(self, key) for key, value in own.items()}
        return replace(data, dataset=self.dataset, **given)


@dataclass(frozen=True)
class TextEncodersConfig:
    """The encoders of captions: CLIP's text model and T5, with their tokenizers, as diffusers saves FLUX."""

    files: Place
    """Folder with `tokenizer`, `text_encoder`, `tokenizer_2` and `text_encoder_2`; that of a whole pipeline will do."""
    precision: Literal["fp32", "bf16"] = "bf16"
    """Precision in which they run, part of their identity. FLUX is used with bf16."""
    store_gb: Annotated[float, Interval(ge=0.0, le=1e9)] = 1000.0
    """Largest store of encodings, in GB. Of a dataset whose captions would need more, tokens are stored, and T5 runs in
    each worker and evaluator that reads them: the same numbers, for 9.5 GB of memory and 2 to 8 % of FLUX's FLOPs."""


@dataclass(frozen=True)
class AutoencoderTrainingConfig:
    """Training of an autoencoder here, before anything is encoded (paper, 4.1 and appendix D)."""

    data: DataConfig = field(default_factory=DataConfig)
    """Training images, seen as pixels: dataset, side, frames, stride, mirrored."""
    start: str = ""
    """Name of the autoencoder whose weights it starts from; empty: random weights."""
    architecture: KlArchitecture | None = None
    """Network of an autoencoder that starts from random weights."""
    training: FinetuningConfig = field(default_factory=FinetuningConfig)


@dataclass(frozen=True)
class AutoencoderConfig:
    """An autoencoder: its `config.json` and safetensors, as diffusers saves them, or its training."""

    kind: Literal["flux", "cogvideox", "kl"]
    """`flux`: AutoencoderKL with 16 channels and 1/8 of each side; `cogvideox`: AutoencoderKLCogVideoX; `kl`:
    AutoencoderKL of any shape."""
    files: Place | None = None
    """Folder as diffusers saves it: a path or a URL of fsspec."""
    made: AutoencoderTrainingConfig | None = None
    """The training that makes it, if no files are given."""
    precision: Literal["fp32", "bf16"] | None = None
    """Precision in which it encodes and decodes, part of the latents' identity; default: bf16 on GPUs, where it takes
    half the time and memory, fp32 on CPUs."""

    def identity(self, identity: str, *, on_gpu: bool) -> str:
        """Return the identity of its weights with that of its precision."""
        precision = self.precision or ("bf16" if on_gpu else "fp32")
        return identity + IN_BF16 if precision == "bf16" else identity
