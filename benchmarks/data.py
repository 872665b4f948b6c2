"""Samples a second and time to the first batch: the latent store beside WebDataset and MosaicML streaming.

    python benchmarks/data.py --shards 8 --shard-samples 256 --batch 64

Every loader has the same random latents (131 kB a sample, FLUX at 512 px, bf16) in its own format, uncompressed, in one
process, shuffled its own way, and copies them into batches. The others keep an array in the way that their pages show,
and bytes alone, which are cast by hand. From a local folder the pages are cached by the system, as everything is read
several times; from S3 (moto's, behind a proxy that adds latency and bandwidth) every round starts with nothing. The
loaders take turns in every round. Then each feeds a training whose steps are matrix products of so
many milliseconds, and the time that the training waits for its next batch is counted.

WebDataset comes with the extra `benchmark`. MosaicML streaming asks for other versions of numpy and transformers than
this project's and for torchvision; its loader runs without them: pip install --no-deps mosaicml-streaming==0.13.0
Brotli python-snappy cramjam xxhash zstd catalogue. A loader that is not installed is left out.
"""

from __future__ import annotations

import argparse
import importlib.util
import logging
import os
import statistics
import sys
import tempfile
import time
import types
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import fsspec
import numpy as np
import torch
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from slow_s3 import slow_s3
from torch import Tensor

from dfm_core.autoencoders.base import MEAN, STD
from dfm_core.data.encoding.store_assembly import StoreIdentity, assemble, encode_shard, shard_name
from dfm_core.data.latents.latent_dataset import LatentDataset
from dfm_core.data.latents.latent_samples import LatentSamples
from dfm_core.data.latents.manifest import MANIFEST
from dfm_core.data.latents.prefetch import Prefetch, latent_batches
from dfm_core.data.latents.shard_cache import ShardCache
from dfm_core.data.latents.shard_order import ShardOrder
from orchestration.artifacts.samples.latents import open_latents
from orchestration.storage.store import Store

SHAPE = (16, 64, 64)
BUCKET = "benchmark"
LOCAL, REMOTE = "local folder", "S3"


@dataclass(frozen=True)
class Options:
    """The command line."""

    shards: int
    shard_samples: int
    batch: int
    epochs: int
    rounds: int
    steps: int
    step_milliseconds: float
    latency_milliseconds: float
    bandwidth_megabytes: float
    window: int


class Loader(Protocol):
    """One way to keep samples and read them."""

    name: str

    def write(self, folder: Path, options: Options) -> None: ...

    def local(self, folder: Path, scratch: Path, options: Options, epochs: int) -> Iterator[Tensor]:
        """Yield batches, each [B, 16, 64, 64] bf16."""

    def remote(self, prefix: str, endpoint: str, scratch: Path, options: Options) -> Iterator[Tensor]:
        """Yield one epoch from `prefix` in the bucket; `scratch` is empty."""


def access(endpoint: str) -> dict[str, str]:
    return {"key": "benchmark", "secret": "benchmark", "endpoint_url": endpoint}


def latents(options: Options) -> Iterator[Tensor]:
    """Yield the samples of each shard."""
    for number in range(options.shards):
        generator = torch.Generator().manual_seed(number)
        yield torch.randn(options.shard_samples, *SHAPE, generator=generator).to(torch.bfloat16)


def write_store(folder: Path, options: Options, kept: Callable[[Tensor], dict[str, Tensor]]) -> None:
    """Write the project's store: shards of latents, and the manifest."""
    cards = []
    for number, tensor in enumerate(latents(options)):
        path, labels = folder / shard_name(number, options.shards), torch.zeros(len(tensor), dtype=torch.int64)
        cards.append(encode_shard(path, number, kept(tensor), labels, num_classes=1))
    num = options.shards * options.shard_samples
    manifest = assemble(StoreIdentity("random", "none", False, ("none",), num), cards, options.shards)
    (folder / MANIFEST).write_bytes(manifest.document())


class LatentStore:
    """The loader of this project."""

    name = "latent store"

    def write(self, folder: Path, options: Options) -> None:
        write_store(folder, options, lambda latent: {"latent": latent})

    def local(self, folder: Path, scratch: Path, options: Options, epochs: int) -> Iterator[Tensor]:
        return self._batches(_opened(Store(str(folder.parent)), folder.name, scratch), options.shards, options, epochs)

    def remote(self, prefix: str, endpoint: str, scratch: Path, options: Options) -> Iterator[Tensor]:
        dataset = _opened(Store(f"s3://{BUCKET}", access(endpoint)), prefix, scratch)
        return self._batches(dataset, options.window, options, 1)

    def _batches(self, dataset: LatentDataset, window: int, options: Options, epochs: int) -> Iterator[Tensor]:
        order = ShardOrder(0, dataset.shard_samples, window)
        for batch in latent_batches(dataset, order, _ranges(len(dataset), options.batch, epochs), Prefetch()):
            yield batch.tensors["latent"]


def _opened(store: Store, directory: str, scratch: Path) -> LatentDataset:
    return open_latents(store, directory, ShardCache(scratch, 10**12))


def _ranges(num_samples: int, size: int, epochs: int) -> Iterator[range]:
    """Yield the batches of some epochs."""
    end = epochs * num_samples
    return (range(at, min(at + size, end)) for at in range(0, end, size))


class DrawnLatents(LatentStore):
    """This project's loader as a training uses it: mean and standard deviation of a posterior, and a draw of each."""

    name = "latent store, draws of posteriors"

    def write(self, folder: Path, options: Options) -> None:
        write_store(folder, options, lambda latent: {MEAN: latent, STD: latent.abs()})

    def _batches(self, dataset: LatentDataset, window: int, options: Options, epochs: int) -> Iterator[Tensor]:
        """Yield draws, each [B, 16, 64, 64] float32."""
        samples = LatentSamples(dataset, window)
        for drawn, _ in samples.batches(0, _ranges(len(dataset), options.batch, epochs)):
            yield drawn


class WebDataset:
    """Tar files read from front to back, through a buffer of 1,000 samples that shuffles."""

    def __init__(self, name: str, column: str) -> None:
        """column: "npy", which it decodes, or "bin", the bytes alone."""
        self.name, self._column = name, column

    def write(self, folder: Path, options: Options) -> None:
        import webdataset

        for number, tensor in enumerate(latents(options)):
            with webdataset.TarWriter(str(folder / f"{number:05d}.tar")) as tar:
                for row, sample in enumerate(tensor.view(torch.int16).numpy()):
                    content = sample.tobytes() if self._column == "bin" else sample
                    tar.write({"__key__": f"{number:05d}-{row:05d}", self._column: content, "cls": 0})

    def local(self, folder: Path, scratch: Path, options: Options, epochs: int) -> Iterator[Tensor]:  # noqa: ARG002
        urls = [str(path) for path in sorted(folder.glob("*.tar"))]
        for _ in range(epochs):
            yield from self._batches(urls, options)

    def remote(self, prefix: str, endpoint: str, scratch: Path, options: Options) -> Iterator[Tensor]:  # noqa: ARG002
        bucket = fsspec.filesystem("s3", **access(endpoint))
        urls = [bucket.sign(f"{BUCKET}/{prefix}/{number:05d}.tar") for number in range(options.shards)]
        return self._batches([f"pipe:curl -s '{url}'" for url in urls], options)

    def _batches(self, urls: list[str], options: Options) -> Iterator[Tensor]:
        import webdataset

        samples = webdataset.WebDataset(urls, shardshuffle=len(urls), seed=0).shuffle(1000)
        samples = samples.decode() if self._column == "npy" else samples
        yield from batched((sample[self._column] for sample in samples), options.batch)


class MosaicStreaming:
    """MDS shards and its own shuffle."""

    def __init__(self, name: str, encoding: str) -> None:
        """Args: encoding: MDS's name of an array's or of plain bytes' encoding."""
        self.name, self._encoding = name, encoding

    def write(self, folder: Path, options: Options) -> None:
        columns = {"latent": self._encoding, "label": "int"}
        size = options.shard_samples * 2 * int(np.prod(SHAPE))
        with _streaming().MDSWriter(out=str(folder), columns=columns, size_limit=size, progress_bar=False) as writer:
            for tensor in latents(options):
                for sample in tensor.view(torch.int16).numpy():
                    writer.write({"latent": sample.tobytes() if self._encoding == "bytes" else sample, "label": 0})

    def local(self, folder: Path, scratch: Path, options: Options, epochs: int) -> Iterator[Tensor]:  # noqa: ARG002
        dataset = self._open(None, folder, options)
        for _ in range(epochs):
            yield from batched((sample["latent"] for sample in dataset), options.batch)

    def remote(self, prefix: str, endpoint: str, scratch: Path, options: Options) -> Iterator[Tensor]:
        os.environ["S3_ENDPOINT_URL"] = endpoint
        dataset = self._open(f"s3://{BUCKET}/{prefix}", scratch / "mds", options)
        yield from batched((sample["latent"] for sample in dataset), options.batch)

    def _open(self, remote: str | None, local: Path, options: Options) -> Any:
        streaming = _streaming()
        streaming.base.util.clean_stale_shared_memory()
        return streaming.StreamingDataset(
            remote=remote, local=str(local), shuffle=True, batch_size=options.batch, num_canonical_nodes=1
        )


def _streaming() -> Any:
    """Import the package without its parts for images, which alone need torchvision."""
    sys.modules.setdefault("streaming.vision", types.ModuleType("streaming.vision"))
    import streaming

    return streaming


Sample = bytes | np.ndarray[Any, np.dtype[Any]]


def batched(samples: Iterator[Sample], size: int) -> Iterator[Tensor]:
    """Batch samples as they come; one copy, into the batch."""
    rows: list[Sample] = []
    for sample in samples:
        rows.append(sample)
        if len(rows) == size:
            yield _stacked(rows)
            rows = []
    if rows:
        yield _stacked(rows)


def _stacked(rows: list[Sample]) -> Tensor:
    out = np.empty((len(rows), *SHAPE), np.int16)
    for place, row in enumerate(rows):
        out[place] = np.frombuffer(row, np.int16).reshape(SHAPE) if isinstance(row, bytes) else row
    return torch.from_numpy(out).view(torch.bfloat16)


_MDS_ARRAY = f"ndarray:int16:{','.join(map(str, SHAPE))}"
LOADERS: dict[str, tuple[Loader, str]] = {
    loader.name: (loader, package)
    for loader, package in (
        (LatentStore(), "torch"),
        (DrawnLatents(), "torch"),
        (WebDataset("WebDataset", "npy"), "webdataset"),
        (WebDataset("WebDataset, bytes", "bin"), "webdataset"),
        (MosaicStreaming("MosaicML streaming", _MDS_ARRAY), "streaming"),
        (MosaicStreaming("MosaicML streaming, bytes", "bytes"), "streaming"),
    )
}
"""Loaders by name, each with the package that it needs."""


@dataclass(frozen=True)
class Timed:
    """One pass over the data."""

    first_seconds: float
    """Seconds from nothing to the first batch."""
    whole_seconds: float
    num_samples: int
    num_first: int
    """Samples in the first batch."""

    def samples_per_second(self, place: str) -> float:
        """Samples a second: from S3 over the whole pass, from a local folder after the first batch."""
        if place == REMOTE:
            return self.num_samples / self.whole_seconds
        return (self.num_samples - self.num_first) / (self.whole_seconds - self.first_seconds)


def timed(open_batches: Callable[[], Iterator[Tensor]]) -> Timed:
    began, first, counts = time.perf_counter(), 0.0, []
    for batch in open_batches():
        first = first or time.perf_counter() - began
        counts.append(len(batch))
    return Timed(first, time.perf_counter() - began, sum(counts), counts[0])


def waited(batches: Iterator[Tensor], steps: int, step_seconds: float) -> float:
    """Return the mean seconds that a step waits for its batch, after the first."""
    matrix, total, done = torch.randn(256, 256), 0.0, 0
    next(batches)
    for _ in range(steps):
        until = time.perf_counter() + step_seconds
        while time.perf_counter() < until:
            torch.mm(matrix, matrix)
        began = time.perf_counter()
        try:
            next(batches)
        except StopIteration:
            break
        total, done = total + time.perf_counter() - began, done + 1
    with suppress(AttributeError):
        batches.close()  # type: ignore[attr-defined]
    return total / max(done, 1)


Row = tuple[str, str, list[Timed], float]


def measure(options: Options, names: list[str]) -> list[Row]:
    """Return (place, loader, one pass a round, seconds waited a step); the loaders take turns."""
    with (
        tempfile.TemporaryDirectory(prefix="dfm-data-") as temporary,
        slow_s3(options.bandwidth_megabytes, options.latency_milliseconds) as endpoint,
        Progress(transient=True) as progress,
    ):
        root, passes = Path(temporary), {(place, name): list[Timed]() for place in (LOCAL, REMOTE) for name in names}
        folders = _prepare(root, endpoint, options, names)
        task = progress.add_task("Measuring", total=options.rounds * len(passes) + len(passes))

        def opened(place: str, name: str, epochs: int) -> Iterator[Tensor]:
            loader, scratch = LOADERS[name][0], root / f"scratch-{uuid.uuid4().hex}"
            scratch.mkdir()
            if place == LOCAL:
                return loader.local(folders[name], scratch, options, epochs)
            return loader.remote(folders[name].name, endpoint, scratch, options)

        for _ in range(options.rounds):
            for (place, name), found in passes.items():
                found.append(timed(lambda place=place, name=name: opened(place, name, options.epochs)))  # type: ignore[misc]
                progress.advance(task)
        rows = []
        for (place, name), found in passes.items():
            with closing(opened(place, name, 1)) as batches:  # type: ignore[type-var]
                rows.append((place, name, found, waited(batches, options.steps, options.step_milliseconds / 1e3)))
            progress.advance(task)
        return rows


def _prepare(root: Path, endpoint: str, options: Options, names: list[str]) -> dict[str, Path]:
    """Write every loader's files, and upload them. Returns: the folder of each."""
    bucket = fsspec.filesystem("s3", **access(endpoint))
    bucket.mkdir(BUCKET)
    folders = {}
    for number, name in enumerate(names):
        folders[name] = root / f"format-{number}"
        folders[name].mkdir()
        LOADERS[name][0].write(folders[name], options)
        bucket.put(f"{folders[name]}/", f"{BUCKET}/{folders[name].name}/", recursive=True)
    return folders


def show(options: Options, rows: list[Row], missing: list[str]) -> Table:
    """Make a table with one row for each place and loader."""
    table = Table(
        title=f"{options.shards} shards of {options.shard_samples} latents, 131 kB each, batches of {options.batch}, "
        f"{options.rounds} rounds; S3 with {options.latency_milliseconds:g} ms and {options.bandwidth_megabytes:g} "
        "MB/s a connection",
        caption="Medians. Samples a second: after the first batch from a folder, of all from S3. Store: how many times "
        f"that the latent store's rate is. Waited: by a step of {options.step_milliseconds:g} ms for its batch. Not "
        f"installed: {', '.join(missing) or 'nothing'}.",
    )
    for column in ("place", "loader", "samples/s", "store", "first batch s", "waited ms", "% of a step"):
        table.add_column(column, justify="left" if column in ("place", "loader") else "right")
    ours: dict[str, float] = {}
    for place, name, found, wait in rows:
        rate = statistics.median(one.samples_per_second(place) for one in found)
        ours.setdefault(place, rate)
        table.add_row(
            place,
            name,
            f"{rate:.0f}",
            f"{ours[place] / rate:.2f}",
            f"{statistics.median(one.first_seconds for one in found):.3f}",
            f"{1e3 * wait:.1f}",
            f"{100 * wait / (options.step_milliseconds / 1e3):.1f}",
        )
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--shards", type=int, default=8)
    parser.add_argument("--shard-samples", type=int, default=256, help="131 kB each")
    parser.add_argument("--batch", type=int, default=64, help="samples")
    parser.add_argument("--epochs", type=int, default=8, help="over the local folder, in one pass")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=12, help="of the training that is fed")
    parser.add_argument("--step-milliseconds", type=float, default=250.0, help="the quickstart's, by default")
    parser.add_argument("--latency-milliseconds", type=float, default=20.0, help="there and back, to S3")
    parser.add_argument("--bandwidth-megabytes", type=float, default=100.0, help="a second, of a connection to S3")
    parser.add_argument("--window", type=int, default=4, help="shards that are mixed when read from S3")
    parser.add_argument("--loaders", nargs="+", choices=LOADERS, default=list(LOADERS), metavar="NAME")
    given = vars(parser.parse_args())
    chosen = given.pop("loaders")
    options = Options(**given)
    logging.disable(logging.WARNING)
    os.environ |= {"AWS_ACCESS_KEY_ID": "benchmark", "AWS_SECRET_ACCESS_KEY": "benchmark"}
    os.environ.setdefault("AWS_EC2_METADATA_DISABLED", "true")
    torch.set_num_threads(1)
    missing = sorted({package for _, package in LOADERS.values() if importlib.util.find_spec(package) is None})
    names = [name for name, (_, package) in LOADERS.items() if name in chosen and package not in missing]
    Console(width=120).print(show(options, measure(options, names), missing))


if __name__ == "__main__":
    main()
