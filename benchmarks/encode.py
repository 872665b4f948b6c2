"""Images a second into latents: reading and decoding beside the accelerator, by our threads and by Ray Data.

    python benchmarks/encode.py --images 400 --side 256 --batch 32 --encode-milliseconds 5 --cpus 2

JPEGs of twice the side are read, decoded, cropped and "encoded": the stand-in for an accelerator takes so many
milliseconds an image, and no CPU. `alternating` decodes a batch, then encodes it; `ahead` is what an evaluator does.
Ray Data decodes by tasks on the CPUs and encodes on an actor without one. All take turns in every round; Ray's start
and every way's first round are not counted.
"""

from __future__ import annotations

import argparse
import io
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import ray
import torch
from PIL import Image
from rich.console import Console
from rich.table import Table

from dfm_core.autoencoders.base import Posterior
from dfm_core.autoencoders.pixels import Pixels
from dfm_core.data.encoding.encode import EncodingSpec, encode_units
from dfm_core.data.encoding.square_pixels import image_square
from dfm_core.data.files.class_folders import open_class_folders
from dfm_core.data.files.image_files import EXTENSIONS
from dfm_core.data.files.raw_samples import DataFile, Listing, RawDataset


@dataclass(frozen=True)
class Options:
    """The command line."""

    images: int
    side: int
    batch: int
    encode_milliseconds: float
    cpus: int
    rounds: int


class Folder:
    """The images of a local folder: `DataFiles`."""

    def __init__(self, root: Path) -> None:
        self.root, self.place = root, str(root)

    def listing(self) -> Listing:
        paths = sorted(self.root.glob("*/*.jpg"))
        return Listing(tuple(DataFile(f"{path.parent.name}/{path.name}", path.stat().st_size) for path in paths), ())

    @contextmanager
    def opened(self, file: DataFile) -> Iterator[BinaryIO]:
        with (self.root / file.name).open("rb") as opened:
            yield opened


class Accelerator(Pixels):
    """Takes a time for each image that the CPUs can use."""

    def __init__(self, milliseconds: float) -> None:
        self._seconds = milliseconds / 1000

    def encode(self, pixels: torch.Tensor) -> Posterior:
        time.sleep(len(pixels) * self._seconds)
        return super().encode(pixels)


def alternating(dataset: RawDataset, options: Options) -> int:
    accelerator, count = Accelerator(options.encode_milliseconds), 0
    for begin in range(0, len(dataset.units), options.batch):
        squares = [
            image_square(sample.content, options.side)
            for unit in dataset.units[begin : begin + options.batch]
            for sample in dataset.samples(unit)
        ]
        count += len(accelerator.encode(torch.stack(squares).float() / 127.5 - 1.0).stored()["mean"])
    return count


def ahead(dataset: RawDataset, options: Options) -> int:
    encoded = encode_units(
        dataset,
        dataset.units,
        Accelerator(options.encode_milliseconds),
        EncodingSpec(options.side),
        batch_samples=options.batch,
        device=torch.device("cpu"),
        num_threads=options.cpus,
    )
    return len(encoded.labels)


class _Encoder:
    def __init__(self, milliseconds: float) -> None:
        self._accelerator = Accelerator(milliseconds)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        pixels = torch.from_numpy(np.stack(batch["pixels"]))
        return {"mean": self._accelerator.encode(pixels.float() / 127.5 - 1.0).stored()["mean"].numpy()}


def ray_data(dataset: RawDataset, options: Options) -> int:
    root, side = dataset.files.place, options.side  # type: ignore[attr-defined]  # of `SingleFiles`

    def decode(row: dict[str, Any]) -> dict[str, Any]:
        return {"pixels": image_square(Path(root, row["item"]).read_bytes(), side).numpy()}

    encoded = (
        ray.data.from_items([unit.name for unit in dataset.units], override_num_blocks=4 * options.cpus)
        .map(decode)
        .map_batches(
            _Encoder,
            fn_constructor_args=(options.encode_milliseconds,),
            batch_size=options.batch,
            concurrency=1,
            num_cpus=0,
        )
    )
    return sum(len(batch["mean"]) for batch in encoded.iter_batches(batch_size=options.batch))


WAYS: dict[str, Callable[[RawDataset, Options], int]] = {
    "alternating": alternating,
    "ahead": ahead,
    "Ray Data": ray_data,
}


def measure(options: Options) -> dict[str, list[float]]:
    """Return the images a second of each way in each round."""
    speeds: dict[str, list[float]] = {name: [] for name in WAYS}
    with tempfile.TemporaryDirectory() as folder:
        _write(Path(folder), options)
        dataset = open_class_folders(Folder(Path(folder)), EXTENSIONS)
        for number in range(options.rounds + 1):
            for name, way in WAYS.items():
                began = time.perf_counter()
                count = way(dataset, options)
                assert count == options.images, f"{name} lost samples"
                if number:
                    speeds[name].append(count / (time.perf_counter() - began))
    return speeds


def _write(folder: Path, options: Options) -> None:
    generator = np.random.default_rng(0)
    small = generator.integers(0, 256, (options.images, 24, 24, 3), dtype=np.uint8)
    (folder / "all").mkdir()
    for number, pixels in enumerate(small):
        buffer = io.BytesIO()
        side = 2 * options.side
        Image.fromarray(pixels).resize((side, side), Image.Resampling.BICUBIC).save(buffer, "JPEG", quality=92)
        (folder / "all" / f"{number:06d}.jpg").write_bytes(buffer.getvalue())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, default in (("images", 400), ("side", 256), ("batch", 32), ("cpus", 2), ("rounds", 5)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--encode-milliseconds", type=float, default=5.0, help="an image")
    options = Options(**vars(parser.parse_args()))
    torch.set_num_threads(1)
    ray.init(
        address="local", num_cpus=options.cpus, log_to_driver=False, logging_level="ERROR", include_dashboard=False
    )
    ray.data.DataContext.get_current().enable_progress_bars = False
    try:
        speeds = measure(options)
    finally:
        ray.shutdown()
    table = Table("way", "images/s, median", "least", "most")
    for name, found in speeds.items():
        table.add_row(name, *(f"{value:.0f}" for value in (statistics.median(found), min(found), max(found))))
    table.add_row("the accelerator alone", f"{1000 / options.encode_milliseconds:.0f}")
    Console().print(table)


if __name__ == "__main__":
    main()
