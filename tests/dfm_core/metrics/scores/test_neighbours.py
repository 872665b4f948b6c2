"""Precision, recall, density and coverage against the authors' code, by hand, and against loops."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from dfm_core.metrics.scores import feature_store as module
from dfm_core.metrics.scores.accumulator import Batch
from dfm_core.metrics.scores.neighbours import (
    NeighbourAccumulator,
    neighbour_scores,
    radii_among,
    squared_distances,
    squared_radii,
)
from tests.support.models import golden_tensors

GOLDEN = golden_tensors("kernel_and_neighbours")
SAMPLES, REFERENCE = GOLDEN["samples"], GOLDEN["reference"]
NEIGHBOUR_SCORES = ("precision", "recall", "density", "coverage")


def scores(samples: Tensor, reference: Tensor, num_neighbours: int) -> dict[str, float]:
    accumulator = NeighbourAccumulator.empty(num_neighbours).update(Batch(torch.arange(len(samples)), samples))
    return {name: score.value for name, score in accumulator.compute(reference).items()}


def column(*values: float) -> Tensor:
    return torch.tensor(values)[:, None]


def by_loops(samples: Tensor, reference: Tensor, num_neighbours: int) -> dict[str, float]:
    """The definitions, ball by ball."""

    def distance(a: Tensor, b: Tensor) -> float:
        return float(((a - b) ** 2).sum().sqrt())

    def radius(points: Tensor, i: int) -> float:
        return sorted(distance(points[i], points[j]) for j in range(len(points)) if j != i)[num_neighbours - 1]

    real = [(point, radius(reference, i)) for i, point in enumerate(reference)]
    made = [(point, radius(samples, i)) for i, point in enumerate(samples)]
    holding = [sum(distance(x, y) <= r for y, r in real) for x in samples]
    return {
        "precision": sum(count > 0 for count in holding) / len(samples),
        "recall": sum(any(distance(y, x) <= r for x, r in made) for y in reference) / len(reference),
        "density": sum(holding) / (num_neighbours * len(samples)),
        "coverage": sum(any(distance(y, x) <= r for x in samples) for y, r in real) / len(reference),
    }


@pytest.mark.parametrize("num_neighbours", [3, 5])
def test_the_scores_are_those_of_the_authors_of_density_and_coverage(num_neighbours: int) -> None:
    expected = dict(zip(NEIGHBOUR_SCORES, GOLDEN[f"prdc_k{num_neighbours}"].tolist(), strict=True))
    assert scores(SAMPLES, REFERENCE, num_neighbours) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("num_neighbours", [3, 5])
def test_precision_and_recall_are_those_of_torch_fidelity(num_neighbours: int) -> None:
    found = scores(SAMPLES, REFERENCE, num_neighbours)
    expected = GOLDEN[f"torch_fidelity_precision_recall_k{num_neighbours}"].tolist()
    assert [found["precision"], found["recall"]] == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("elements", [1, 50, 2**22])
def test_the_size_of_blocks_changes_nothing(elements: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_CHUNK_ELEMENTS", elements)
    samples, reference = SAMPLES[:25], REFERENCE[:31]
    assert scores(samples, reference, 4) == pytest.approx(by_loops(samples, reference, 4), rel=1e-12)


def test_three_points_against_four_by_hand() -> None:
    """Balls of the reference: -1..1, 0..2, 1..9, 5..13; of the samples: 1..2, 1.5..2.5, 2..38. Borders count."""
    assert scores(column(1.5, 2, 20), column(0, 1, 5, 9), 1) == pytest.approx(
        {"precision": 2 / 3, "recall": 3 / 4, "density": (2 + 2 + 0) / 3, "coverage": 2 / 4}
    )


def test_equal_sets_have_every_score_of_one_or_more() -> None:
    found = scores(REFERENCE, REFERENCE, 3)
    assert [found[name] for name in ("precision", "recall", "coverage")] == [1.0, 1.0, 1.0]
    assert found["density"] >= 1


def test_sets_far_apart_score_nothing() -> None:
    assert scores(SAMPLES + 1000, REFERENCE, 3) == dict.fromkeys(NEIGHBOUR_SCORES, 0.0)


def test_one_mode_out_of_two_is_precise_and_recalls_half() -> None:
    generator = torch.Generator().manual_seed(0)
    mode = torch.randn(100, 2, generator=generator)
    reference = torch.cat([torch.randn(100, 2, generator=generator), torch.randn(100, 2, generator=generator) + 50])
    found = scores(mode, reference, 5)
    assert found["precision"] > 0.9
    assert 0.4 < found["recall"] <= 0.5
    assert 0.4 < found["coverage"] <= 0.5


def test_a_common_offset_costs_no_digits() -> None:
    assert scores(SAMPLES + 1e8, REFERENCE + 1e8, 3) == pytest.approx(scores(SAMPLES, REFERENCE, 3), rel=1e-12)


def test_copies_are_neighbours_at_distance_zero() -> None:
    assert squared_radii(column(3, 3, 3, 7).double(), 2).tolist() == [0, 0, 0, 16]
    assert squared_distances(column(1, 2).double(), column(4).double()).tolist() == [[9], [4]]


@pytest.mark.parametrize("keep", [2, 5])
def test_every_column_has_the_scores_of_the_samples_that_are_there(keep: int) -> None:
    """Radii too: of the third, or the fifth, that is left."""
    samples, reference = SAMPLES[:45], REFERENCE[:40]
    there = torch.stack([torch.ones(45), (torch.arange(45) % keep == 0).float()], dim=1)
    found = neighbour_scores(samples, reference, 3, there)
    for column, rows in enumerate((samples, samples[::keep])):
        expected = by_loops(rows, reference, 3)
        assert {name: float(values[column]) for name, values in found.items()} == pytest.approx(expected, rel=1e-12)


def test_radii_are_found_however_far_the_neighbours_that_are_there() -> None:
    """Those that are there are the last in the order of distance from the first ones."""
    points = torch.arange(60, dtype=torch.float64)[:, None]
    there = torch.zeros(60, 1, dtype=torch.bool)
    there[[0, 57, 58, 59]] = True
    assert radii_among(points, 2, there)[[0, 57, 1], 0].tolist() == [58.0**2, 4.0, -1.0]


def test_a_set_without_a_kth_neighbour_is_refused() -> None:
    with pytest.raises(
        ValueError, match="5 nearest neighbours need more samples and reference features, got 5 and 200"
    ):
        scores(SAMPLES[:5], REFERENCE, 5)
