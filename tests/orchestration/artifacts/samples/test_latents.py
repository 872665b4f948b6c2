"""Latents behind a URL that fails: what passes costs time, what lasts is one error, and a part is never a whole."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from dfm_core.data.latents.manifest import MANIFEST, DamagedLatentsError, LatentManifest
from dfm_core.data.latents.prefetch import Prefetch, latent_batches
from dfm_core.data.latents.shard_cache import ShardCache
from dfm_core.data.latents.shard_order import ShardOrder
from orchestration.artifacts.samples.latents import open_latents, publish_latents
from orchestration.storage.retry import RetryPolicy, StorageUnavailableError
from orchestration.storage.store import Store
from tests.support.latent_stores import flip_a_bit, make_store, sample
from tests.support.s3 import SECRET, FaultyProxy, make_bucket

DIRECTORY = "latents/abc"


@pytest.fixture
def cache(tmp_path: Path) -> ShardCache:
    return ShardCache(tmp_path / "cache", 10**6)


def upload(store: Store, folder: Path) -> LatentManifest:
    """A made store's shards, not published yet."""
    manifest = make_store(folder)
    for shard in manifest.shards:
        store.put(folder / shard.name, f"{DIRECTORY}/{shard.name}")
    return manifest


@pytest.fixture
def store(proxy: FaultyProxy, s3_endpoint: str) -> Store:
    del proxy
    return Store(f"s3://{make_bucket(s3_endpoint)}/dfm", retry_policy=RetryPolicy(call_seconds=0.7, retry_seconds=60.0))


def impatient(store: Store) -> Store:
    """The store of one that gives up soon where it is refused; a call that is only slow has time."""
    return Store(store.root, retry_policy=RetryPolicy(call_seconds=20.0, retry_seconds=0.5))


def test_what_was_published_is_read_by_index_with_a_connection_that_fails(
    store: Store, proxy: FaultyProxy, cache: ShardCache, tmp_path: Path
) -> None:
    publish_latents(store, DIRECTORY, upload(store, tmp_path / "made"))
    dataset = open_latents(store, DIRECTORY, cache)
    for fault, rows in (("busy", [0, 3]), ("reset", [5]), ("cut", [10, 9]), ("hang", [15])):
        proxy.fault, proxy.faults_left, proxy.cut_at = fault, 2, 300
        assert torch.equal(dataset.read(rows).tensors["mean"], torch.stack([sample(row) for row in rows]))
        assert proxy.faults_left == 0


def test_latents_are_an_artifact_like_any_other(store: Store, tmp_path: Path) -> None:
    manifest = upload(store, tmp_path / "made")
    publish_latents(store, DIRECTORY, manifest)
    with store.fetched(DIRECTORY) as files:
        assert [path.name for path in files] == [shard.name for shard in manifest.shards]


def test_a_store_on_this_machine_is_read_where_it_lies(tmp_path: Path, cache: ShardCache) -> None:
    store = Store(str(tmp_path / "root"))
    publish_latents(store, DIRECTORY, upload(store, tmp_path / "made"))
    shutil.rmtree(tmp_path / "made")
    dataset = open_latents(store, DIRECTORY, cache)
    assert torch.equal(dataset.read([7]).tensors["mean"][0], sample(7))
    assert not list(cache.folder.glob("*.safetensors"))


def test_latents_whose_encoding_has_not_ended_are_not_there(store: Store, cache: ShardCache, tmp_path: Path) -> None:
    manifest = upload(store, tmp_path / "made")
    with pytest.raises(
        FileNotFoundError, match=f"s3://.*/{DIRECTORY}: there are no latents, or their encoding has not"
    ):
        open_latents(store, DIRECTORY, cache)
    store.remove(f"{DIRECTORY}/{manifest.shards[1].name}")
    with pytest.raises(FileNotFoundError, match=f"1 shards are not there: {manifest.shards[1].name}"):
        publish_latents(store, DIRECTORY, manifest)
    with pytest.raises(FileNotFoundError, match="there are no latents"):
        open_latents(store, DIRECTORY, cache)


def test_a_manifest_that_was_cut_off_is_no_store(store: Store, cache: ShardCache, tmp_path: Path) -> None:
    manifest = upload(store, tmp_path / "made")
    store.write(f"{DIRECTORY}/{MANIFEST}", manifest.document()[:-20])
    with pytest.raises(DamagedLatentsError, match=f"{DIRECTORY}/{MANIFEST}: is no manifest of latents"):
        open_latents(store, DIRECTORY, cache)


@pytest.mark.proves(24)
def test_a_shard_that_changed_or_went_is_named(store: Store, cache: ShardCache, tmp_path: Path) -> None:
    manifest = upload(store, tmp_path / "made")
    publish_latents(store, DIRECTORY, manifest)
    changed, gone = manifest.shards[1].name, manifest.shards[2].name
    flip_a_bit(tmp_path / "made" / changed)
    store.put(tmp_path / "made" / changed, f"{DIRECTORY}/{changed}")
    store.remove(f"{DIRECTORY}/{gone}")
    dataset = open_latents(store, DIRECTORY, cache)
    with pytest.raises(DamagedLatentsError, match=f"s3://.*/{changed}: has another content"):
        dataset.read([5])
    with pytest.raises(DamagedLatentsError, match=f"s3://.*/{gone}: is missing"):
        dataset.read([9])
    assert torch.equal(dataset.read([0]).tensors["mean"][0], sample(0))


def test_a_storage_that_vanishes_half_way_is_one_error_with_shard_and_no_secret(
    store: Store, proxy: FaultyProxy, cache: ShardCache, tmp_path: Path
) -> None:
    manifest = upload(store, tmp_path / "made")
    publish_latents(store, DIRECTORY, manifest)
    order = ShardOrder(0, tuple(shard.num_samples for shard in manifest.shards), 1)
    dataset = open_latents(impatient(store), DIRECTORY, cache)
    prefetch = Prefetch(batches=1, windows=1, downloads=1)
    batches = latent_batches(dataset, order, [range(at, at + 1) for at in range(16)], prefetch)
    next(batches)
    proxy.fault = "reset"
    with pytest.raises(StorageUnavailableError, match=rf"s3://.*/{DIRECTORY}/latents-0000\d") as caught:
        list(batches)
    assert SECRET not in str(caught.value)
    proxy.fault = ""
    again = latent_batches(dataset, order, [range(at, at + 1) for at in range(16)], prefetch)
    assert len(list(again)) == 16
