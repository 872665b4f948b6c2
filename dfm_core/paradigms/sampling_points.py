"""Sampling one batch at several settings, with the steps that they share made once (numerics 4.4)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from torch import Tensor

from dfm_core.paradigms.base import SampleResult, VelocityPredictor
from dfm_core.paradigms.sampling import Paradigm
from dfm_core.paradigms.shared_steps import SharedSteps


def sample_points(
    paradigm: Paradigm,
    model: VelocityPredictor,
    labels: Tensor,
    indices: Sequence[int],
    seed: int,
    shared: SharedSteps,
) -> Iterator[tuple[int, SampleResult]]:
    """Yield images of one batch at every sampling of a tree, bit for bit those of `paradigm.sample` at each alone.

        tree = StepTree.of(config, samplings)  # once; every batch has a SharedSteps of its own
        shared = SharedSteps(tree)
        for point, result in sample_points(paradigm, model, labels, indices, seed, shared):
            ...  # of samplings[point]
        shared.num_calls, shared.num_evaluations  # what was really made

    Args: labels: [B] int64. indices: global sample index of each image, which keys its noise. seed: of the noise.
        shared: new, of the tree of the paradigm's config and the samplings.
    Yields: (index of the sampling, its images), in the order of the tree. A point is sampled only when it is asked for,
        so the images of the one before may be dropped by then.
    Raises: AssertionError if `shared` has served another batch.
    """
    for point in shared.points():
        yield point.index, paradigm.sample(model, labels, indices, seed, point.sampling, shared=point)
