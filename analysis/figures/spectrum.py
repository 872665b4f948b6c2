"""Radially averaged power of samples against real images: the frequencies at which a model lacks or adds detail."""

from __future__ import annotations

import math

import numpy as np

from analysis.comparison.joined_sweep import JoinedSweep
from analysis.drawing.chart import Chart, Group, Line, Panel, slug
from analysis.figures.qualitative import cut_real_images, cut_sample_images
from analysis.figures.series import group_by_part
from analysis.plan.model import Part
from analysis.results.intervals import t_quantile

_MOST_LINES = 7
_REAL = "real images"


def radial_power(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the power of each image over rings of equal spatial frequency, DC left out.

    The mean over channels of |FFT|^2 / (H W), averaged over rings of width one cycle an image, up to the Nyquist
    frequency of the shorter side; white noise of variance v has power v in all rings.

    Args: pixels: [N, H, W, C], any real range.
    Returns: frequencies in cycles an image, [K]; power, [N, K].
    """
    _, height, width, _ = pixels.shape
    power = (np.abs(np.fft.fft2(pixels.astype(np.float64), axes=(1, 2))) ** 2).mean(axis=-1) / (height * width)
    vertical, horizontal = np.fft.fftfreq(height) * height, np.fft.fftfreq(width) * width
    scale = min(height, width)
    radius = np.hypot(vertical[:, None] / height, horizontal[None] / width) * scale
    rings = np.rint(radius).astype(int)
    frequencies = np.arange(1, scale // 2 + 1)
    means = np.stack([power[:, rings == ring].mean(axis=1) for ring in frequencies], axis=1)
    return frequencies.astype(np.float64), means


def collect_spectra(joined_sweep: JoinedSweep) -> tuple[Group, ...]:
    """Make a chart of power, and its ratio to that of real images, for each part that has samples of their size."""
    real = cut_real_images(joined_sweep)
    if real is None:
        return ()
    return group_by_part(joined_sweep.plan, lambda part, number: [_chart(joined_sweep, part, number, real.pixels)])


def _chart(joined_sweep: JoinedSweep, part: Part, number: int, real: np.ndarray) -> Chart | None:
    """Make the chart of a part's first rows whose last samples are as large as the real images."""
    spectra: dict[tuple[str, int], np.ndarray] = {}
    for color, row in enumerate(part.rows):
        if len(spectra) == _MOST_LINES:
            break
        images = cut_sample_images(joined_sweep, joined_sweep.plan.trials_of(part.name, row)[0].evaluations[-1][1])
        if images is not None and images.pixels.shape[1:] == real.shape[1:]:
            spectra[row, color] = images.pixels
    if not spectra or min(real.shape[1:3]) < 4:
        return None
    frequencies, of_real = radial_power(real)
    xs = tuple(map(float, frequencies))
    power, ratio = [_line(_REAL, len(part.rows), xs, of_real)], []
    for (row, color), pixels in spectra.items():
        _, of_row = radial_power(pixels)
        power.append(_line(row, color, xs, of_row))
        quotient = of_row.mean(axis=0) / np.maximum(of_real.mean(axis=0), 1e-12)
        ratio.append(Line(row, xs, tuple(map(float, quotient)), color=color))
    counts = sorted({len(pixels) for pixels in (real, *spectra.values())})
    axis = "spatial frequency (cycles / image)"
    one = Line("", (math.nan,), (1.0,), style="level")
    panels = (
        Panel(axis, "power", tuple(power), log_x=True, log_y=True),
        Panel(axis, "power / that of real images", (*ratio, one), log_x=True, log_y=True),
    )
    highs = "; ".join(f"{line.label} {line.y[-1]:.2f}" for line in ratio)
    about = (
        f"{part.title}: radially averaged power of {' to '.join(map(str, counts))} images a row. "
        f"At the highest frequency, over that of real images: {highs}."
    )
    return Chart(f"spectrum-{number}-{slug(part.name)}", "Spectrum", about, panels, markers=False)


def _line(label: str, color: int, xs: tuple[float, ...], power: np.ndarray) -> Line:
    """Average over images, [N, K] to [K], with its 95% interval."""
    count = len(power)
    errors = power.std(axis=0, ddof=1) / math.sqrt(count) if count > 1 else np.zeros(power.shape[1])
    widths = tuple(float(t_quantile(count - 1) * error) for error in errors) if count > 1 else ()
    return Line(label, xs, tuple(map(float, power.mean(axis=0))), widths, color, over="pictures")
