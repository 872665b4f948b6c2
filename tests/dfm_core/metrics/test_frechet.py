"""The Fréchet distance against pytorch-fid and dgm-eval, and what a squared distance must satisfy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dfm_core.metrics.frechet import frechet_distance
from dfm_core.metrics.moments import Moments
from tests.dfm_core.builders import golden_json, golden_tensors

FEATURES = golden_tensors("frechet_inputs")
VALUES = golden_json("frechet_values")["values"]
MOMENTS = {name: Moments.of(FEATURES[name]) for name in "ABCD"}


@pytest.mark.parametrize("routine", ["pytorch_fid", "dgm_eval_reps", "dgm_eval_efficient"])
def test_the_distance_equals_the_originals(routine: str) -> None:
    assert frechet_distance(MOMENTS["A"], MOMENTS["B"]) == pytest.approx(VALUES[f"AB_{routine}"], rel=1e-10)
    # The originals take the root of a singular, non-symmetric product here.
    expected = VALUES[f"CD_rank_deficient_{routine}"]
    assert frechet_distance(MOMENTS["C"], MOMENTS["D"]) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("name", "ABCD")
def test_equal_moments_have_distance_zero(name: str) -> None:
    assert frechet_distance(MOMENTS[name], MOMENTS[name]) == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize(("a", "b"), ["AB", "CD"])
def test_the_distance_is_symmetric(a: str, b: str) -> None:
    forth, back = frechet_distance(MOMENTS[a], MOMENTS[b]), frechet_distance(MOMENTS[b], MOMENTS[a])
    assert forth == pytest.approx(back, rel=1e-7)


def test_covariances_without_full_rank_stay_finite() -> None:
    few, fewer = Moments.of(torch.randn(3, 200)), Moments.of(torch.randn(2, 200))
    constant = Moments.of(torch.ones(5, 200))
    for a, b in ((few, fewer), (few, constant), (constant, constant)):
        assert np.isfinite(frechet_distance(a, b))


def test_one_dimension_has_the_closed_form() -> None:
    a, b = torch.randn(50, 1, dtype=torch.float64), 3 * torch.randn(70, 1, dtype=torch.float64) + 2
    expected = float((a.mean() - b.mean()) ** 2 + (a.std() - b.std()) ** 2)
    assert frechet_distance(Moments.of(a), Moments.of(b)) == pytest.approx(expected, rel=1e-10)


def test_a_shift_costs_its_squared_length_and_a_rotation_nothing() -> None:
    shift = torch.arange(12, dtype=torch.float64) / 10
    shifted = frechet_distance(MOMENTS["A"], Moments.of(FEATURES["A"] + shift))
    assert shifted == pytest.approx(float(shift @ shift), rel=1e-9)
    rotation = torch.linalg.qr(torch.randn(12, 12, dtype=torch.float64)).Q
    rotated = frechet_distance(Moments.of(FEATURES["A"] @ rotation), Moments.of(FEATURES["B"] @ rotation))
    assert rotated == pytest.approx(frechet_distance(MOMENTS["A"], MOMENTS["B"]), rel=1e-9)
