"""The cache of shards: whole, verified, bounded, and fetched once whatever the processes do."""

from __future__ import annotations

import errno
import multiprocessing
import os
import shutil
import signal
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from dfm_core.data.latents.manifest import DamagedLatentsError, LatentManifest
from dfm_core.data.latents.shard_cache import CacheFullError, ShardCache
from dfm_core.data.latents.shards import sha256_of
from tests.support.latent_stores import FolderSource, LocalSource, cut_off, flip_a_bit, make_store

PROCESSES = multiprocessing.get_context("fork")


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def manifest(store: Path) -> LatentManifest:
    return make_store(store, (4, 4, 4, 4))


@pytest.fixture
def cache(tmp_path: Path) -> ShardCache:
    return ShardCache(tmp_path / "cache", 10**6)


def kept(cache: ShardCache) -> set[str]:
    """Checksums of what the cache holds."""
    return {path.stem for path in cache.folder.glob("*.safetensors")}


def leftovers(cache: ShardCache) -> list[Path]:
    return list(cache.folder.glob("*.partial"))


def test_a_shard_is_fetched_once_and_is_what_was_published(
    store: Path, manifest: LatentManifest, cache: ShardCache
) -> None:
    source = FolderSource(store)
    for shard in [*manifest.shards, *manifest.shards]:
        assert cache.get(source, shard).read_bytes() == (store / shard.name).read_bytes()
    assert set(source.fetched.values()) == {1}
    assert not leftovers(cache)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (flip_a_bit, r"has another content: sha256 .* \(fetched 3 times\)"),
        (cut_off, r"is cut off: \d+ bytes, its manifest says \d+ \(fetched 3 times\)"),
        (lambda path: path.write_bytes(path.read_bytes() + b"x"), "is too long"),
        (lambda path: path.unlink(), "is missing"),
    ],
)
def test_a_shard_that_is_wrong_where_it_lies_is_never_used(
    store: Path, manifest: LatentManifest, cache: ShardCache, fault: object, message: str
) -> None:
    shard = manifest.shards[1]
    assert callable(fault)
    fault(store / shard.name)
    with pytest.raises(DamagedLatentsError, match=f"^made://store/{shard.name}: {message}"):
        cache.get(FolderSource(store), shard)
    with pytest.raises(DamagedLatentsError, match=shard.name):
        cache.get(LocalSource(store), shard)
    assert not kept(cache)
    assert not leftovers(cache)


def test_a_transfer_that_went_wrong_twice_is_mended(store: Path, manifest: LatentManifest, cache: ShardCache) -> None:
    faults = [flip_a_bit, cut_off]
    source = FolderSource(store, lambda path: faults.pop()(path) if faults else None)
    path = cache.get(source, manifest.shards[0])
    assert path.read_bytes() == (store / manifest.shards[0].name).read_bytes()
    assert source.fetched[manifest.shards[0].name] == 3


def test_what_was_used_least_recently_makes_room(store: Path, manifest: LatentManifest, tmp_path: Path) -> None:
    first, second, third, _ = manifest.shards
    cache = ShardCache(tmp_path / "cache", 2 * first.num_bytes + 1)
    source = FolderSource(store)
    for shard in (first, second, first, third):
        cache.get(source, shard)
        time.sleep(0.01)
    assert kept(cache) == {first.sha256, third.sha256}


def test_a_shard_larger_than_the_cache_is_told_and_removes_nothing_else(
    store: Path, manifest: LatentManifest, tmp_path: Path
) -> None:
    cache = ShardCache(tmp_path / "cache", manifest.shards[0].num_bytes - 1)
    with pytest.raises(CacheFullError, match=r"no room for latents-00000.*it may hold \d+.*give the cache more room"):
        cache.get(FolderSource(store), manifest.shards[0])


@pytest.mark.proves(13)
def test_a_disk_that_is_full_is_told_and_leaves_nothing_behind(
    store: Path, manifest: LatentManifest, cache: ShardCache
) -> None:
    def full(path: Path) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    with pytest.raises(CacheFullError, match=r"no room for .*its disk is full, \d+ bytes are free"):
        cache.get(FolderSource(store, full), manifest.shards[0])
    assert not leftovers(cache)
    assert not kept(cache)
    cache.get(FolderSource(store), manifest.shards[0])  # and when there is room again, all is well


def test_others_filling_the_disk_shrink_the_cache(
    store: Path, manifest: LatentManifest, cache: ShardCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    num_bytes, source = manifest.shards[0].num_bytes, FolderSource(store)
    cache.get(source, manifest.shards[0])

    def usage(_: Path) -> SimpleNamespace:  # room for one shard, whoever holds it
        return SimpleNamespace(free=num_bytes - sum(path.stat().st_size for path in cache.folder.glob("*.safetensors")))

    monkeypatch.setattr(shutil, "disk_usage", usage)
    cache.get(source, manifest.shards[1])
    assert kept(cache) == {manifest.shards[1].sha256}
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=num_bytes - 1))
    with pytest.raises(CacheFullError, match=f"{num_bytes - 1} bytes are free on its disk"):
        cache.get(source, manifest.shards[2])


def test_other_errors_of_the_source_are_its_own(store: Path, manifest: LatentManifest, cache: ShardCache) -> None:
    def away(_: Path) -> None:
        raise ConnectionResetError("the store is away")

    with pytest.raises(ConnectionResetError, match="the store is away"):
        cache.get(FolderSource(store, away), manifest.shards[0])
    assert not leftovers(cache)


def test_processes_that_want_the_same_shards_fetch_each_once(
    store: Path, manifest: LatentManifest, cache: ShardCache, tmp_path: Path
) -> None:
    log = tmp_path / "log"

    def told(path: Path) -> None:
        with log.open("a") as file:  # one short line at the end of a file is written whole
            file.write(f"{path.name}\n")
        time.sleep(0.05)

    def work(number: int) -> None:
        own = ShardCache(cache.folder, 10**6)
        for shard in (*manifest.shards[number:], *manifest.shards[:number]):
            assert own.get(FolderSource(store, told), shard).stat().st_size == shard.num_bytes

    workers = [PROCESSES.Process(target=work, args=(number,)) for number in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
    assert [worker.exitcode for worker in workers] == [0] * 4
    assert sorted(log.read_text().split()) == [shard.name for shard in manifest.shards]


@pytest.mark.proves(29)
@pytest.mark.parametrize("next_one", [0, 1])
def test_what_a_killed_process_had_fetched_is_removed_and_fetched_again(
    store: Path, manifest: LatentManifest, tmp_path: Path, next_one: int
) -> None:
    cache = ShardCache(tmp_path / "cache", manifest.shards[0].num_bytes)

    def work() -> None:
        cache.get(FolderSource(store, lambda _: os.kill(os.getpid(), signal.SIGKILL)), manifest.shards[0])

    worker = PROCESSES.Process(target=work)
    worker.start()
    worker.join(120)
    assert worker.exitcode == -signal.SIGKILL
    assert len(leftovers(cache)) == 1
    cache.get(FolderSource(store), manifest.shards[next_one])  # has its room, as only one fits
    assert not leftovers(cache)
    assert kept(cache) == {manifest.shards[next_one].sha256}


def test_downloads_at_once_never_hold_more_than_the_cache_may(
    store: Path, manifest: LatentManifest, tmp_path: Path
) -> None:
    num_bytes = manifest.shards[0].num_bytes
    cache = ShardCache(tmp_path / "cache", 2 * num_bytes)
    most = 0

    def weighed(_: Path) -> None:
        nonlocal most
        most = max(most, len(leftovers(cache)) + len(kept(cache)))
        time.sleep(0.03)

    source = FolderSource(store, weighed)
    threads = [threading.Thread(target=cache.get, args=(source, shard)) for shard in manifest.shards]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert sum(source.fetched.values()) == 4
    assert most == 2


def test_a_shard_on_this_machine_is_used_in_place_and_verified_once(
    store: Path, manifest: LatentManifest, cache: ShardCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed: list[Path] = []

    def counted(path: Path) -> str:
        hashed.append(path)
        return sha256_of(path)

    monkeypatch.setattr("dfm_core.data.latents.shard_cache.sha256_of", counted)
    shard = manifest.shards[0]
    for _ in range(3):
        assert cache.get(LocalSource(store), shard) == store / shard.name
    assert hashed == [store / shard.name]
    flip_a_bit(store / shard.name)
    with pytest.raises(DamagedLatentsError, match="has another content"):
        cache.get(LocalSource(store), shard)
