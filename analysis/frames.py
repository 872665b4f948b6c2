"""A sweep as pandas frames: the same numbers as its report, for whoever wants to go on from there.

frames = analysis.load("sweeps/table2_small.yaml")
frames.measurements.query("metric == 'fd_lite0_block10'").pivot_table(values="value", index="row", columns="step")
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis.plan.model import PublishedPlan
from analysis.plan.read import read_plan
from analysis.plan.sweep_file import read_sweep_file, storage_root
from analysis.records.from_mlflow import Reading
from analysis.records.read import read_with_runs
from analysis.records.record import MISSING, Record
from analysis.records.stored_files import StorageRoot
from analysis.results.measurements import measure
from analysis.tracking.history import MetricHistory
from analysis.tracking.run import KIND_TAG

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


@dataclass(frozen=True)
class Frames:
    """What a sweep measured so far. Every number stands beside the id of the run that it comes from."""

    plan: PublishedPlan
    runs: pd.DataFrame
    """Every run of the experiment, also those that count for nothing: `RUN_COLUMNS`, then `param.NAME` as logged,
    `metric.NAME` its last value, `tag.NAME`. `counts`: it speaks for a task of the plan."""
    measurements: pd.DataFrame
    """A line for each planned measurement, as in table.csv: `MEASUREMENT_COLUMNS`. value: <NA> unless the status is
    done; NaN and infinities as they were measured. training_flops, training_images: up to the step."""
    curves: pd.DataFrame
    """Training losses: `CURVE_COLUMNS`; of several attempts the newest point of each step."""
    trials: pd.DataFrame
    """A line for each row and seed: `TRIAL_COLUMNS`. training: its digest, of a cascade's or experts' last network;
    status: done, running, failed or missing; steps, training_flops: of the whole training."""
    notes: tuple[str, ...]
    """What the report warns of for the experiment as a whole."""


def load(sweep: str | Path, storage: str | None = None) -> Frames:
    """Read what was measured for a sweep until now.

    Args:
        sweep: its YAML file.
        storage: the storage root it was run with, folder or fsspec URL; default as for `python -m analysis`.

    Raises: UserError if there is no such sweep or published plan, or its tracking server cannot be reached.
    """
    file = read_sweep_file(Path(sweep))
    root = storage_root(file, storage, os.environ)
    plan = read_plan(root, file.name, file.storage_options)
    return frames_of(plan, StorageRoot(root, file.storage_options))


def frames_of(plan: PublishedPlan, storage: StorageRoot | None = None) -> Frames:
    """The frames of a plan, see `plan_file.read_plan`.

    Args: storage: where the records lie; None: numbers are MLflow's.

    Raises: UserError if the tracking server cannot be reached.
    """
    reading = read_with_runs(plan, storage)
    return Frames(
        plan,
        _runs(plan, reading),
        _frame(_measurements(plan, reading.records), MEASUREMENT_COLUMNS),
        _curves(reading.records),
        _frame(_trials(plan, reading.records), TRIAL_COLUMNS),
        reading.notes,
    )


def _frame(rows: Iterator[tuple[Any, ...]] | Sequence[tuple[Any, ...]], columns: Mapping[str, str]) -> pd.DataFrame:
    found = list(rows)
    series = {name: _column([row[index] for row in found], kind) for index, (name, kind) in enumerate(columns.items())}
    return pd.DataFrame(series)


def _column(values: list[Any], kind: str) -> Any:
    if kind.startswith("datetime"):
        return pd.to_datetime(pd.Series(values, dtype="Int64"), unit="ms", utc=True).astype(kind)
    if kind == "Float64":  # whose constructor takes NaN, a value, for a missing one
        return pd.Series(_nullable(values))
    return pd.Series(values, dtype=kind)


def _nullable(values: list[float | None]) -> Any:
    missing = np.array([value is None for value in values], bool)
    return pd.arrays.FloatingArray(np.array([0.0 if value is None else value for value in values], float), missing)


def _runs(plan: PublishedPlan, reading: Reading) -> pd.DataFrame:
    counting = {record.run_id for record in reading.records.values()}
    runs = sorted(reading.runs, key=lambda run: (run.start_time or 0, run.run_id))
    rows = [
        (
            run.run_id,
            reading.url_of(plan, run) or None,
            run.name,
            run.digest or None,
            run.tags.get(KIND_TAG),
            run.status,
            run.run_id in counting,
            run.deleted,
            run.start_time,
            run.end_time,
        )
        for run in runs
    ]
    more: dict[str, Any] = {}
    groups = (("param", "string", "params"), ("metric", "Float64", "metrics"), ("tag", "string", "tags"))
    for prefix, kind, name in groups:
        held = [getattr(run, name) for run in runs]
        for key in sorted({key for values in held for key in values}):
            more[f"{prefix}.{key}"] = _column([values.get(key) for values in held], kind)
    return pd.concat([_frame(rows, RUN_COLUMNS), pd.DataFrame(more, index=range(len(runs)))], axis=1)


def _measurements(plan: PublishedPlan, records: Mapping[str, Record]) -> Iterator[tuple[Any, ...]]:
    for found in measure(plan, records):
        record = records.get(found.digest, MISSING)
        yield (
            found.part,
            found.row,
            found.seed,
            found.step,
            found.metric,
            found.better,
            found.value,
            found.standard_error,
            found.status,
            float(found.training_flops),
            found.training_images,
            found.digest,
            record.run_id or None,
            record.url or None,
        )


def _curves(records: Mapping[str, Record]) -> pd.DataFrame:
    found = [
        (digest, record.run_id, key, curve if isinstance(curve, MetricHistory) else MetricHistory.of(curve))
        for digest, record in sorted(records.items())
        for key, curve in record.curves.items()
    ]
    lengths = [len(curve) for *_, curve in found]
    columns: dict[str, Any] = {}
    for index, name in enumerate(("digest", "run_id", "metric")):
        kinds = {value: code for code, value in enumerate(sorted({str(item[index]) for item in found}))}
        codes = np.repeat(np.array([kinds[str(item[index])] for item in found], np.int64), lengths)
        columns[name] = pd.Categorical.from_codes(codes, list(kinds))
    columns["step"] = np.concatenate([curve.steps for *_, curve in found] or [np.zeros(0, np.int64)])
    columns["value"] = np.concatenate([curve.values for *_, curve in found] or [np.zeros(0)])  # noqa: PD011
    return pd.DataFrame(columns)


def _trials(plan: PublishedPlan, records: Mapping[str, Record]) -> Iterator[tuple[Any, ...]]:
    for trial in plan.trials:
        task, record = plan.trainings[trial.train], records.get(trial.train, MISSING)
        yield (
            trial.part,
            trial.row,
            trial.seed,
            trial.train,
            record.status,
            record.run_id or None,
            record.url or None,
            task.num_parameters,
            task.until_step,
            task.batch_size,
            float(task.flops),
            record.metrics.get("accelerator_seconds"),
        )
