"""Reference statistics that others computed and published, such as EDM's, pytorch-fid's, ADM's and EDM2's files."""

from __future__ import annotations

from typing import Any

import numpy as np

from dfm_core.catalog.feature_networks import FeatureNetworkName
from dfm_core.metrics.plain_arrays import PickledArray, read_npz, read_pickle, require_shape
from dfm_core.metrics.scores.moments import Array, GaussianStatistics

_METRIC_NAMES: dict[FeatureNetworkName, str] = {"inception": "fid", "dinov2": "fd_dinov2"}
"""Names under which EDM2's files hold the statistics of a network's features."""
_MEAN, _COVARIANCE = "mu", "sigma"
_ROUNDING = 1e-6
"""Distance, as a share of the largest value, that a published covariance may have from a symmetric, positive
semi-definite one. Some were computed or written in float32."""


def read_statistics(content: bytes, file_name: str, network: FeatureNetworkName, width: int) -> GaussianStatistics:
    """Return the mean and covariance of a file: an npz with `mu` and `sigma`, or a pickle.

    A pickle holds {"mu": array, "sigma": array}, or such a dictionary for each metric: {"fid": {...}, ...}. None of it
    is executed. No format tells how many images are behind it.

    Args: content: the file. file_name: for messages. network, width: whose features they must be of, and how many.
    Raises: ValueError with what was found if the file is of another kind, damaged, would execute something, or does
        not hold finite numbers, [width] and [width, width], of which the latter are a covariance.
    """
    try:
        arrays = _read(content, network, {_MEAN: (width,), _COVARIANCE: (width, width)})
        return GaussianStatistics(arrays[_MEAN], _checked_covariance(arrays), count=None)
    except Exception as error:  # a damaged file may raise anything
        reason = str(error) or type(error).__name__
        wanted = f"statistics of {network}, {width} dimensions, can't be read"
        raise ValueError(f"{file_name}: {wanted}: {reason}") from error


def _read(content: bytes, network: FeatureNetworkName, shapes: dict[str, tuple[int, ...]]) -> dict[str, Array]:
    if content.startswith(b"PK"):
        return read_npz(content, shapes)
    if not content.startswith(b"\x80"):
        raise ValueError("it is neither an npz file nor a pickle of protocol 2 or later")
    held = _of_network(read_pickle(content), network)
    values = {name: held[name].value for name in shapes if isinstance(held.get(name), PickledArray)}
    if missing := sorted(set(shapes) - set(values)):
        raise ValueError(f"it has no array {' and no '.join(missing)}; it holds {_keys(held)}")
    for name, shape in shapes.items():
        require_shape(name, values[name].shape, shape)
    return {name: value.astype(np.float64) for name, value in values.items()}


def _of_network(content: object, network: FeatureNetworkName) -> dict[Any, Any]:
    """Return the dictionary with `mu` and `sigma`."""
    held = content if isinstance(content, dict) else {}
    metric = _METRIC_NAMES.get(network)
    if _MEAN in held or metric is None:
        return held
    statistics = held.get(metric)
    if not isinstance(statistics, dict) or not statistics:
        raise ValueError(f"it has neither {_MEAN} and {_COVARIANCE} nor {metric}; it holds {_keys(held)}")
    return statistics


def _keys(held: dict[Any, Any]) -> str:
    return ", ".join(str(key)[:40] for key in list(held)[:10]) or "no names"


def _checked_covariance(arrays: dict[str, Array]) -> Array:
    """Return the covariance, exactly symmetric, if the arrays can be statistics at all."""
    for name, array in arrays.items():
        if bad := array.size - np.isfinite(array).sum():
            raise ValueError(f"{bad} of {array.size} numbers of {name} are not finite")
    covariance = arrays[_COVARIANCE]
    largest, asymmetry = np.abs(covariance).max(), np.abs(covariance - covariance.T).max()
    if asymmetry > _ROUNDING * largest:
        raise ValueError(f"{_COVARIANCE} is not symmetric: two that should agree are {asymmetry:.3g} apart")
    symmetric: Array = (covariance + covariance.T) / 2
    eigenvalues = np.linalg.eigvalsh(symmetric)
    if eigenvalues[0] < -_ROUNDING * abs(eigenvalues[-1]):
        range_found = f"{eigenvalues[0]:.3g} to {eigenvalues[-1]:.3g}"
        raise ValueError(f"{_COVARIANCE} is no covariance: its eigenvalues go from {range_found}")
    return symmetric
