"""Widths and identities of the text encoders that a sweep names, before a caption is encoded."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from orchestration.config.datasets import TextEncodersConfig
from orchestration.config.storage import StorageConfig
from orchestration.data.identity import absent_identity
from orchestration.storage.store import Store

PARTS = ("tokenizer", "text_encoder", "tokenizer_2", "text_encoder_2")
"""Folders that are read, of a whole pipeline too."""
_WEIGHTS = ".safetensors"
_READ = (".json", ".txt", ".model", _WEIGHTS)
_LOOKED_AT, _NUM_LOOKS = 65_536, 16
"""Parts of weights that are looked at, beside their length, as of backbones: T5 has 9.5 GB, a minute to read."""
_USUAL_WEIGHTS = 4_762_310_656
"""T5's encoder of FLUX."""


@dataclass(frozen=True)
class TextEncodersDescription:
    """Facts of text encoders."""

    identity: str
    token_width: int
    pooled_width: int
    token_weights: int
    """Weights of the encoder of tokens."""


def describe_text_encoders(
    name: str, config: TextEncodersConfig, storage: StorageConfig, absent: dict[str, str]
) -> TextEncodersDescription:
    """Return the facts of text encoders; of those that are not there yet no widths, and the size of FLUX's.

    Args: storage: the sweep's, with whose options files are read. absent: receives, by key, why files that are not
        there yet cannot be used.
    Raises: ValueError if they are not what they should be; errors of the storage.
    """
    from dfm_core.models.flux.text_encoders import read_text_encoder_card
    from orchestration.data.user_files import open_place

    store = open_place(config.files, storage)
    names = encoder_files(store)
    if not names:
        absent[f"text_encoders.{name}"] = f"{config.files}: there are no folders {', '.join(PARTS)}"
        return TextEncodersDescription(f"{absent_identity(config.files)}:{config.precision}", 0, 0, _USUAL_WEIGHTS)
    with encoder_folder(store, weights=False) as folder:
        card = read_text_encoder_card(folder)
    identity = f"{_fingerprint(store, names)}:{config.precision}"
    return TextEncodersDescription(identity, card.token_width, card.pooled_width, card.token_weights)


def encoder_files(store: Store) -> dict[str, int]:
    """Return the files of text encoders with their sizes, by name; weights in other formats are not among them."""
    names = [f"{part}/{name}" for part in PARTS for name in store.names(part) if name.endswith(_READ)]
    return {name: store.num_bytes(name) for name in sorted(names)}


@contextmanager
def encoder_folder(store: Store, *, weights: bool) -> Iterator[Path]:
    """Give a local folder with the files of text encoders for a `with` block: their own, or copies."""
    from orchestration.storage.scratch import scratch_folder

    if store.is_local:
        yield Path(store.path(""))
        return
    with scratch_folder("text-encoders") as scratch:
        for name, size in encoder_files(store).items():
            if weights or not name.endswith(_WEIGHTS):
                place = scratch / name
                place.parent.mkdir(exist_ok=True)
                store.fetch(name, place.parent, size)
        yield scratch


def _fingerprint(store: Store, names: dict[str, int]) -> str:
    state = hashlib.sha256()
    for name, size in names.items():
        state.update(f"{name}\t{size}\n".encode())
        looks = range(_NUM_LOOKS) if name.endswith(_WEIGHTS) and size > _NUM_LOOKS * _LOOKED_AT else range(1)
        length = _LOOKED_AT if len(looks) > 1 else size
        for look in looks:
            begin = (size - length) * look // max(1, len(looks) - 1)
            state.update(store.read_range(name, begin, begin + length))
    return state.hexdigest()
