"""Assembly of a store from encoded shards: a card for each shard during encoding, a manifest when all exist.

Cards are plain data that can be stored beside the shards, so that an interrupted encoding resumes with the missing
shards.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dfm_core.data.encoding.channel_moments import ChannelMoments
from dfm_core.data.files.folder_report import BadFile
from dfm_core.data.latents.manifest import DamagedLatentsError, LabelKind, LatentManifest, ShardEntry, TensorSpec
from dfm_core.data.latents.shards import TORCH_DTYPES, write_shard

_DTYPE_NAMES = {dtype: name for name, dtype in TORCH_DTYPES.items()}


@dataclass(frozen=True)
class ShardCard:
    """Facts of a shard that its store's manifest needs."""

    number: int
    """Its place in the store."""
    num_left_out: int
    """Samples of its part of the dataset that could not be encoded."""
    entry: ShardEntry | None = None
    """None: no sample of its part could be encoded, so there is no file."""
    tensors: Mapping[str, TensorSpec] = field(default_factory=dict)
    moments: Mapping[str, ChannelMoments] = field(default_factory=dict)
    class_counts: tuple[int, ...] = ()


@dataclass(frozen=True)
class EncodedPart:
    """Record of a part of an encoding, stored beside its shard."""

    card: ShardCard
    left_out: tuple[BadFile, ...]

    def document(self) -> bytes:
        """Return the content of the part's card, to write after the shard: it marks the part as complete."""
        return json.dumps(asdict(self), indent=1, sort_keys=True).encode()


def read_part(content: bytes, place: str) -> EncodedPart:
    """Return the inverse of `EncodedPart.document`.

    Args: place: its place, for messages. Raises: DamagedLatentsError if it is cut off or something else.
    """
    try:
        document = json.loads(content)
        return EncodedPart(card_from_plain(document["card"]), tuple(BadFile(**one) for one in document["left_out"]))
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise DamagedLatentsError(f"{place}: is no card of a shard ({error})") from None


def card_from_plain(document: Mapping[str, Any]) -> ShardCard:
    """Return the inverse of `asdict`.

    Raises: KeyError, TypeError, AttributeError or ValueError for what has another form.
    """
    return ShardCard(
        number=document["number"],
        num_left_out=document["num_left_out"],
        entry=None if document["entry"] is None else ShardEntry(**document["entry"]),
        tensors={name: TensorSpec(own["dtype"], tuple(own["shape"])) for name, own in document["tensors"].items()},
        moments={
            name: ChannelMoments(own["count"], tuple(own["total"]), tuple(own["square_total"]))
            for name, own in document["moments"].items()
        },
        class_counts=tuple(document["class_counts"]),
    )


@dataclass(frozen=True)
class StoreIdentity:
    """Origin of a store: data, encoder and flips."""

    data_fingerprint: str
    encoder: str
    mirrored: bool
    class_names: tuple[str, ...]
    num_samples: int
    """Samples of the dataset, its flips counted where they are stored."""
    labels: LabelKind = "label"


def shard_name(number: int, num_shards: int) -> str:
    return f"latents-{number:05d}-of-{num_shards:05d}.safetensors"


def encode_shard(
    path: Path,
    number: int,
    tensors: Mapping[str, Tensor],
    labels: Tensor,
    *,
    num_classes: int | None,
    num_left_out: int = 0,
) -> ShardCard:
    """Writes shard `number` of a store. Its samples are those that could be encoded, in the dataset's order.

    Args: path: where to; see `shard_name`. tensors: by name, each [n, C, ...]. labels: [n].
        num_classes: None: the labels are numbers of captions, which count as one class. num_left_out:
        samples of this part of the dataset that could not be encoded, which the caller has counted.
    Raises: ValueError as `write_shard`, or for a label that is no class.
    """
    if num_classes is None:
        entry, class_counts = write_shard(path, tensors, labels, "caption"), (len(labels),)
    else:
        if len(labels) and not (labels.min() >= 0 and labels.max() < num_classes):
            raise ValueError(f"labels {int(labels.min())} to {int(labels.max())}, but there are {num_classes} classes")
        entry = write_shard(path, tensors, labels)
        class_counts = tuple(torch.bincount(labels.long(), minlength=num_classes).tolist())
    specs = {name: TensorSpec(_DTYPE_NAMES[own.dtype], tuple(own.shape[1:])) for name, own in tensors.items()}
    return ShardCard(
        number=number,
        num_left_out=num_left_out,
        entry=entry,
        tensors=specs,
        moments={name: ChannelMoments.of(own) for name, own in tensors.items()},
        class_counts=class_counts,
    )


def assemble(identity: StoreIdentity, cards: Sequence[ShardCard], num_shards: int, num_lost: int = 0) -> LatentManifest:
    """Return the manifest of a store of which every shard was made.

    Args: num_lost: samples of the dataset that no card counts as left out and the caller has accounted for.
    Raises: ValueError if a shard or a sample is missing, or the shards do not fit together: a part of a dataset is
    never taken for the whole.
    """
    ordered = sorted(cards, key=lambda card: card.number)
    if missing := sorted(set(range(num_shards)) - {card.number for card in ordered}):
        raise ValueError(f"{len(missing)} of {num_shards} shards are missing: {', '.join(map(str, missing[:10]))}")
    if len(ordered) != num_shards:
        raise ValueError(f"there are {len(ordered)} shards of {num_shards}: one was made twice")
    left_out = num_lost + sum(card.num_left_out for card in ordered)
    shards = [card.entry for card in ordered if card.entry is not None]
    ordered = [card for card in ordered if card.entry is not None]
    if not shards:
        raise ValueError(f"no sample could be encoded; {left_out} were left out")
    if any(card.tensors != ordered[0].tensors for card in ordered):
        raise ValueError("shards hold other tensors than the first: they were made by different encoders")
    encoded = sum(shard.num_samples for shard in shards)
    if encoded + left_out != identity.num_samples:
        raise ValueError(f"{encoded} samples were encoded and {left_out} left out of {identity.num_samples}")
    moments = dict(ordered[0].moments)
    for card in ordered[1:]:
        moments = {name: own.plus(card.moments[name]) for name, own in moments.items()}
    return LatentManifest(
        data_fingerprint=identity.data_fingerprint,
        encoder=identity.encoder,
        mirrored=identity.mirrored,
        tensors=ordered[0].tensors,
        class_names=identity.class_names,
        class_counts=tuple(map(sum, zip(*(card.class_counts for card in ordered), strict=True))),
        statistics={name: own.statistics() for name, own in moments.items()},
        num_left_out=left_out,
        shards=tuple(shards),
        labels=identity.labels,
    )
