"""Batches that have to divide over workers and micro-batches."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator

from orchestration.common.errors import Problem
from orchestration.config.workers import WorkersConfig
from orchestration.spec.compose import ComposedFile

_BATCH, _WORKERS = "training.batch_size", "workers.num_workers"


def batch_problems(composed: ComposedFile, workers: WorkersConfig, batch_sizes: Collection[int]) -> Iterator[Problem]:
    """Yield the batches that do not divide evenly, at the key that was given last: a site's workers are the site's."""
    num_workers, micro = workers.num_workers, workers.micro_batch_size
    uneven = sorted(batch for batch in {*batch_sizes} if batch % num_workers)
    if uneven and composed.locates(_WORKERS) and composed.layer_of(_WORKERS) >= composed.layer_of(_BATCH):
        message = f"{num_workers} does not divide {_BATCH} {', '.join(map(str, uneven))}"
        yield Problem(composed.locate(_WORKERS), f"{message}: e.g. {_nearest_divisor(num_workers, batch_sizes)}")
    elif uneven:
        message = "; ".join(f"{batch} is not divisible by {_WORKERS} = {num_workers}" for batch in uneven)
        yield Problem(composed.locate(_BATCH), message)
    shares = [batch // num_workers for batch in sorted({*batch_sizes} - {*uneven})]
    if micro and (wrong := [share for share in shares if share % micro]):
        message = "; ".join(f"{micro} does not divide {share}, a worker's share of the batch" for share in wrong)
        yield Problem(composed.locate("workers.micro_batch_size"), message)


def _nearest_divisor(number: int, batch_sizes: Collection[int]) -> int:
    """Return the divisor of all batches that is nearest to a number, of two the greater."""
    common = math.gcd(*batch_sizes)
    return min((one for one in range(1, common + 1) if common % one == 0), key=lambda one: (abs(one - number), -one))
