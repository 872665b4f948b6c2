"""A sweep as pandas frames: the same numbers as its report, for analyses of one's own.

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

from analysis.comparison.joined_sweep import JoinedSweep
from analysis.comparison.row_ranks import rank_rows
from analysis.contract.proxies import bypass_proxies
from analysis.contract.record_schema import ACCELERATOR_SECONDS
from analysis.frame_columns import (
    ACROSS_PARTS_COLUMNS,
    CURVE_COLUMNS,
    DIFFERENCE_COLUMNS,
    MEASUREMENT_COLUMNS,
    RANK_COLUMNS,
    REACH_COLUMNS,
    RUN_COLUMNS,
    TRIAL_COLUMNS,
    to_column,
    to_frame,
)
from analysis.plan.model import PublishedPlan
from analysis.plan.read import read_plan
from analysis.plan.sweep_file import read_sweep_file, storage_root
from analysis.records.read import read_records
from analysis.records.record import MISSING, Reading, Record
from analysis.records.stored_files import StorageRoot
from analysis.results.measurements import measure
from analysis.results.sections import Section
from analysis.text.aggregate_tables import across_lines, rank_lines
from analysis.text.cost_tables import reach_lines
from analysis.text.difference_tables import difference_lines
from analysis.tracking.address import run_url
from analysis.tracking.history import MetricHistory
from analysis.tracking.run import KIND_TAG

__all__ = [
    "ACROSS_PARTS_COLUMNS",
    "CURVE_COLUMNS",
    "DIFFERENCE_COLUMNS",
    "MEASUREMENT_COLUMNS",
    "RANK_COLUMNS",
    "REACH_COLUMNS",
    "RUN_COLUMNS",
    "TRIAL_COLUMNS",
    "Frames",
    "load",
    "make_frames",
]


@dataclass(frozen=True)
class Frames:
    """The results of a sweep so far. Every number is beside the id of the run that it comes from."""

    plan: PublishedPlan
    runs: pd.DataFrame
    """Every run of the experiment, also those that are not used: `RUN_COLUMNS`, then `param.NAME` as logged,
    `metric.NAME` its last value, `tag.NAME`. `counts`: it is the run of a task of the plan."""
    measurements: pd.DataFrame
    """A line for each planned measurement, as in table.csv: `MEASUREMENT_COLUMNS`. value: <NA> unless the status is
    done; NaN and infinities as they were measured. without_bias: the value less its bias by finite samples, where the
    record estimates one. training_flops, training_images: up to the step."""
    curves: pd.DataFrame
    """Training losses: `CURVE_COLUMNS`; of several attempts the newest point of each step."""
    trials: pd.DataFrame
    """A line for each row and seed: `TRIAL_COLUMNS`. training: digest of the training, or of the last network of a
    cascade or of experts; status: done, running, failed or missing; steps, training_flops: the whole training's."""
    differences: pd.DataFrame
    """A line for each row and metric that was compared with its part's reference row, as in tables/*.csv:
    `DIFFERENCE_COLUMNS`. interval_low, interval_high: of the ratio or the difference, as interval_is says."""
    ranks: pd.DataFrame
    """A line for each row and metric that was compared with the part's other rows: `RANK_COLUMNS`. mean_rank: over the
    seeds that all rows have, 1 the best."""
    across_parts: pd.DataFrame
    """A line for each row that stands in several parts, over all of them: `ACROSS_PARTS_COLUMNS`."""
    reach: pd.DataFrame
    """A line for each row and target of parts with baselines: `REACH_COLUMNS`. flops: until the row is as good as the
    target; end: exact, at least (not reached) or at most (at the first evaluation); share: of the baseline's."""
    notes: tuple[str, ...]
    """The report's warnings for the experiment as a whole."""


def load(sweep: str | Path, storage: str | None = None) -> Frames:
    """Read the results of a sweep so far.

    Args:
        sweep: YAML file of the sweep.
        storage: storage root of the sweep, folder or fsspec URL; default as for `python -m analysis`.

    Raises: UserError if there is no such sweep or published plan, or its tracking server cannot be reached.
    """
    bypass_proxies(os.environ)
    file = read_sweep_file(Path(sweep))
    root = storage_root(file, storage, os.environ)
    plan = read_plan(root, file.name, file.storage_options)
    return make_frames(plan, StorageRoot(root, file.storage_options))


def make_frames(plan: PublishedPlan, storage: StorageRoot | None = None) -> Frames:
    """Make the frames of a plan.

    Args: storage: where the records lie; None: numbers are MLflow's.
    Raises: UserError if the tracking server cannot be reached.
    """
    reading = read_records(plan, storage, whole_runs=True)
    joined_sweep = JoinedSweep.of(plan, reading.records)
    sections = joined_sweep.sections
    targets = [target for found in joined_sweep.targets.values() for target, _ in found if target is not None]
    return Frames(
        plan,
        _runs(plan, reading),
        to_frame(_measurements(plan, reading.records), MEASUREMENT_COLUMNS),
        _curves(reading.records),
        to_frame(_trials(plan, reading.records), TRIAL_COLUMNS),
        to_frame(_differences(sections), DIFFERENCE_COLUMNS),
        to_frame(_ranks(sections), RANK_COLUMNS),
        to_frame(across_lines(joined_sweep.across_parts), ACROSS_PARTS_COLUMNS),
        to_frame(reach_lines(targets), REACH_COLUMNS),
        reading.notes,
    )


def _runs(plan: PublishedPlan, reading: Reading) -> pd.DataFrame:
    counting = {record.run_id for record in reading.records.values()}
    runs = sorted(reading.runs, key=lambda run: (run.start_time or 0, run.run_id))
    rows = [
        {
            "run_id": run.run_id,
            "url": run_url(plan.tracking_uri, reading.experiment_id, run.run_id) or None,
            "name": run.name,
            "digest": run.digest or None,
            "kind": run.tags.get(KIND_TAG),
            "mlflow_status": run.status,
            "counts": run.run_id in counting,
            "deleted": run.deleted,
            "start_time": run.start_time,
            "end_time": run.end_time,
        }
        for run in runs
    ]
    more: dict[str, Any] = {}
    groups = (("param", "string", "params"), ("metric", "Float64", "metrics"), ("tag", "string", "tags"))
    for prefix, kind, name in groups:
        by_run = [getattr(run, name) for run in runs]
        for key in sorted({key for values in by_run for key in values}):
            more[f"{prefix}.{key}"] = to_column([values.get(key) for values in by_run], kind)
    return pd.concat([to_frame(rows, RUN_COLUMNS), pd.DataFrame(more, index=range(len(runs)))], axis=1)


def _measurements(plan: PublishedPlan, records: Mapping[str, Record]) -> Iterator[dict[str, Any]]:
    for m in measure(plan, records):
        run = _run_columns(records.get(m.digest, MISSING))
        error = {} if m.error is None else {"error_method": m.error.method, "without_bias": m.error.corrected}
        known = {"error_method": None, "without_bias": None, **error}
        yield {**vars(m), **run, **known, "training_flops": float(m.training_flops)}


def _ranks(sections: Sequence[Section]) -> Iterator[dict[str, Any]]:
    for section in sections:
        for row, metric, rank, num_seeds in rank_lines(rank_rows(section)):
            yield {
                "part": section.part.name,
                "row": row,
                "metric": metric,
                "num_common_seeds": num_seeds,
                "mean_rank": rank,
            }


def _differences(sections: Sequence[Section]) -> Iterator[dict[str, Any]]:
    for section in sections:
        for standing in section.standings:
            claim = "primary" if standing.makes_claims else "exploratory"
            for row, line in difference_lines(standing).items():
                known = dict.fromkeys(DIFFERENCE_COLUMNS) | dict(line)
                yield known | {"part": section.part.name, "row": row, "metric": standing.metric.name, "claim": claim}


def _run_columns(record: Record) -> dict[str, str | None]:
    return {"run_id": record.run_id or None, "url": record.url or None}


def _curves(records: Mapping[str, Record]) -> pd.DataFrame:
    curves = [
        (digest, record.run_id, key, curve if isinstance(curve, MetricHistory) else MetricHistory.of(curve))
        for digest, record in sorted(records.items())
        for key, curve in record.curves.items()
    ]
    owners = pd.DataFrame([owner for *owner, _ in curves], columns=["digest", "run_id", "metric"], dtype="category")
    frame = owners.take(np.repeat(np.arange(len(curves)), [len(curve) for *_, curve in curves])).reset_index(drop=True)
    frame["step"] = np.concatenate([curve.steps for *_, curve in curves] or [np.zeros(0, np.int64)])
    frame["value"] = np.concatenate([curve.values for *_, curve in curves] or [np.zeros(0)])  # noqa: PD011
    return frame


def _trials(plan: PublishedPlan, records: Mapping[str, Record]) -> Iterator[dict[str, Any]]:
    for trial in plan.trials:
        task, record = plan.trainings[trial.train], records.get(trial.train, MISSING)
        yield {
            **vars(trial),
            **_run_columns(record),
            "training": trial.train,
            "status": record.status,
            "num_parameters": task.num_parameters,
            "steps": task.until_step,
            "batch_size": task.batch_size,
            "training_flops": float(task.flops),
            "accelerator_seconds": record.metrics.get(ACCELERATOR_SECONDS),
        }
