"""Time and memory of the Fréchet distance, beside scipy's `sqrtm` of the product, which pytorch-fid and clean-fid take.

    python benchmarks/frechet.py --dimensions 2048 --samples 4096 16384 --threads 1

The distance: both take turns in one process (A, B, A, B, ...), from the same sums. The statistics: a
stream of batches, measured as it comes or kept whole for `numpy.cov`, each in a process of its own for every number of
samples. Features are random and positive, of correlated dimensions.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import statistics
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import scipy.linalg
import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import Tensor

from dfm_core.metrics.scores.accumulator import Batch
from dfm_core.metrics.scores.frechet import frechet_distance
from dfm_core.metrics.scores.frechet_accumulator import FrechetAccumulator
from dfm_core.metrics.scores.moments import Moments
from dfm_core.seeding import normal

SQRTM = "scipy sqrtm of the product"
OURS = "Cholesky and symmetric eigenvalues"
KEPT = "features kept, numpy.cov"
STREAMED = "streamed"
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
Result = TypeVar("Result")


@dataclass(frozen=True)
class Options:
    """The command line."""

    dimensions: int
    samples: tuple[int, ...]
    batch: int
    threads: int
    rounds: int
    clock: str


@dataclass(frozen=True)
class Timed:
    """One contender's results of every round."""

    value: float
    seconds: tuple[float, ...]


@dataclass(frozen=True)
class Streamed:
    """Costs of one pass over a stream."""

    seconds: float
    peak_bytes: int | None
    """Resident memory above that before the first batch; None where there is no /proc."""


def batches(options: Options, num_samples: int, seed: int) -> Iterator[Batch]:
    """Draw features |z + (z shifted by one dimension) / 2|, [B, D] float32."""
    for begin in range(0, num_samples, options.batch):
        indices = range(begin, min(begin + options.batch, num_samples))
        z = normal(seed, "features", indices, (options.dimensions,))
        yield Batch(torch.tensor(indices), (z + z.roll(1, dims=1) / 2).abs())


def moments_of(options: Options, num_samples: int, seed: int) -> Moments:
    accumulator = FrechetAccumulator.empty(options.dimensions)
    for batch in batches(options, num_samples, seed):
        accumulator = accumulator.update(batch)
    return accumulator.moments


def distance_by_sqrtm(a: Moments, b: Moments) -> float:
    """Compute the distance by the usual formula, with the root of the non-symmetric product."""
    covariance_a, covariance_b = a.covariance, b.covariance
    root = scipy.linalg.sqrtm(covariance_a @ covariance_b).real
    difference = a.mean - b.mean
    return float(difference @ difference + np.trace(covariance_a) + np.trace(covariance_b) - 2 * np.trace(root))


def measure_distances(options: Options) -> dict[str, Timed]:
    """Measure both contenders in turn, on statistics of the largest number of samples."""
    torch.set_num_threads(options.threads)
    a, b = (moments_of(options, max(options.samples), seed) for seed in (0, 1))
    contenders = {SQRTM: distance_by_sqrtm, OURS: frechet_distance}
    clock = CLOCKS[options.clock]
    values: dict[str, float] = {}
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(options.rounds):
        for name, contender in contenders.items():
            started = clock()
            values[name] = contender(a, b)
            seconds[name].append(clock() - started)
    return {name: Timed(values[name], tuple(seconds[name])) for name in contenders}


def process_memory(key: str) -> int | None:
    """Return the bytes that Linux counts for this process: VmRSS now, VmHWM at most."""
    status = Path("/proc/self/status")
    if not status.exists():
        return None
    lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
    return int(lines[key].split()[0]) * 1024


def measure_statistics(name: str, num_samples: int, options: Options) -> Streamed:
    """Measure mean and covariance of one stream; run in a process of its own."""
    torch.set_num_threads(options.threads)
    clock = CLOCKS[options.clock]
    before, started = process_memory("VmRSS"), clock()
    if name == STREAMED:
        _ = moments_of(options, num_samples, 0).covariance
    else:
        kept: list[Tensor] = [batch.features for batch in batches(options, num_samples, 0)]
        features = torch.cat(kept).numpy()
        _ = features.mean(axis=0), np.cov(features, rowvar=False)
    seconds, peak = clock() - started, process_memory("VmHWM")
    return Streamed(seconds, None if before is None or peak is None else peak - before)


def in_new_process(options: Options, function: Callable[..., Result], *arguments: object) -> Result:
    """Run a function in a new process: linear algebra libraries read their number of threads when they are loaded."""
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, str(options.threads)))
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
        return process.submit(function, *arguments).result()


def show_distances(options: Options, taken: dict[str, Timed]) -> Table:
    peer = taken[SQRTM]
    table = Table(
        title=f"distance, {options.dimensions}-d, {options.threads} thread(s), {options.rounds} rounds in turn",
        caption=f"Seconds: median, {options.clock} time. Times faster: median over the rounds of the ratio.",
    )
    table.add_column("")
    for title in ("seconds", "times faster", "value", "difference"):
        table.add_column(title, justify="right")
    for name, timed in taken.items():
        ratio = statistics.median(slow / fast for slow, fast in zip(peer.seconds, timed.seconds, strict=True))
        difference = abs(timed.value - peer.value)
        cells = (f"{statistics.median(timed.seconds):.3f}", f"{ratio:.1f}", f"{timed.value:.8f}", f"{difference:.1e}")
        table.add_row(name, *cells)
    return table


def show_statistics(options: Options, taken: dict[tuple[str, int], Streamed]) -> Table:
    table = Table(
        title=f"mean and covariance of a stream, {options.dimensions}-d, batches of {options.batch}",
        caption="Memory: resident at most, above what the process held before the first batch. "
        "Seconds include making the features.",
    )
    table.add_column("")
    for title in ("samples", "seconds", "peak MiB"):
        table.add_column(title, justify="right")
    for (name, num_samples), streamed in taken.items():
        peak = "-" if streamed.peak_bytes is None else f"{streamed.peak_bytes / 2**20:.0f}"
        table.add_row(name, str(num_samples), f"{streamed.seconds:.2f}", peak)
    return table


def parse(arguments: list[str] | None = None) -> Options:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--dimensions", type=int, default=2048)
    parser.add_argument("--samples", type=int, nargs="+", default=[4096, 16384], help="more than dimensions")
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--clock", choices=CLOCKS, default="wall", help="cpu: for one thread on a busy machine")
    options = parser.parse_args(arguments)
    if min(options.samples) <= options.dimensions:
        parser.error(f"--samples {min(options.samples)}: covariances of {options.dimensions} dimensions need more")
    if options.clock == "cpu" and options.threads > 1:
        parser.error("--clock cpu counts the time of all threads: use it with one")
    if options.rounds < 1:
        parser.error(f"--rounds {options.rounds} is not positive")
    return Options(**{**vars(options), "samples": tuple(options.samples)})


def main() -> None:
    options = parse()
    distances = in_new_process(options, measure_distances, options)
    passes = {
        (name, num_samples): in_new_process(options, measure_statistics, name, num_samples, options)
        for name, num_samples in track(
            [(name, num_samples) for name in (KEPT, STREAMED) for num_samples in options.samples],
            "statistics",
            transient=True,
        )
    }
    console = Console(width=120)
    console.print(show_distances(options, distances))
    console.print(show_statistics(options, passes))


if __name__ == "__main__":
    main()
