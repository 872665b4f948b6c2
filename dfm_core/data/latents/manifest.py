"""The manifest of a store of latents: `manifest.json`, written last, so that a store without it does not exist.

The document has the form of every artifact's manifest: `files`, each with size and sha256, and `about`, the rest.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

MANIFEST = "manifest.json"
FORMAT = 1
"""Raised when older readers would misread a store."""
LabelKind = Literal["label", "caption"]
LABELS: Mapping[LabelKind, str] = {"label": "int32", "caption": "int64"}
"""Name of the tensor of a shard that holds its labels, [n] -> its type: classes, or numbers of captions."""
DTYPE_BYTES: Mapping[str, int] = {"bfloat16": 2, "float16": 2, "float32": 4, "int32": 4, "uint8": 1}
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


class DamagedLatentsError(Exception):
    """A store of latents, or a part of it, is not what it should be; the message names it."""


@dataclass(frozen=True)
class TensorSpec:
    """One of the tensors that are kept of each sample."""

    dtype: str
    """A key of `DTYPE_BYTES`."""
    shape: tuple[int, ...]
    """Shape of one sample, channels first."""

    @property
    def sample_bytes(self) -> int:
        return DTYPE_BYTES[self.dtype] * math.prod(self.shape)


@dataclass(frozen=True)
class ShardEntry:
    """One file of the store."""

    name: str
    num_samples: int
    num_bytes: int
    sha256: str


@dataclass(frozen=True)
class ChannelStatistics:
    """Mean and standard deviation of each channel over all samples and positions, [C]."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


@dataclass(frozen=True)
class LatentManifest:
    """All that is known of a store before a shard is opened."""

    data_fingerprint: str
    """Fingerprint of the dataset that was encoded."""
    encoder: str
    """Identity of the autoencoder, weights included."""
    mirrored: bool
    """Sample 2i + 1 is the horizontal flip of sample 2i, encoded for itself."""
    tensors: Mapping[str, TensorSpec]
    class_names: tuple[str, ...]
    class_counts: tuple[int, ...]
    """Samples of each class."""
    statistics: Mapping[str, ChannelStatistics]
    """Statistics of each tensor, by name."""
    num_left_out: int
    """Samples of the dataset that could not be encoded, within the limit that the user set."""
    shards: tuple[ShardEntry, ...]
    """Shards in the order of their samples."""
    labels: LabelKind = "label"
    """Kind of its samples' labels."""

    @property
    def num_samples(self) -> int:
        return sum(shard.num_samples for shard in self.shards)

    @property
    def num_bytes(self) -> int:
        return sum(shard.num_bytes for shard in self.shards)

    def about(self) -> dict[str, Any]:
        """Plain data: the manifest without the files' sizes and checksums."""
        return {
            "format": FORMAT,
            "data_fingerprint": self.data_fingerprint,
            "encoder": self.encoder,
            "mirrored": self.mirrored,
            "tensors": {name: {"dtype": t.dtype, "shape": list(t.shape)} for name, t in self.tensors.items()},
            "class_names": list(self.class_names),
            "class_counts": list(self.class_counts),
            "statistics": {name: {"mean": list(s.mean), "std": list(s.std)} for name, s in self.statistics.items()},
            "num_left_out": self.num_left_out,
            "num_samples": self.num_samples,
            "shard_samples": [shard.num_samples for shard in self.shards],
            **({} if self.labels == "label" else {"labels": self.labels}),
        }

    def document(self) -> bytes:
        """Return the content of `manifest.json`."""
        files = [{"name": s.name, "num_bytes": s.num_bytes, "sha256": s.sha256} for s in self.shards]
        return json.dumps({"files": files, "about": self.about()}, indent=1, sort_keys=True).encode()


def read_manifest(content: bytes, place: str) -> LatentManifest:
    """Return a manifest, checked: the file may be cut off, of another kind, or written by somebody else.

    Args: content: of the file. place: its place, for messages.
    Raises: DamagedLatentsError with what is wrong.
    """
    try:
        document = json.loads(content)
        manifest = _parsed(document["files"], document["about"])
    except (KeyError, TypeError, AttributeError, ValueError, RecursionError) as error:
        missing = "it has no " if isinstance(error, KeyError) else ""
        raise DamagedLatentsError(f"{place}: is no manifest of latents ({missing}{error})") from None
    if problem := _contradiction(manifest, document["about"]):
        raise DamagedLatentsError(f"{place}: {problem}")
    return manifest


def _parsed(files: Sequence[Mapping[str, Any]], about: Mapping[str, Any]) -> LatentManifest:
    """Raises: KeyError, TypeError, AttributeError or ValueError for what has another form."""
    if about["format"] != FORMAT:
        raise ValueError(f"format {about['format']!r}; this version reads {FORMAT}")
    shards = [
        ShardEntry(
            _text(file["name"], _NAME), _count(number), _count(file["num_bytes"]), _text(file["sha256"], _SHA256)
        )
        for file, number in zip(files, about["shard_samples"], strict=True)
    ]
    return LatentManifest(
        data_fingerprint=_text(about["data_fingerprint"]),
        encoder=_text(about["encoder"]),
        mirrored=bool(about["mirrored"]),
        tensors={
            _text(name, _NAME): TensorSpec(_dtype(spec["dtype"]), tuple(map(_count, spec["shape"])))
            for name, spec in about["tensors"].items()
        },
        class_names=tuple(map(_text, about["class_names"])),
        class_counts=tuple(map(_count, about["class_counts"])),
        statistics={
            name: ChannelStatistics(tuple(map(float, own["mean"])), tuple(map(float, own["std"])))
            for name, own in about["statistics"].items()
        },
        num_left_out=_count(about["num_left_out"]),
        shards=tuple(shards),
        labels=_label_kind(about.get("labels", "label")),
    )


def _text(value: Any, pattern: re.Pattern[str] | None = None) -> str:
    if not isinstance(value, str) or (pattern is not None and not pattern.fullmatch(value)):
        raise ValueError(f"{value!r} is no {'text' if pattern is None else pattern.pattern}")
    return value


def _count(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise ValueError(f"{value!r} is no count")
    return value


def _dtype(value: Any) -> str:
    if value not in DTYPE_BYTES:
        raise ValueError(f"{value!r} is none of {', '.join(DTYPE_BYTES)}")
    return str(value)


def _label_kind(value: Any) -> LabelKind:
    if value not in LABELS:
        raise ValueError(f"{value!r} is none of {', '.join(LABELS)}")
    return "caption" if value == "caption" else "label"


def _contradiction(manifest: LatentManifest, about: Mapping[str, Any]) -> str:
    """Return a contradiction in the description of a store; empty if there is none."""
    names = [shard.name for shard in manifest.shards]
    if len(set(names)) != len(names):
        return "names a shard twice"
    if manifest.num_samples == 0 or not manifest.tensors or LABELS.keys() & manifest.tensors.keys():
        return "holds no samples" if manifest.num_samples == 0 else "names no tensors, or one as the labels"
    if manifest.num_samples != about["num_samples"]:
        return f"its shards hold {manifest.num_samples} samples of {about['num_samples']}: a part is missing"
    if len(manifest.class_counts) != len(manifest.class_names) or sum(manifest.class_counts) != manifest.num_samples:
        return f"its classes hold {sum(manifest.class_counts)} samples, its shards {manifest.num_samples}"
    if manifest.mirrored and any(shard.num_samples % 2 for shard in manifest.shards):
        return "a shard holds a sample without its flip"
    if set(manifest.statistics) != set(manifest.tensors):
        return "has statistics of other tensors than it holds"
    return ""
