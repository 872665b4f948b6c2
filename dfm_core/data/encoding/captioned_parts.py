"""Parts of an encoding of captioned images: a card for each, and of all cards the manifests of all shapes."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from dfm_core.data.captions.buckets import Bucket
from dfm_core.data.captions.caption import CAPTIONED, caption_number
from dfm_core.data.encoding.captioned import Shape
from dfm_core.data.encoding.store_assembly import ShardCard, StoreIdentity, assemble, card_from_plain
from dfm_core.data.files.folder_report import BadFile
from dfm_core.data.latents.manifest import DamagedLatentsError, LatentManifest

_SHAPE = re.compile(r"(\d{1,6})-(\d{1,6})x(\d{1,6})")


@dataclass(frozen=True)
class CaptionedPart:
    """Record of a part of an encoding, stored beside its shards."""

    cards: Mapping[Shape, ShardCard]
    """Cards of the shapes that its images have."""
    captions: tuple[str, ...]
    num_encoded: int
    """Images that have at least one shape."""
    left_out: tuple[BadFile, ...]

    def document(self) -> bytes:
        """Return the content of the part's card, to write after the shards: it marks the part as complete."""
        plain = {
            "cards": {str(shape): asdict(card) for shape, card in self.cards.items()},
            "captions": list(self.captions),
            "num_encoded": self.num_encoded,
            "left_out": [asdict(one) for one in self.left_out],
        }
        return json.dumps(plain, indent=1, sort_keys=True).encode()


def read_captioned_part(content: bytes, place: str) -> CaptionedPart:
    """Return the inverse of `CaptionedPart.document`.

    Args: place: its place, for messages. Raises: DamagedLatentsError if it is cut off or something else.
    """
    try:
        document = json.loads(content)
        return CaptionedPart(
            {shape_of(name): card_from_plain(card) for name, card in document["cards"].items()},
            tuple(map(str, document["captions"])),
            int(document["num_encoded"]),
            tuple(BadFile(**one) for one in document["left_out"]),
        )
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise DamagedLatentsError(f"{place}: is no card of captioned images ({error})") from None


def shape_of(name: str) -> Shape:
    """Return the shape whose text is given. Raises: ValueError."""
    if not (match := _SHAPE.fullmatch(name)):
        raise ValueError(f"{name!r} is no shape, as 64-48x80")
    side, height, width = map(int, match.groups())
    return Shape(side, Bucket(height, width))


def assemble_shapes(data_fingerprint: str, encoder: str, parts: Sequence[CaptionedPart]) -> dict[Shape, LatentManifest]:
    """Return the manifest of each shape's store, whose shards are numbered as their parts are.

    Raises: ValueError if no image could be encoded.
    """
    shapes = sorted({shape for part in parts for shape in part.cards})
    if not shapes:
        raise ValueError("no image could be encoded")
    manifests = {}
    for shape in shapes:
        cards = [part.cards.get(shape, ShardCard(number, 0)) for number, part in enumerate(parts)]
        count = sum(card.entry.num_samples for card in cards if card.entry is not None)
        identity = StoreIdentity(data_fingerprint, encoder, False, CAPTIONED, count, "caption")
        manifests[shape] = assemble(identity, cards, len(cards))
    return manifests


def sorted_captions(parts: Sequence[CaptionedPart]) -> tuple[str, ...]:
    """Return the captions of all parts, each once, by number."""
    captions = {caption for part in parts for caption in part.captions}
    return tuple(sorted(captions, key=caption_number))
