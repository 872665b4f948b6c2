"""Errors of scores by their finite samples, from the features of all samples (numerics 10.6).

A mean over samples has its error from its accumulator. The number of parts that the samples are cut into is
`evaluation.bootstrap_replicates`. The reference is held: a score is that of these samples against this reference.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from torch import Tensor

from dfm_core.catalog.metrics import StatisticName
from dfm_core.metrics.registry import Sizes
from dfm_core.metrics.scores.accumulator import Score, ScoreError
from dfm_core.metrics.scores.frechet import weighted_frechet_distances
from dfm_core.metrics.scores.half_samples import HalfSamples
from dfm_core.metrics.scores.inception_score import weighted_inception_scores
from dfm_core.metrics.scores.jackknife import jackknife_of_pairs
from dfm_core.metrics.scores.kernel_distance import weighted_mmd2
from dfm_core.metrics.scores.neighbours import neighbour_scores
from dfm_core.metrics.scores.wilson import share_error

JACKKNIFE, HALVES = "group jackknife", "half samples"
_FALLS_WITH_SAMPLES = frozenset({"precision", "density"})
"""Scores of neighbours that are means over samples."""
_AGREE = "every part of the samples gives this number, so its standard error is not known"

Scores = Mapping[str, Score]
Errors = dict[str, ScoreError]


def with_errors(statistic: StatisticName, scores: Scores, features: Tensor, reference: Any, sizes: Sizes) -> Scores:
    """Return the scores with their errors, and a note where one cannot be known.

    Args: scores: of all samples. features: by index, [N, D] or [N, frames, D]. reference: as of `compute`.
    """
    errors = ERRORS[statistic](scores, features, reference, sizes)
    return {name: _with_error(score, errors.get(name)) for name, score in scores.items()}


def _with_error(score: Score, error: ScoreError | None) -> Score:
    if error is None:
        return replace(score, notes=(*score.notes, "too few samples for a standard error"))
    if error.standard_error == 0.0:
        return replace(score, notes=(*score.notes, _AGREE))
    return replace(score, error=error)


def _of_frechet_distance(_: Scores, features: Tensor, reference: Any, sizes: Sizes) -> Errors:
    def distances(counts: Tensor) -> Tensor:
        return weighted_frechet_distances(features.flatten(0, -2), reference, counts)

    error = _jackknifed(distances, features, sizes)
    num_rows, width = features.flatten(0, -2).shape
    # The bias of a covariance without full rank does not fall as 1 / N.
    return {"frechet_distance": error if num_rows > width else replace(error, bias=None)}


def _of_inception_score(_: Scores, features: Tensor, _reference: Any, sizes: Sizes) -> Errors:
    def scores(counts: Tensor) -> Tensor:
        return weighted_inception_scores(features, sizes.splits, counts)

    return {"inception_score": _jackknifed(scores, features, sizes)}


def _of_kernel_distance(scores: Scores, features: Tensor, reference: Any, sizes: Sizes) -> Errors:
    """The value is a mean over random subsets, which add a spread of their own."""
    error = _jackknifed(lambda counts: weighted_mmd2(features, reference, counts), features, sizes)
    apart = (scores["kernel_distance"].spread or 0.0) / sizes.evaluation.kernel_subsets**0.5
    return {"kernel_distance": replace(error, apart=apart, bias=None)}


def _of_neighbours(scores: Scores, features: Tensor, reference: Any, sizes: Sizes) -> Errors:
    """Radii are those among the samples that are there. A share's error is never 0, as Wilson's."""
    rows, num_neighbours = features.flatten(0, -2), sizes.evaluation.num_neighbours
    frames = len(rows) // len(features)
    halves = HalfSamples(len(features), sizes.evaluation.bootstrap_replicates // 2, sizes.groups.num_strata)
    if len(features) // 4 * frames <= num_neighbours:
        return {}
    counts = halves.counts().repeat_interleave(frames, dim=0)
    errors = {}
    for name, values in neighbour_scores(rows, reference, num_neighbours, counts).items():
        influences = halves.influences(values.cpu(), falls_with_samples=name in _FALLS_WITH_SAMPLES)
        errors[name] = ScoreError(HALVES, str(halves), tuple(influences.tolist()))
        if name != "density":
            share = share_error(scores[name].value, float((influences**2).sum()), len(features))
            shrunk = tuple((share.shrinkage * influences).tolist())
            errors[name] = replace(errors[name], influences=shrunk, apart=share.apart, interval=share.interval)
    return errors


def _jackknifed(estimate: Callable[[Tensor], Tensor], features: Tensor, sizes: Sizes) -> ScoreError:
    """Args: estimate: function of counts, [rows, R], to values, [R]."""
    groups = sizes.groups
    frames = features.shape[1] if features.dim() == 3 else 1
    found = jackknife_of_pairs(estimate(groups.counts(frames)), groups.sizes)
    return ScoreError(JACKKNIFE, str(groups), tuple(found.influences.tolist()), bias=found.bias)


ERRORS: dict[StatisticName, Callable[[Scores, Tensor, Any, Sizes], Errors]] = {
    "frechet_distance": _of_frechet_distance,
    "inception_score": _of_inception_score,
    "kernel_distance": _of_kernel_distance,
    "neighbours": _of_neighbours,
}
"""Errors by name of the score; statistics that are not here are means over samples."""
