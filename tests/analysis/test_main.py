"""`python -m analysis`: exit codes, and where it looks."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from unittest.mock import ANY

import pytest

from analysis.__main__ import main
from tests.support.lost_output import run_losing
from tests.support.plans import Database, make_plan, plan_document

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _no_root_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DFM_STORAGE_ROOT", raising=False)


def publish_plan(root: Path, uri: str) -> None:
    (root / "plans").mkdir(parents=True)
    (root / "plans/small.json").write_text(json.dumps(plan_document(uri)))


def sweep_file(folder: Path, text: str = "name: small\n") -> str:
    path = folder / "small.yaml"
    path.write_text(text)
    return str(path)


def test_the_command_writes_the_report_into_the_storage_root(
    database: Database, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    publish_plan(tmp_path / "store", database.uri)
    assert main([sweep_file(tmp_path), "--storage", str(tmp_path / "store")]) == 0
    assert (tmp_path / "store/reports/small/report.html").is_file()
    assert capsys.readouterr().out.startswith(f"{tmp_path}/store/reports/small/report.html: 0 of 4 cells filled")


def test_the_command_writes_where_it_is_told(database: Database, tmp_path: Path) -> None:
    publish_plan(tmp_path / "store", database.uri)
    arguments = [sweep_file(tmp_path), "--storage", str(tmp_path / "store"), "--output", str(tmp_path / "elsewhere")]
    assert main(arguments) == 0
    assert (tmp_path / "elsewhere/report.html").is_file()


@pytest.mark.parametrize("yaml", ["storage: {root: %s}", "storage.root: %s"])
def test_the_root_of_the_sweep_file_yields_to_the_environment(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, yaml: str
) -> None:
    publish_plan(tmp_path / "store", database.uri)
    sweep = sweep_file(tmp_path, f"name: small\n{yaml % (tmp_path / 'store')}\n")
    assert main([sweep]) == 0
    monkeypatch.setenv("DFM_STORAGE_ROOT", str(tmp_path / "empty"))
    assert main([sweep]) == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "no such file; give the YAML file that was submitted"),
        ("a: [", "not YAML"),
        ("- a", "a sweep file needs the key 'name'"),
        ("name: ../../etc", "must be 1 to 64 letters"),
        ("name: small\nx: " + "[" * 5000, "not YAML"),
        ("title: x", "a sweep file needs the key 'name'"),
        ("name: small", "has no published plan here; submit it first"),
    ],
)
def test_mistakes_of_the_user_are_one_line_and_exit_code_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str | None, message: str
) -> None:
    sweep = str(tmp_path / "absent.yaml") if text is None else sweep_file(tmp_path, text)
    assert main([sweep, "--storage", str(tmp_path)]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("error: ")
    assert printed.err.count("\n") == 1
    assert message in printed.err


def test_an_absent_tracking_database_is_exit_code_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    publish_plan(tmp_path, f"sqlite:///{tmp_path}/absent.db")
    assert main([sweep_file(tmp_path), "--storage", str(tmp_path)]) == 2
    assert "tracking database sqlite:///" in capsys.readouterr().err


@pytest.mark.parametrize("lost", ["<&-", "<&- >&- 2>&-", ">/dev/full 2>&1", "2>&1 | true"])
def test_a_lost_reader_changes_neither_report_nor_exit_code(database: Database, tmp_path: Path, lost: str) -> None:
    publish_plan(tmp_path, database.uri)
    command = [sys.executable, "-m", "analysis", sweep_file(tmp_path), "--storage", str(tmp_path)]
    assert run_losing(lost, command, ROOT) == (0, "" if lost != "<&-" else ANY)
    assert (tmp_path / "reports/small/report.html").is_file()
    assert run_losing(lost, [*command, "--storage", "/nowhere"], ROOT)[0] == 2


def test_the_module_runs_from_a_shell_without_torch_or_ray(database: Database, tmp_path: Path) -> None:
    publish_plan(tmp_path, database.uri)
    database.fill(make_plan(uri=database.uri), {"flow matching": 30.0, "DFM": 20.0})
    program = (
        "import sys; from analysis.__main__ import main; code = main(sys.argv[1:]); "
        "forbidden = {'torch', 'ray', 'orchestration', 'dfm_core', 'matplotlib.pyplot'}; "
        "assert not forbidden & set(sys.modules); sys.exit(code)"
    )
    command = [sys.executable, "-c", program, sweep_file(tmp_path), "--storage", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
