"""Encoded captioned images in the store: a store of latents for each shape, and the captions, published last."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from dfm_core.data.captions.bucketed_latents import BucketStore
from dfm_core.data.encoding.captioned import Shape
from dfm_core.data.encoding.captioned_parts import shape_of
from dfm_core.data.latents.manifest import DamagedLatentsError, LatentManifest
from dfm_core.data.latents.shard_cache import ShardCache
from orchestration.artifacts.samples.latents import open_latents, publish_latents
from orchestration.storage.scratch import scratch_folder
from orchestration.storage.store import DamagedArtifactError, FileEntry, Store

_CAPTIONS = "captions.json"


def shape_directory(directory: str, shape: Shape) -> str:
    """Return the place of one shape's latents, under that of all."""
    return f"{directory}/{shape}"


def publish_captioned(
    store: Store, directory: str, manifests: Mapping[Shape, LatentManifest], captions: Sequence[str]
) -> None:
    """Make the stores of all shapes visible, whose shards are in place.

    Args: captions: of all images, by number. Raises: FileNotFoundError naming missing shards.
    """
    for shape, manifest in manifests.items():
        publish_latents(store, shape_directory(directory, shape), manifest)
    with scratch_folder("captions") as scratch:
        path = scratch / _CAPTIONS
        path.write_text(json.dumps(list(captions), ensure_ascii=False), encoding="utf-8")
        store.put(path, f"{directory}/{_CAPTIONS}")
        about = {"shapes": {str(shape): manifest.num_samples for shape, manifest in manifests.items()}}
        store.publish(directory, [FileEntry.of(path)], about)


def open_captioned(store: Store, directory: str, cache: ShardCache) -> tuple[BucketStore, ...]:
    """Open the stores of all shapes.

    Raises: FileNotFoundError if they were not published; DamagedLatentsError; the errors of `Store`.
    """
    manifest = store.manifest(directory)
    if manifest is None:
        place = store.uri(directory)
        raise FileNotFoundError(f"{place}: there are no captioned images, or their encoding has not ended")
    try:
        shapes = sorted(map(shape_of, manifest["about"]["shapes"]))
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise DamagedLatentsError(f"{store.uri(directory)}: is no store of captioned images ({error})") from None
    return tuple(
        BucketStore(shape.side, shape.bucket, open_latents(store, shape_directory(directory, shape), cache))
        for shape in shapes
    )


def read_captions(store: Store, directory: str) -> tuple[str, ...]:
    """Return the captions of all images, each once, by number.

    Raises: FileNotFoundError if they were not published; DamagedLatentsError.
    """
    try:
        with store.fetched(directory, {_CAPTIONS}) as files:
            captions = json.loads(files[0].read_bytes())
    except (DamagedArtifactError, ValueError, IndexError) as error:
        raise DamagedLatentsError(f"{store.uri(directory)}: {_CAPTIONS} cannot be read ({error})") from None
    if not isinstance(captions, list) or not all(isinstance(one, str) for one in captions):
        raise DamagedLatentsError(f"{store.uri(directory)}: {_CAPTIONS} is no list of texts")
    return tuple(captions)
