"""From images in a bucket to batches of latents, through every layer: encoded in parts, published, streamed."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from dfm_core.autoencoders.base import draw
from dfm_core.autoencoders.registry import load_autoencoder
from dfm_core.data.encoding.encode import EncodingSpec, encode_units
from dfm_core.data.encoding.excluded_samples import ExcludedSamples
from dfm_core.data.encoding.square_pixels import image_square
from dfm_core.data.encoding.store_assembly import (
    EncodedPart,
    ShardCard,
    StoreIdentity,
    assemble,
    encode_shard,
    read_part,
    shard_name,
)
from dfm_core.data.files.class_folders import open_class_folders
from dfm_core.data.files.folder_report import UnusableFolderError
from dfm_core.data.files.image_files import EXTENSIONS
from dfm_core.data.latents.prefetch import Prefetch, latent_batches
from dfm_core.data.latents.shard_cache import ShardCache
from dfm_core.data.latents.shard_order import ShardOrder
from orchestration.artifacts.samples.latents import open_latents, publish_latents
from orchestration.data.user_files import StoreFiles
from orchestration.storage.store import Store
from tests.support.dataset_files import png
from tests.support.s3 import environment, make_bucket, variables
from tests.support.tiny_autoencoders import save_flux

FILES = {f"{name}/{at}.png": png(at + 20 * (name == "bee"), side=24) for at in range(10) for name in ("ant", "bee")}
DAMAGED = "bee/cut.png"
SPEC = EncodingSpec(side=16, mirrored=True)
NUM_SHARDS = 3


def encode(bucket: Store, scratch: Path, max_bad_share: float) -> None:
    """Encode as a task does, one part after the other, each card beside its shard."""
    dataset = open_class_folders(StoreFiles(Store(f"{bucket.root}/images")), EXTENSIONS)
    autoencoder = load_autoencoder("flux", scratch / "vae")
    left_out = ExcludedSamples(bucket.root, max_bad_share, len(dataset.units))
    for number in range(NUM_SHARDS):
        units = dataset.units[number::NUM_SHARDS]
        part = encode_units(dataset, units, autoencoder, SPEC, batch_samples=4, device=torch.device("cpu"))
        left_out.add(part.left_out)
        path = scratch / shard_name(number, NUM_SHARDS)
        card = encode_shard(path, number, part.tensors, part.labels, num_classes=2, num_left_out=part.num_left_out)
        bucket.put(path, f"latents/{path.name}")
        bucket.write(f"cards/{number}.json", EncodedPart(card, part.left_out).document())
    cards = [read_part(bucket.read(f"cards/{number}.json"), "card").card for number in range(NUM_SHARDS)]
    left_out.finish(class_counts(cards), dataset.class_names)
    num_samples = 2 * len(dataset.units)
    identity = StoreIdentity(dataset.fingerprint, autoencoder.identity, True, dataset.class_names, num_samples)
    publish_latents(bucket, "latents", assemble(identity, cards, NUM_SHARDS))


def class_counts(cards: list[ShardCard]) -> list[int]:
    return [sum(card.class_counts[number] for card in cards) for number in range(2)]


def test_images_in_a_bucket_become_batches_of_their_latents(tmp_path: Path, s3_endpoint: str) -> None:
    save_flux(tmp_path / "vae")
    with environment(variables(s3_endpoint)):
        bucket = Store(f"s3://{make_bucket(s3_endpoint)}/data")
        for name, content in {**FILES, DAMAGED: png()[:-20]}.items():
            bucket.write(f"images/{name}", content)
        with pytest.raises(UnusableFolderError, match=r"bee/cut\.png: is damaged or cut off"):
            encode(bucket, tmp_path, max_bad_share=0.0)
        with pytest.raises(FileNotFoundError, match="there are no latents, or their encoding has not ended"):
            open_latents(bucket, "latents", ShardCache(tmp_path / "cache", 10**6))
        encode(bucket, tmp_path, max_bad_share=0.05)
        dataset = open_latents(bucket, "latents", ShardCache(tmp_path / "cache", 10**6))
        assert (len(dataset), dataset.manifest.num_left_out) == (40, 2)
        assert dataset.manifest.class_counts == (20, 20)
        order = ShardOrder(5, dataset.shard_samples, 2)
        ranges = [range(at, at + 8) for at in range(0, 40, 8)]
        epoch = list(latent_batches(dataset, order, ranges, Prefetch()))
    autoencoder = load_autoencoder("flux", tmp_path / "vae")
    squares = torch.stack([image_square(content, 16) for content in FILES.values()])
    both = torch.cat([squares, squares.flip(-1)]).float() / 127.5 - 1
    with torch.no_grad():
        wanted = autoencoder.encode(both).stored()["mean"].float().flatten(1)
    means = torch.cat([batch.tensors["mean"] for batch in epoch]).float().flatten(1)
    labels = torch.cat([batch.labels for batch in epoch])
    nearest = torch.cdist(means, wanted).min(1)
    assert nearest.values.max() < 0.01
    assert sorted(nearest.indices.tolist()) == list(range(40))  # each image and each flip once
    known = torch.tensor([int(name.startswith("bee")) for name in FILES] * 2)
    assert torch.equal(labels, known[nearest.indices])
    assert draw(epoch[0].tensors, 5, ranges[0]).shape == (8, 16, 2, 2)
