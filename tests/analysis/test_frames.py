"""The frames say what the report says, with the columns and dtypes that are promised."""

from __future__ import annotations

import csv
import io
import json
import math
from pathlib import Path

import pandas as pd
import pytest

import analysis
from analysis.comparison.joined_sweep import JoinedSweep
from analysis.errors import UserError
from analysis.frame_columns import CURVE_COLUMNS, DIFFERENCE_COLUMNS, MEASUREMENT_COLUMNS, RUN_COLUMNS, TRIAL_COLUMNS
from analysis.frames import Frames, make_frames
from analysis.records.read import read_records
from analysis.report.build import render_report
from tests.support.plans import Database, evaluate_digest, make_plan, plan_document, train_digest

VALUES = {"flow matching": 30.0, "DFM": 20.0}


@pytest.fixture
def filled(database: Database) -> Frames:
    plan = make_plan(uri=database.uri)
    database.fill(plan, VALUES)
    return make_frames(plan)


def dtypes(frame: pd.DataFrame) -> dict[str, str]:
    return {name: str(kind) for name, kind in frame.dtypes.items()}


def check_columns(frames: Frames) -> None:
    assert dict(list(dtypes(frames.runs).items())[: len(RUN_COLUMNS)]) == RUN_COLUMNS
    assert dtypes(frames.measurements) == MEASUREMENT_COLUMNS
    assert dtypes(frames.curves) == CURVE_COLUMNS
    assert dtypes(frames.trials) == TRIAL_COLUMNS
    assert dtypes(frames.differences) == DIFFERENCE_COLUMNS


def test_columns_and_dtypes_are_as_documented(filled: Frames) -> None:
    check_columns(filled)
    more = dtypes(filled.runs.iloc[:, len(RUN_COLUMNS) :])
    kinds = {name.partition(".")[0]: kind for name, kind in more.items()}
    assert kinds == {"metric": "Float64", "tag": "string"}


def test_differences_are_those_of_the_reports_cells(filled: Frames) -> None:
    by_metric = filled.differences.set_index("metric")
    assert list(by_metric.index) == ["fd", "accuracy"]
    line = by_metric.loc["fd"]
    assert (line["row"], line["reference"], line["claim"]) == ("flow matching", "DFM", "primary")
    assert (line["difference"], line["num_common_seeds"], line["separable_from_best"]) == (10.0, 1, "no")


def test_an_empty_experiment_has_the_same_columns(database: Database) -> None:
    frames = make_frames(make_plan(uri=database.uri))
    check_columns(frames)
    assert (len(frames.runs), len(frames.curves)) == (0, 0)
    assert set(frames.measurements.status) == {"missing"}
    assert frames.measurements.value.isna().all()


def test_measurements_are_those_of_the_reports_table(filled: Frames) -> None:
    reading = read_records(filled.plan, None)
    table = render_report(JoinedSweep.of(filled.plan, reading.records))["table.csv"].decode()
    rows = list(csv.DictReader(io.StringIO(table)))
    assert len(rows) == len(filled.measurements)
    for row, found in zip(rows, filled.measurements.itertuples(), strict=True):
        assert (row["part"], row["row"], int(row["seed"]), row["metric"]) == (
            found.part,
            found.row,
            found.seed,
            found.metric,
        )
        assert float(row["value"]) == found.value


def test_every_number_stands_beside_its_run(filled: Frames, database: Database) -> None:
    for line in filled.measurements.itertuples():
        logged = database.client.get_run(line.run_id)
        assert logged.data.tags["dfm.digest"] == line.digest
        assert logged.data.metrics[line.metric] == line.value
    for (run_id, metric), points in filled.curves.groupby(["run_id", "metric"], observed=True):
        history = database.client.get_metric_history(run_id, metric)
        assert [(point.step, point.value) for point in history] == list(zip(points.step, points.value, strict=True))
    assert set(filled.trials.run_id) <= set(filled.runs.run_id)


def test_trials_have_the_compute_of_their_training(filled: Frames) -> None:
    assert list(filled.trials.row) == ["flow matching", "DFM"]
    assert set(filled.trials.training_flops) == {200 * 1e9}
    assert set(filled.trials.steps * filled.trials.batch_size) == {6400}


def test_missing_is_told_apart_from_nan(database: Database) -> None:
    database.run(evaluate_digest("DFM", 200), {"fd": math.nan})
    frames = make_frames(make_plan(uri=database.uri))
    found = frames.measurements.query("row == 'DFM' and step == 200").set_index("metric")
    assert (found.status["fd"], found.status["accuracy"]) == ("done", "missing")
    assert found.value.isna().to_dict() == {"fd": False, "accuracy": True}
    assert math.isnan(found.value["fd"])


def test_runs_that_count_for_nothing_are_there_and_marked(database: Database) -> None:
    counts = database.run(train_digest("DFM"), {"seconds": 1.0})
    stranger = database.run("another digest")
    deleted = database.run(evaluate_digest("DFM", 200))
    database.client.delete_run(deleted)
    runs = make_frames(make_plan(uri=database.uri)).runs.set_index("run_id")
    assert runs.counts.to_dict() == {counts: True, stranger: False, deleted: False}
    assert runs.deleted.to_dict() == {counts: False, stranger: False, deleted: True}
    assert runs["metric.seconds"].isna().to_dict() == {counts: False, stranger: True, deleted: True}
    assert runs.start_time.is_monotonic_increasing


def test_load_finds_a_sweep_by_its_file(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DFM_STORAGE_ROOT", raising=False)
    (tmp_path / "plans").mkdir()
    (tmp_path / "plans/small.json").write_text(json.dumps(plan_document(database.uri)))
    (tmp_path / "small.yaml").write_text(f"name: small\nstorage: {{root: {tmp_path}}}\n")
    assert analysis.load(tmp_path / "small.yaml").plan.sweep == "small"
    with pytest.raises(UserError, match="has no published plan here"):
        analysis.load(str(tmp_path / "small.yaml"), storage=str(tmp_path / "elsewhere"))
