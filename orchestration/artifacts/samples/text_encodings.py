"""Captions in the store, encoded or as tokens: a store of latents, and the numbers of its captions in their order."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from dfm_core.data.captions.text_store import NUMBERS, LiveTexts, TextStore
from dfm_core.data.latents.manifest import DamagedLatentsError, LatentManifest
from dfm_core.data.latents.shard_cache import ShardCache
from dfm_core.models.flux.text_encoders import TextEncoders
from dfm_core.models.text_tables import TextTable
from orchestration.artifacts.samples.latents import open_latents, publish_latents
from orchestration.storage.store import Store

_NUMBERS = "numbers.i64"


def publish_texts(store: Store, directory: str, manifest: LatentManifest, numbers: Sequence[int]) -> None:
    """Make a store of encodings visible, whose shards are all in place.

    Args: numbers: of its captions, ascending. Raises: as `publish_latents`.
    """
    store.write(f"{directory}/{_NUMBERS}", np.array(numbers, "<i8").tobytes())
    publish_latents(store, directory, manifest)


def open_text_table(store: Store, directory: str, cache: ShardCache, encoders: Callable[[], TextEncoders]) -> TextTable:
    """Open published captions as a model reads them.

    Args: encoders: loads what encodes tokens, where these are what is stored. Raises: as `open_texts`; what it raises.
    """
    opened = open_texts(store, directory, cache)
    return LiveTexts(opened, encoders().encode_tokens) if opened.holds(NUMBERS) else opened


def open_texts(store: Store, directory: str, cache: ShardCache) -> TextStore:
    """Open a published store of encodings, or of tokens.

    Raises: as `open_latents`; DamagedLatentsError if it holds something else.
    """
    opened, place = open_latents(store, directory, cache), store.uri(f"{directory}/{_NUMBERS}")
    try:
        numbers = np.frombuffer(store.read(f"{directory}/{_NUMBERS}"), "<i8")
    except (FileNotFoundError, ValueError) as error:
        raise DamagedLatentsError(f"{place}: cannot be read ({error})") from None
    if len(numbers) != len(opened) or not bool((np.diff(numbers) > 0).all()) or opened.manifest.labels != "caption":
        raise DamagedLatentsError(f"{place}: does not hold the numbers of {len(opened)} captions, ascending")
    return TextStore(opened, numbers)
