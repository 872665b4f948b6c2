"""Samples of a group, batch by batch: real images, or those of all points of a family, sampled together."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from dfm_core.data.pixels import unsound_samples
from dfm_core.fitting_batches import halved
from dfm_core.flow.step_tree import StepTree
from dfm_core.paradigms import build_paradigm
from dfm_core.paradigms.shared_steps import SharedSteps
from orchestration.artifacts.samples.features import Group
from orchestration.artifacts.samples.real_images import RealSamples
from orchestration.artifacts.snapshot_loader import SnapshotLoader
from orchestration.evaluation.sample_conditions import SampleConditions
from orchestration.tasks.task import EvaluateTask


@dataclass(frozen=True)
class SampleBatch:
    """A batch of samples of one point."""

    point: int
    """Position of the point's task."""
    indices: range
    labels: Tensor
    """Classes, or numbers of captions, [B] int64."""
    pixels: Tensor | None
    """[B, C, H, W] or [B, C, T, H, W] uint8, on the CPU; None if some samples hold NaN or infinite values."""
    unsound: tuple[int, ...] = ()
    """Indices of these samples."""
    network_evaluations: int = 0
    """Evaluations per image since the last batch; guidance counts twice."""


def real_samples(real: RealSamples, group: Group, batch_size: int) -> Iterator[SampleBatch]:
    """Yield the real images or videos of a split."""
    for indices in batches(group, batch_size, real.borders):
        pixels, labels = real.read(indices)
        yield SampleBatch(0, indices, labels, pixels)


def generated_samples(
    tasks: Sequence[EvaluateTask],
    group: Group,
    batch_size: int,
    snapshots: SnapshotLoader,
    device: torch.device,
    decode: Callable[[Tensor], Tensor],
    conditions: SampleConditions,
) -> Iterator[SampleBatch]:
    """Yield the samples of all points of a family: one snapshot, seed and choice of labels, several sampling settings.

    Args: decode: turns a model's output, finite values, into 8-bit pixels.
    """
    config = tasks[0].config
    sampler = snapshots.load(tasks[0].snapshots, config.sampling.weights)
    paradigm = build_paradigm(config, sampler.decomposition, sampler.scale_std)
    tree = StepTree.of(config, [task.config.sampling for task in tasks])

    def sampled_at_once(indices: range) -> Iterator[SampleBatch]:
        labels, shared, num_before = conditions.labels(indices), SharedSteps(tree), 0
        seed, network = config.evaluation.seed, conditions.network(sampler.model, indices)
        for point, sampled in paradigm.sample_points(network, labels.to(device), indices, seed, shared):
            evaluations, num_before = shared.num_evaluations - num_before, shared.num_evaluations
            unsound = tuple(indices[position] for position in unsound_samples(sampled.images))
            pixels = None if unsound else decode(sampled.images).cpu()
            yield SampleBatch(point, indices, labels, pixels, unsound, evaluations)

    return fitting_samples(sampled_at_once, group, batch_size, conditions.borders)


def fitting_samples(
    sampled_at_once: Callable[[range], Iterator[SampleBatch]],
    group: Group,
    batch_size: int,
    borders: Sequence[int] = (),
) -> Iterator[SampleBatch]:
    """Yield the batches of a group; where memory runs out, those of halves, for the points that are left.

    Raises: torch.OutOfMemoryError if one sample does not fit.
    """
    waiting = deque((indices, frozenset[int]()) for indices in batches(group, batch_size, borders))
    while waiting:
        indices, done = waiting.popleft()
        ran_out = False
        try:
            for batch in sampled_at_once(indices):
                if batch.point not in done:
                    yield batch
                    done |= {batch.point}
        except torch.OutOfMemoryError:
            if len(indices) == 1:
                raise
            ran_out = True
        if ran_out:
            size = halved("sampling", len(indices))
            waiting.extendleft([(indices[size:], done), (indices[:size], done)])


def batches(group: Group, batch_size: int, borders: Sequence[int] = ()) -> Iterator[range]:
    """Yield a group's sample indices, some at a time.

    Args: borders: indices at which no batch goes on.
    """
    inside = [border for border in borders if group.begin < border < group.end]
    for first, last in pairwise((group.begin, *inside, group.end)):
        yield from (range(begin, min(begin + batch_size, last)) for begin in range(first, last, batch_size))
