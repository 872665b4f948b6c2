"""The manifest of a store of latents: what it says comes back, and nothing is believed that cannot be true."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dfm_core.data.latents.manifest import DamagedLatentsError, LatentManifest, read_manifest
from tests.support.latent_stores import make_store


@pytest.fixture
def manifest(tmp_path: Path) -> LatentManifest:
    return make_store(tmp_path)


def test_a_manifest_comes_back_as_it_was(manifest: LatentManifest) -> None:
    assert read_manifest(manifest.document(), "here") == manifest
    assert manifest.num_samples == 16
    assert manifest.class_counts == (6, 5, 5)


def test_a_manifest_that_is_cut_off_anywhere_is_refused(manifest: LatentManifest) -> None:
    content = manifest.document()
    for length in range(len(content)):
        with pytest.raises(DamagedLatentsError, match=r"^here: is no manifest of latents"):
            read_manifest(content[:length], "here")


def changed(manifest: LatentManifest, change: Callable[[dict[str, Any]], None]) -> bytes:
    document = json.loads(manifest.document())
    change(document)
    return json.dumps(document).encode()


CHANGES: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "a shard of fewer samples": (lambda d: d["about"]["shard_samples"].__setitem__(0, 4), "a part is missing"),
    "a shard less": (lambda d: (d["files"].pop(), d["about"]["shard_samples"].pop()), "a part is missing"),
    "a file less": (lambda d: d["files"].pop(), "is no manifest"),
    "a shard twice": (lambda d: d["files"].__setitem__(1, d["files"][0]), "names a shard twice"),
    "a name that leads out": (lambda d: d["files"][0].__setitem__("name", "../x.safetensors"), "'../x.safetensors'"),
    "an absolute name": (lambda d: d["files"][0].__setitem__("name", "/etc/passwd"), "'/etc/passwd'"),
    "a checksum that is a path": (lambda d: d["files"][0].__setitem__("sha256", "../../x"), "'../../x'"),
    "a negative size": (lambda d: d["files"][0].__setitem__("num_bytes", -1), "-1 is no count"),
    "a size that is true": (lambda d: d["files"][0].__setitem__("num_bytes", True), "True is no count"),
    "another format": (lambda d: d["about"].__setitem__("format", 2), "format 2; this version reads 1"),
    "an unknown type": (lambda d: d["about"]["tensors"]["mean"].__setitem__("dtype", "object"), "none of bfloat16"),
    "no encoder": (lambda d: d["about"].pop("encoder"), "it has no 'encoder'"),
    "a class less": (lambda d: d["about"]["class_counts"].pop(), "its classes hold 11 samples, its shards 16"),
    "flips that cannot be": (lambda d: d["about"].__setitem__("mirrored", True), "a sample without its flip"),
    "no statistics": (lambda d: d["about"].__setitem__("statistics", {}), "statistics of other tensors"),
    "a list": (lambda d: d.__setitem__("about", []), "is no manifest"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_cannot_be_true_is_refused(manifest: LatentManifest, change: str) -> None:
    make, message = CHANGES[change]
    with pytest.raises(DamagedLatentsError, match=message.replace("[", r"\[")):
        read_manifest(changed(manifest, make), "here")


def test_nothing_but_a_mapping_is_a_manifest() -> None:
    for content in (b"", b"[]", b"null", b"\xff", b"[" * 100_000):
        with pytest.raises(DamagedLatentsError, match="is no manifest of latents"):
            read_manifest(content, "here")
