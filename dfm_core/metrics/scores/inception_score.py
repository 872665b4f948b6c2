"""The inception score of a stream of logits (numerics 10.2)."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from dfm_core.metrics.scores.accumulator import Batch, Score, Sums


@dataclass(frozen=True)
class InceptionScoreAccumulator(Sums):
    """Sums of each split of consecutive samples. A sample's index tells its split: any order of arrival will do."""

    bounds: tuple[int, ...]
    """First index of every split, and the number of samples after the last."""
    counts: Tensor
    """Samples seen of each split, [splits] int64."""
    probabilities: Tensor
    """Sum of p(y|x), [splits, K] float64."""
    negative_entropy: Tensor
    """Sum over samples and classes of p(y|x) log p(y|x), [splits] float64."""

    @classmethod
    def empty(
        cls, bounds: tuple[int, ...], num_classes: int, device: torch.device | str = "cpu"
    ) -> InceptionScoreAccumulator:
        """Args: bounds: of `equal_splits`."""
        num_splits = len(bounds) - 1
        return cls(
            bounds,
            torch.zeros(num_splits, dtype=torch.int64, device=device),
            torch.zeros(num_splits, num_classes, dtype=torch.float64, device=device),
            torch.zeros(num_splits, dtype=torch.float64, device=device),
        )

    @property
    def count(self) -> int:
        return int(self.counts.sum())

    def update(self, batch: Batch) -> InceptionScoreAccumulator:
        """Args: batch: `features` are logits, [B, K]. Raises: ValueError for an index that no split has."""
        assert batch.features.dim() == 2, f"logits are [B, K], got {list(batch.features.shape)}"
        log_p = batch.features.to(self.probabilities).log_softmax(dim=1)
        # A product rather than an indexed sum, whose order a GPU does not promise.
        member = split_membership(self.bounds, batch.indices.to(self.counts.device)).to(self.probabilities)
        return InceptionScoreAccumulator(
            self.bounds,
            self.counts + member.sum(dim=1).to(torch.int64),
            self.probabilities + member @ log_p.exp(),
            self.negative_entropy + member @ (log_p.exp() * log_p).sum(dim=1),
        )

    def compute(self, _reference: None = None, /) -> dict[str, Score]:
        """Mean over the splits, and as `spread` their population standard deviation. There is no reference set."""
        for split, seen in enumerate(self.counts.tolist()):
            begin, end = self.bounds[split : split + 2]
            if seen != end - begin:
                raise ValueError(f"inception score: split {split} has {end - begin} samples, {seen} came")
        scores = _scores(self.counts.to(self.probabilities), self.probabilities, self.negative_entropy)
        spread, fewest, classes = float(scores.std(correction=0)), int(self.counts.min()), self.probabilities.shape[1]
        few = f"splits of {fewest} samples for {classes} classes: no score of theirs can exceed {fewest}"
        return {"inception_score": Score(float(scores.mean()), (few,) if fewest < classes else (), spread)}


def equal_splits(num_samples: int, num_splits: int = 10) -> tuple[int, ...]:
    """Bounds of splits that differ by one sample at most (torch-fidelity, dgm-eval).

    Raises: ValueError if a split would be empty.
    """
    if not 1 <= num_splits <= num_samples:
        raise ValueError(f"{num_samples} samples have 1 to {num_samples} splits, got {num_splits}")
    return tuple(split * num_samples // num_splits for split in range(num_splits + 1))


def split_membership(bounds: tuple[int, ...], indices: Tensor) -> Tensor:
    """Return the membership of samples in splits, [splits, B] bool. Raises: ValueError for an index outside all."""
    outside = (indices < 0) | (indices >= bounds[-1])
    if bool(outside.any()):
        raise ValueError(f"inception score of {bounds[-1]} samples: no split has sample {int(indices[outside][0])}")
    first = torch.tensor(bounds, device=indices.device)
    return (indices >= first[:-1, None]) & (indices < first[1:, None])


def weighted_inception_scores(logits: Tensor, bounds: tuple[int, ...], counts: Tensor) -> Tensor:
    """The score for every column of counts, for `errors`; a split that lost all samples is left out.

    Args: logits: [N, K], by index. counts: how often each row is there, [N, R]. Returns: [R] float64.
    """
    log_p = logits.double().log_softmax(dim=1)
    p, weights = log_p.exp(), counts.to(log_p)
    negative_entropy = (p * log_p).sum(dim=1)
    per_split, present = [], []
    for begin, end in pairwise(bounds):
        w = weights[begin:end].T  # [R, samples of the split]
        present.append(w.sum(dim=1) > 0)
        seen = w.sum(dim=1).clamp(min=1)
        per_split.append(_scores(seen, w @ p[begin:end], w @ negative_entropy[begin:end]))
    kept = torch.stack(present).to(log_p)
    return (torch.stack(per_split) * kept).sum(dim=0) / kept.sum(dim=0)


def _scores(counts: Tensor, probabilities: Tensor, negative_entropy: Tensor) -> Tensor:
    """exp(mean_x sum_y p(y|x) (log p(y|x) - log p(y))) of every row of sums."""
    p = probabilities / counts[:, None]
    return torch.exp(negative_entropy / counts - torch.special.xlogy(p, p).sum(dim=1))
