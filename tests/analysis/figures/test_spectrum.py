"""Spectra of images whose power is known."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.comparison.joined_sweep import JoinedSweep
from analysis.drawing.chart import Panel
from analysis.figures.spectrum import collect_spectra, radial_power
from analysis.records.record import Record
from orchestration.evaluation.sample_grids import grid_png
from tests.support.plans import evaluate_digest, make_plan


def test_a_wave_has_its_power_at_its_own_frequency_only() -> None:
    column = np.cos(2 * np.pi * 5 * np.arange(32) / 32)
    image = np.broadcast_to(column[None, None, :, None], (1, 32, 32, 3))
    frequencies, power = radial_power(image)
    assert frequencies.tolist() == list(range(1, 17))
    # Two of the ring's coefficients hold it: |FFT|^2 = (1024 / 2)^2 each.
    ring = np.rint(np.hypot(np.fft.fftfreq(32)[:, None], np.fft.fftfreq(32)[None]) * 32) == 5
    assert power[0, 4] == pytest.approx(2 * 512**2 / 1024 / ring.sum())
    assert np.delete(power[0], 4) == pytest.approx(0, abs=1e-9)


def test_white_noise_has_its_variance_at_every_frequency_also_on_oblong_images() -> None:
    noise = np.random.default_rng(0).normal(3.0, 2.0, (200, 16, 24, 1))
    _, power = radial_power(noise)
    assert power.shape == (200, 8)
    assert power.mean(axis=0) == pytest.approx(4.0, rel=0.05)


def test_power_is_quadratic_and_blind_to_shift_and_brightness() -> None:
    image = np.random.default_rng(1).normal(size=(1, 16, 16, 3))
    _, power = radial_power(image)
    assert radial_power(3 * image + 7)[1] == pytest.approx(9 * power)
    assert radial_power(np.roll(image, 5, axis=1))[1] == pytest.approx(power)


def test_the_chart_sets_rows_against_real_images() -> None:
    generator = np.random.default_rng(2)
    real = generator.integers(0, 255, (10, 3, 16, 16), dtype=np.uint8)
    half = (real // 2 + 64).astype(np.uint8)
    records = {
        "reference": Record("done", image=grid_png(real, ["x"] * 10)),
        evaluate_digest("DFM", 200): Record("done", image=grid_png(half, ["x"] * 10)),
    }
    (group,) = collect_spectra(JoinedSweep.of(make_plan(), records))
    power, ratio = (panel for panel in group.charts[0].panels if isinstance(panel, Panel))
    assert [line.label for line in power.lines] == ["real images", "DFM"]
    assert np.array(ratio.lines[0].y) == pytest.approx(0.25, rel=0.02)
    del records["reference"]
    assert collect_spectra(JoinedSweep.of(make_plan(), records)) == ()
