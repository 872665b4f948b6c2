"""Stores of latents behind any URL: opened and published as the artifacts that they are."""

from __future__ import annotations

from pathlib import Path

from dfm_core.data.latents.latent_dataset import LatentDataset
from dfm_core.data.latents.manifest import MANIFEST, LatentManifest, read_manifest
from dfm_core.data.latents.shard_cache import ShardCache
from orchestration.common.errors import UserError
from orchestration.config.workers import WorkersConfig
from orchestration.data.file_cache import CACHE_VARIABLE, default_cache_directory
from orchestration.storage.store import FileEntry, Store


class StoreShards:
    """The shards under a directory of a storage: `ShardSource`, with the storage's retry policy."""

    def __init__(self, store: Store, directory: str) -> None:
        self._store, self._directory = store, directory

    @property
    def place(self) -> str:
        return self._store.uri(self._directory)

    def local_path(self, name: str) -> Path | None:
        return Path(self._store.path(f"{self._directory}/{name}")) if self._store.is_local else None

    def fetch(self, name: str, scratch: Path, num_bytes: int) -> Path:
        return self._store.fetch(f"{self._directory}/{name}", scratch, num_bytes)


def latent_cache(workers: WorkersConfig) -> ShardCache:
    """Return this machine's cache of latents, which all its processes share.

    Raises: UserError if it cannot be made.
    """
    folder = default_cache_directory() / "latents"
    try:
        return ShardCache(folder, int(workers.latent_cache_gb * 1e9))
    except OSError as error:
        hint = f"name another folder in {CACHE_VARIABLE}"
        raise UserError.of(str(folder), f"cannot be made for latents ({error.strerror}); {hint}") from None


def open_latents(store: Store, directory: str, cache: ShardCache) -> LatentDataset:
    """Open a published store of latents.

    Raises: FileNotFoundError if no store was published there; DamagedLatentsError; the errors of `Store`.
    """
    place = store.uri(directory)
    try:
        content = store.read(f"{directory}/{MANIFEST}")
    except FileNotFoundError:
        raise FileNotFoundError(f"{place}: there are no latents, or their encoding has not ended") from None
    return LatentDataset(read_manifest(content, f"{place}/{MANIFEST}"), StoreShards(store, directory), cache)


def publish_latents(store: Store, directory: str, manifest: LatentManifest) -> None:
    """Make a store of latents visible, whose shards are all in place.

    Raises: FileNotFoundError naming missing shards.
    """
    there = set(store.names(directory))
    if missing := [shard.name for shard in manifest.shards if shard.name not in there]:
        shown = ", ".join(missing[:10])
        raise FileNotFoundError(f"{store.uri(directory)}: {len(missing)} shards are not there: {shown}")
    entries = [FileEntry(shard.name, shard.num_bytes, shard.sha256) for shard in manifest.shards]
    store.publish(directory, entries, manifest.about())
