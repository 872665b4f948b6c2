"""Columns and dtypes of the frames that `analysis.load` returns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

RUN_COLUMNS: Mapping[str, str] = {
    "run_id": "string",
    "url": "string",
    "name": "string",
    "digest": "string",
    "kind": "string",
    "mlflow_status": "string",
    "counts": "bool",
    "deleted": "bool",
    "start_time": "datetime64[ms, UTC]",
    "end_time": "datetime64[ms, UTC]",
}
"""Columns of `Frames.runs`, before `param.*` (string), `metric.*` (float64) and `tag.*` (string)."""
MEASUREMENT_COLUMNS: Mapping[str, str] = {
    "part": "string",
    "row": "string",
    "seed": "int64",
    "step": "int64",
    "metric": "string",
    "better": "string",
    "value": "Float64",
    "standard_error": "Float64",
    "error_method": "string",
    "without_bias": "Float64",
    "status": "string",
    "training_flops": "float64",
    "training_images": "int64",
    "digest": "string",
    "run_id": "string",
    "url": "string",
}
"""Columns of `Frames.measurements`."""
CURVE_COLUMNS: Mapping[str, str] = {
    "digest": "category",
    "run_id": "category",
    "metric": "category",
    "step": "int64",
    "value": "float64",
}
"""Columns of `Frames.curves`."""
TRIAL_COLUMNS: Mapping[str, str] = {
    "part": "string",
    "row": "string",
    "seed": "int64",
    "training": "string",
    "status": "string",
    "run_id": "string",
    "url": "string",
    "num_parameters": "int64",
    "steps": "int64",
    "batch_size": "int64",
    "training_flops": "float64",
    "accelerator_seconds": "Float64",
}
"""Columns of `Frames.trials`."""
DIFFERENCE_COLUMNS: Mapping[str, str] = {
    "part": "string",
    "row": "string",
    "metric": "string",
    "claim": "string",
    "num_common_seeds": "int64",
    "reference": "string",
    "difference": "Float64",
    "interval_low": "Float64",
    "interval_high": "Float64",
    "interval_is": "string",
    "probability_of_improvement": "Float64",
    "adjusted_p": "Float64",
    "separable_from_best": "string",
    "no_practical_difference": "string",
}
"""Columns of `Frames.differences`."""
RANK_COLUMNS: Mapping[str, str] = {
    "part": "string",
    "row": "string",
    "metric": "string",
    "num_common_seeds": "int64",
    "mean_rank": "float64",
}
"""Columns of `Frames.ranks`."""
ACROSS_PARTS_COLUMNS: Mapping[str, str] = {
    "row": "string",
    "metric": "string",
    "parts": "string",
    "num_parts": "int64",
    "num_common_seeds": "int64",
    "reference": "string",
    "ratio_or_difference": "Float64",
    "interval_low": "Float64",
    "interval_high": "Float64",
    "interval_is": "string",
    "interquartile_mean": "Float64",
    "probability_of_improvement": "Float64",
    "mean_rank": "float64",
}
"""Columns of `Frames.across_parts`."""

REACH_COLUMNS: Mapping[str, str] = {
    "part": "string",
    "metric": "string",
    "target": "float64",
    "declared": "string",
    "baseline": "string",
    "row": "string",
    "flops": "float64",
    "end": "string",
    "share": "Float64",
    "share_low": "Float64",
    "share_high": "Float64",
    "share_reached": "Float64",
    "num_common_seeds": "int64",
}
"""Columns of `Frames.reach`."""


def to_frame(rows: Iterable[Mapping[str, Any]], columns: Mapping[str, str]) -> pd.DataFrame:
    """Make a frame of rows, given the dtype of each column; other keys are left out."""
    lines = list(rows)
    return pd.DataFrame({name: to_column([line[name] for line in lines], kind) for name, kind in columns.items()})


def to_column(values: list[Any], kind: str) -> Any:
    """Make a column of a dtype; None is a missing value."""
    if kind.startswith("datetime"):
        return pd.to_datetime(pd.Series(values, dtype="Int64"), unit="ms", utc=True).astype(kind)
    if kind == "Float64":  # whose constructor takes NaN, a value, for a missing one
        return pd.Series(_nullable(values))
    return pd.Series(values, dtype=kind)


def _nullable(values: list[float | None]) -> Any:
    missing = np.array([value is None for value in values], bool)
    return pd.arrays.FloatingArray(np.array([0.0 if value is None else value for value in values], float), missing)
