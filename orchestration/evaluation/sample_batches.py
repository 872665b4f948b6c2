"""Samples of a group, batch by batch: real images, or those of all points of a family, sampled together."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dfm_core.config import EvaluationConfig
from dfm_core.config.dataset_card import card_of
from dfm_core.data.pixels import unsound_samples
from dfm_core.fitting_batches import halved
from dfm_core.flow.step_tree import StepTree
from dfm_core.paradigms import build_paradigm
from dfm_core.paradigms.shared_steps import SharedSteps
from dfm_core.seeding import sample_generator
from orchestration.artifacts.features import Group
from orchestration.artifacts.real_images import RealSamples
from orchestration.artifacts.snapshot_loader import SnapshotLoader
from orchestration.tasks.task import EvaluateTask


@dataclass(frozen=True)
class SampleBatch:
    """A batch of samples of one point."""

    point: int
    """Position of the point's task."""
    indices: range
    labels: Tensor
    """Classes, [B] int64."""
    pixels: Tensor | None
    """[B, C, H, W] or [B, C, T, H, W] uint8, on the CPU; None if some samples hold NaN or infinite values."""
    unsound: tuple[int, ...] = ()
    """Indices of these samples."""
    network_evaluations: int = 0
    """Evaluations per image since the last batch; guidance counts twice."""


def real_samples(real: RealSamples, group: Group, batch_size: int) -> Iterator[SampleBatch]:
    """Yield the real images or videos of a split."""
    for indices in batches(group, batch_size):
        pixels, labels = real.read(indices)
        yield SampleBatch(0, indices, labels, pixels)


def generated_samples(
    tasks: Sequence[EvaluateTask],
    group: Group,
    batch_size: int,
    snapshots: SnapshotLoader,
    device: torch.device,
    decode: Callable[[Tensor], Tensor],
) -> Iterator[SampleBatch]:
    """Yield the samples of all points of a family: one snapshot, seed and choice of labels, several sampling settings.

    Args: decode: turns a model's output, finite values, into 8-bit pixels.
    """
    config = tasks[0].config
    sampler = snapshots.load(tasks[0].snapshots, config.sampling.weights)
    paradigm = build_paradigm(config, sampler.decomposition, sampler.scale_std)
    num_classes = card_of(config.data).num_classes
    tree = StepTree.of(config, [task.config.sampling for task in tasks])

    def sampled_at_once(indices: range) -> Iterator[SampleBatch]:
        labels, shared, num_before = sample_labels(config.evaluation, indices, num_classes), SharedSteps(tree), 0
        seed = config.evaluation.seed
        for point, sampled in paradigm.sample_points(sampler.model, labels.to(device), indices, seed, shared):
            evaluations, num_before = shared.num_evaluations - num_before, shared.num_evaluations
            unsound = tuple(indices[position] for position in unsound_samples(sampled.images))
            pixels = None if unsound else decode(sampled.images).cpu()
            yield SampleBatch(point, indices, labels, pixels, unsound, evaluations)

    return fitting_samples(sampled_at_once, group, batch_size)


def fitting_samples(
    sampled_at_once: Callable[[range], Iterator[SampleBatch]], group: Group, batch_size: int
) -> Iterator[SampleBatch]:
    """Yield the batches of a group; where memory runs out, those of halves, for the points that are left.

    Raises: torch.OutOfMemoryError if one sample does not fit.
    """
    waiting = deque((indices, frozenset[int]()) for indices in batches(group, batch_size))
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


def batches(group: Group, batch_size: int) -> Iterator[range]:
    """Return a group's sample indices, some at a time."""
    return (range(begin, min(begin + batch_size, group.end)) for begin in range(group.begin, group.end, batch_size))


def sample_labels(evaluation: EvaluationConfig, indices: Sequence[int], num_classes: int) -> Tensor:
    """Return the class of each generated image, a function of its index alone, [B] int64."""
    if evaluation.label_sampling == "balanced":
        return torch.tensor([index % num_classes for index in indices])
    draws = [sample_generator(evaluation.seed, "sample_label", index).integers(num_classes) for index in indices]
    return torch.tensor([int(draw) for draw in draws])
