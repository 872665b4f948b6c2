"""Metrics that are the mean of one number per sample: CLIPSIM and label accuracy (numerics 10.5)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from dfm_core.metrics.scores.accumulator import Batch, Score, ScoreError, Sums
from dfm_core.metrics.scores.jackknife import Groups, jackknife
from dfm_core.metrics.scores.wilson import share_error

MeanScoreName = Literal["clip_similarity", "label_accuracy"]


@dataclass(frozen=True)
class MeanScoreAccumulator(Sums):
    """Count, sum and sum of squares of the samples' scores, and sums of parts of the samples for their error."""

    name: MeanScoreName
    groups: Groups
    count: int
    total: Tensor
    """float64 scalar."""
    group_totals: Tensor
    """[G] float64."""
    stratum_totals: Tensor
    """[strata] float64, as is the next."""
    stratum_squares: Tensor

    @classmethod
    def empty(cls, name: MeanScoreName, groups: Groups, device: torch.device | str = "cpu") -> MeanScoreAccumulator:
        """Args: groups: of all samples to come."""
        zero, strata, by_group = (
            torch.zeros(shape, dtype=torch.float64, device=device)
            for shape in ((), groups.num_strata, groups.num_groups)
        )
        return cls(name, groups, 0, zero, by_group, strata, strata)

    def update(self, batch: Batch) -> MeanScoreAccumulator:
        scores = SAMPLE_SCORES[self.name](batch).to(self.total)
        indices = batch.indices.to(scores.device)
        # Products rather than indexed sums, whose order a GPU does not promise.
        group = one_hot(self.groups.of_samples(indices), self.groups.num_groups).to(scores)
        stratum = one_hot(indices % self.groups.num_strata, self.groups.num_strata).to(scores)
        return replace(
            self,
            count=self.count + len(scores),
            total=self.total + scores.sum(),
            group_totals=self.group_totals + scores @ group,
            stratum_totals=self.stratum_totals + scores @ stratum,
            stratum_squares=self.stratum_squares + scores**2 @ stratum,
        )

    def compute(self, _reference: None = None, /) -> dict[str, Score]:
        """Return the mean with its error, from two samples on. There is no reference set."""
        if self.count == 0:
            raise ValueError(f"{self.name}: no samples came")
        mean = float(self.total) / self.count
        return {self.name: Score(mean, error=self._error(mean) if self.count > 1 else None)}

    def _error(self, mean: float) -> ScoreError:
        """The variance is that within labels if these come in turn; a share's never is 0."""
        assert self.count == self.groups.num_samples, f"{self.name}: {self.count} of {self.groups.num_samples} came"
        sizes = self.groups.sizes.to(self.total)
        without = (self.total - self.group_totals) / (self.count - sizes)
        influences, variance = jackknife(mean, without, sizes).influences.to(self.total), self._variance
        # The variance over groups is the same, but less precise; a deviation that they happen not to show is apart.
        influences *= min(2.0, math.sqrt(variance) / max(float(influences.norm()), 1e-300))
        apart = math.sqrt(max(0.0, variance - float((influences**2).sum())))
        if self.name != "label_accuracy":
            return ScoreError("variance within labels", str(self.groups), tuple(influences.tolist()), apart)
        of_all = (self.count - 1) / self.count  # Wilson's variance is p (1 - p) / N
        share = share_error(mean, variance * of_all, self.count)
        shrinkage = share.shrinkage * math.sqrt(of_all)
        return ScoreError(
            "Wilson",
            str(self.groups),
            tuple((shrinkage * influences).tolist()),
            math.hypot(share.apart, shrinkage * apart),
            interval=share.interval,
        )

    @property
    def _variance(self) -> float:
        """Variance of the mean: of each stratum that of its scores, weighed by its samples."""
        strata = self.groups.num_strata
        sizes = (self.count + strata - 1 - torch.arange(strata).to(self.total)).div(strata, rounding_mode="floor")
        within = (self.stratum_squares - self.stratum_totals**2 / sizes).clamp(min=0) / (sizes - 1)
        return float((sizes * within).sum()) / self.count**2


def cosines(batch: Batch) -> Tensor:
    """Cosine of the angle between image and text features of each sample, in [-1, 1], [B] float64; not times 100.

    A video, `features` [B, frames, D], has the mean over its frames, so that its frames don't count as independent.
    Raises: ValueError for features of length 0, whose direction is undefined.
    """
    assert batch.targets is not None, "CLIPSIM needs text features as targets"
    images, texts = (values / _lengths(values) for values in (batch.features.double(), batch.targets.double()))
    if images.dim() == 3:
        images = images.mean(dim=1)
    return (images * texts.to(images.device)).sum(dim=1)


def hits(batch: Batch) -> Tensor:
    """1 where the largest of a sample's scores per class, `features` [B, K], is that of its target, [B] float64."""
    assert batch.targets is not None, "label accuracy needs classes as targets"
    return (batch.features.argmax(dim=1) == batch.targets.to(batch.features.device)).double()


SAMPLE_SCORES: dict[MeanScoreName, Callable[[Batch], Tensor]] = {"clip_similarity": cosines, "label_accuracy": hits}


def _lengths(values: Tensor) -> Tensor:
    lengths: Tensor = torch.linalg.vector_norm(values, dim=-1, keepdim=True)
    if bool((lengths == 0).any()):
        raise ValueError(f"{int((lengths == 0).sum())} feature vectors have length 0 and no direction")
    return lengths
