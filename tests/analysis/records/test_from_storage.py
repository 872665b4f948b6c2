"""A report without MLflow: out of the records in the storage root, and it says so."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

import pytest

from analysis.__main__ import main
from analysis.errors import UserError
from analysis.plan.protocol import Protocol
from analysis.records.from_storage import read_record_files
from analysis.records.stored_files import StorageRoot
from tests.support.plans import Database, evaluate_digest, make_plan, plan_document, png, train_digest

TRAIN, EVALUATE = train_digest("DFM"), evaluate_digest("DFM", 200)
CURVE = [{"step": 10.0, "loss": 5.0, "loss_stage_0": 2.0, "t": 0.5}, {"step": 200.0, "loss": math.inf}]


def write(
    root: Path, digest: str, metrics: dict[str, float], files: dict[str, bytes] | None = None, **more: Any
) -> None:
    folder = root / "results" / digest
    folder.mkdir(parents=True, exist_ok=True)
    document = {"digest": digest, "kind": digest.split()[0], "metrics": metrics, "seconds": 3.0, "step": 200}
    document |= {"curve": [], "files": list(files or {}), "about": {}, **more}
    (folder / "result.json").write_text(json.dumps(document))
    for name, data in (files or {}).items():
        (folder / name).write_bytes(data)


def read(root: Path) -> Any:
    return read_record_files(make_plan(uri="sqlite:////nowhere/m.db"), StorageRoot(str(root)))


def test_a_record_is_what_the_run_in_mlflow_says(tmp_path: Path) -> None:
    write(tmp_path, TRAIN, {"accelerator_seconds": 7.0}, curve=CURVE)
    protocol = {"metric": "fd", "network": "n", "weights_sha256": "w", "preprocessing": "p", "num_samples": 9}
    protocol |= {"reference": "r", "guidance": 1.0, "ema_decay": 0.9, "label_sampling": "b", "settings": ""}
    about = {"notes": {"fd": ["few"]}, "protocols": {"fd": protocol}}
    write(tmp_path, EVALUATE, {"fd": math.nan}, {"samples.png": png()}, about=about)
    found = read(tmp_path)
    assert set(found) == {TRAIN, EVALUATE}
    assert (found[TRAIN].status, found[TRAIN].metrics) == ("done", {"accelerator_seconds": 7.0, "seconds": 3.0})
    assert found[TRAIN].curves == {"loss": [(10, 5.0), (200, math.inf)], "loss_stage_0": [(10, 2.0)]}
    assert found[TRAIN].notes == ("loss is not finite at 1 of 2 points, first at step 200",)
    assert math.isnan(found[EVALUATE].metrics["fd"])
    assert found[EVALUATE].image == png()
    assert found[EVALUATE].about.notes == {"fd": ("few",)}
    assert isinstance(found[EVALUATE].about.protocols["fd"], Protocol)
    assert found[EVALUATE].path == f"results/{EVALUATE}/result.json"
    assert (found[EVALUATE].run_id, found[EVALUATE].url) == ("", "")


def test_a_training_that_is_to_go_on_is_not_done(tmp_path: Path) -> None:
    write(tmp_path, TRAIN, {}, step=150, curve=CURVE[:1])
    found = read(tmp_path)[TRAIN]
    assert (found.status, found.notes) == ("missing", ("the record ends at step 150 of 200",))
    assert found.curves["loss"] == [(10, 5.0)]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "not a JSON object"),
        ('{"digest": "x"', "not a JSON object"),
        ('{"digest": "x", "kind": "train"}', "of train x"),
        (f'{{"digest": "{TRAIN}", "kind": "train"}}', "lacks 'step'"),
        (f'{{"digest": "{TRAIN}", "kind": "train", "step": 200, "seconds": 1, "metrics": 3}}', "int"),
    ],
)
def test_a_broken_record_counts_for_nothing_and_says_so(tmp_path: Path, text: str, reason: str) -> None:
    write(tmp_path, TRAIN, {})
    (tmp_path / "results" / TRAIN / "result.json").write_text(text)
    found = read(tmp_path)[TRAIN]
    assert (found.status, found.metrics) == ("missing", {})
    (note,) = found.notes
    assert note.startswith(f"results/{TRAIN}/result.json is no record of this task (")
    assert reason in note


@pytest.mark.timeout(60)
def test_a_pipe_in_the_place_of_a_record_or_picture_counts_for_nothing(tmp_path: Path) -> None:
    write(tmp_path, EVALUATE, {"fd": 1.0})
    os.mkfifo(tmp_path / "results" / EVALUATE / "samples.png")
    (tmp_path / "results" / TRAIN).mkdir()
    os.mkfifo(tmp_path / "results" / TRAIN / "result.json")
    found = read(tmp_path)
    assert (found[EVALUATE].status, found[EVALUATE].image) == ("done", None)
    assert (found[TRAIN].status, len(found[TRAIN].notes)) == ("missing", 1)


def test_a_storage_that_cannot_be_read_is_a_mistake_of_the_user(tmp_path: Path) -> None:
    (tmp_path / "results").write_text("a file")
    with pytest.raises(UserError, match=r"its records cannot be read .*check --storage"):
        read(tmp_path)


def publish_plan(root: Path, uri: str) -> list[str]:
    (root / "plans").mkdir(parents=True)
    (root / "plans/small.json").write_text(json.dumps(plan_document(uri)))
    (root / "small.yaml").write_text("name: small\n")
    return [str(root / "small.yaml"), "--storage", str(root)]


def test_where_mlflow_is_away_the_report_is_of_the_records_and_says_so_everywhere(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    uri = f"sqlite:///{tmp_path}/absent.db"
    arguments = publish_plan(tmp_path, uri)
    write(tmp_path, EVALUATE, {"fd": 20.0, "fd_standard_error": 1.0})
    assert main(arguments) == 0
    printed = capsys.readouterr()
    alarm = f"Without MLflow: {uri} could not be read (No such file or directory)"
    assert printed.err.startswith(f"warning: {alarm}")
    assert "1 of 4 cells filled" in printed.out
    report = tmp_path / "reports/small"
    page = (report / "report.html").read_text()
    assert page.index('<p class="alarm" role="alert">Without MLflow') < page.index("<dl")
    for name in ("table.md", "table.tex", *(path.name for path in (report / "tables").glob("0*.md"))):
        path = report / name if (report / name).exists() else report / "tables" / name
        assert "Without MLflow" in path.read_text()
    before = {path: path.read_bytes() for path in report.rglob("*") if path.is_file()}
    assert main(arguments) == 0
    assert {path: path.read_bytes() for path in report.rglob("*") if path.is_file()} == before


def test_where_mlflow_answers_nothing_of_that_is_said(database: Database, tmp_path: Path) -> None:
    arguments = publish_plan(tmp_path / "store", database.uri)
    write(tmp_path / "store", EVALUATE, {"fd": 20.0})
    assert main(arguments) == 0
    page = (tmp_path / "store/reports/small/report.html").read_text()
    assert "Without MLflow" not in page
    assert 'class="alarm"' not in page


def test_without_mlflow_and_records_nothing_is_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(publish_plan(tmp_path, f"sqlite:///{tmp_path}/absent.db")) == 2
    assert "tracking database sqlite:///" in capsys.readouterr().err
    assert not (tmp_path / "reports").exists()
