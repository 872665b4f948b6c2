"""The paper's tables in one command: what it runs, what it refuses, what it prints at the end."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from orchestration import reproduce
from orchestration.common.errors import Problem
from orchestration.common.exit_codes import (
    EXIT_CLUSTER_LOST,
    EXIT_HANGUP,
    EXIT_INTERRUPTED,
    EXIT_STOPPED,
    EXIT_TERMINATED,
    EXIT_TRACKING_INCOMPLETE,
)
from tests.orchestration.conftest import ROOT
from tests.support.plans import Database, plan_document

HEAVY = ("torch", "ray", "deepspeed", "mlflow", "omegaconf", "pandas", "matplotlib", "scipy")
Codes = dict[str, int | BaseException]


def command(
    *arguments: str, cwd: Path, python: tuple[str, ...] = (), checkout: Path = ROOT
) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name not in ("DFM_STORAGE_ROOT", "PYTHONPATH")}
    return subprocess.run(
        [sys.executable, *python, str(checkout / "orchestration" / "reproduce.py"), *arguments],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_a_dry_run_prints_the_plan_from_any_folder_and_creates_nothing(tmp_path: Path) -> None:
    done = command("table1", "--dry-run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "table1_small.yaml, sweep 1 of 1" in done.stdout
    assert "trials share" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_help_imports_nothing_heavy(tmp_path: Path) -> None:
    done = command("--help", cwd=tmp_path, python=("-X", "importtime"))
    assert done.returncode == 0
    shown = " ".join(done.stdout.split())
    assert "table1, table2, table3, table4, figure3; default: all, of the small ones those that need no files" in shown
    loaded = [line.rsplit("|", 1)[-1].strip() for line in done.stderr.splitlines() if "|" in line]
    assert not {name.split(".")[0] for name in loaded} & set(HEAVY)
    assert len(loaded) < 250


def test_the_script_uses_its_own_checkout_although_another_is_installed(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "orchestration", tmp_path / "orchestration")
    with (tmp_path / "orchestration" / "sweep.py").open("a") as module:
        module.write("\nprint('this checkout')\n")
    done = command("--help", cwd=tmp_path, checkout=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("this checkout")


def test_mistakes_end_with_code_2_all_listed_with_the_nearest_and_no_traceback(tmp_path: Path) -> None:
    done = command("tabel2", "table7", "--scale", "smal", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "3 mistakes; nothing was started:",
        "  table: 'tabel2' is not one of table1, table2, table3, table4, figure3; did you mean 'table2'?",
        "  table: 'table7' is not one of table1, table2, table3, table4, figure3; did you mean 'table4'?",
        "  --scale: 'smal' is not one of small, full; did you mean 'small'?",
    ]


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[list[str]]]:
    """Replaces the sweeps by two small ones, and running them by given exit codes; returns what would have run."""

    def pretend(**codes: int | BaseException) -> list[list[str]]:
        calls: list[list[str]] = []

        def run(arguments: Sequence[str]) -> int:
            calls.append([Path(arguments[0]).name, *arguments[1:]])
            code = codes.get(Path(arguments[0]).stem, 0)
            if isinstance(code, BaseException):
                raise code
            return code

        sweeps = {
            ("table1", "small"): ("table1_small.yaml",),
            ("table2", "small"): ("quickstart.yaml", "appendix_f_small.yaml"),
            ("table2", "full"): ("table1.yaml", "nosuch.yaml"),
        }
        monkeypatch.setattr(reproduce, "SWEEPS", sweeps)
        monkeypatch.setattr(reproduce, "run_sweep", run)
        return calls

    return pretend


def test_every_table_has_sweeps_at_both_scales_and_they_are_there() -> None:
    tables = {"table1", "table2", "table3", "table4", "figure3"}
    assert set(reproduce.SWEEPS) == {(table, scale) for table in tables for scale in ("small", "full")}
    for names in reproduce.SWEEPS.values():
        assert all((ROOT / "sweeps" / name).is_file() for name in names)


def test_without_a_table_all_run_at_the_small_scale_with_the_overrides(
    ran: Callable[..., list[list[str]]], tmp_path: Path
) -> None:
    calls = ran()
    overrides = [f"storage.root={tmp_path}", "training.warmup_steps=7"]
    assert reproduce.main(overrides) == 0
    assert calls == [[name, *overrides] for name in ("table1_small.yaml", "quickstart.yaml", "appendix_f_small.yaml")]


def test_a_table_given_twice_runs_once_and_a_dry_run_is_passed_on(
    ran: Callable[..., list[list[str]]], tmp_path: Path
) -> None:
    calls = ran()
    root = f"storage.root={tmp_path}"
    assert reproduce.main(["table1", root, "table1", "--dry-run"]) == 0
    assert calls == [["table1_small.yaml", root, "--dry-run"]]


def test_files_around_the_sweeps_are_for_all_of_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[list[str]] = []
    monkeypatch.setattr(reproduce, "run_sweep", lambda arguments: started.append(list(arguments)) or 0)
    site = tmp_path / "site.yaml"
    site.write_text(f"storage: {{root: {tmp_path}/root}}\n")
    assert reproduce.main(["table1", "--dry-run", "--site", str(site)]) == 0
    assert started[0][1:] == ["--site", str(site), "--dry-run"]
    assert reproduce.main(["table1", "--dry-run", "--site", str(tmp_path / "none.yaml")]) == 2


@pytest.mark.parametrize(
    ("codes", "worst", "num_run"),
    [
        ({"quickstart": 1}, 1, 3),
        ({"table1_small": 2, "quickstart": 1}, 2, 3),
        ({"table1_small": ValueError("a fault of ours")}, 1, 3),
        ({"quickstart": EXIT_INTERRUPTED}, EXIT_INTERRUPTED, 2),
        ({"quickstart": KeyboardInterrupt()}, EXIT_INTERRUPTED, 2),
        ({"quickstart": EXIT_STOPPED}, EXIT_STOPPED, 2),
        ({"quickstart": EXIT_CLUSTER_LOST}, EXIT_CLUSTER_LOST, 2),
        ({"quickstart": EXIT_HANGUP}, EXIT_HANGUP, 2),
        ({"quickstart": EXIT_TERMINATED}, EXIT_TERMINATED, 2),
        ({"quickstart": EXIT_TRACKING_INCOMPLETE}, EXIT_TRACKING_INCOMPLETE, 3),
        ({"table1_small": EXIT_TRACKING_INCOMPLETE, "quickstart": 1}, 1, 3),
    ],
)
def test_the_worst_exit_code_ends_it_and_only_an_interruption_leaves_out_sweeps(
    ran: Callable[..., list[list[str]]], tmp_path: Path, codes: Codes, worst: int, num_run: int
) -> None:
    calls = ran(**codes)
    assert reproduce.main([f"storage.root={tmp_path}"]) == worst
    assert len(calls) == num_run


def test_the_mistakes_of_all_sweeps_are_listed_before_the_first_one_runs(
    ran: Callable[..., list[list[str]]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    calls = ran()
    assert reproduce.main(["table2", "--scale", "full", "trainign.steps=3", f"storage.root={tmp_path}"]) == 2
    problems = capsys.readouterr().err
    assert "nosuch.yaml: no such file" in problems
    assert problems.count("unknown key 'trainign.steps'; did you mean 'training.steps'") == 1
    assert calls == []


def test_a_scale_that_a_table_does_not_have_is_named(
    ran: Callable[..., list[list[str]]], capsys: pytest.CaptureFixture[str]
) -> None:
    calls = ran()
    assert reproduce.main(["table1", "table2", "--scale", "full"]) == 2
    assert "table1: has no scale 'full'" in capsys.readouterr().err
    assert calls == []


def test_needs_of_the_sweeps_are_listed_before_the_first_runs_but_allow_a_dry_run(
    ran: Callable[..., list[list[str]]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    calls = ran()
    monkeypatch.setattr(
        "orchestration.plan.preflight.missing_inputs", lambda spec: [Problem(spec.name, "has no data here")]
    )
    assert reproduce.main(["table2", f"storage.root={tmp_path}"]) == 2
    assert capsys.readouterr().err.splitlines() == [
        "2 mistakes; nothing was started:",
        "  quickstart: has no data here",
        "  appendix_f_small: has no data here",
    ]
    assert calls == []
    assert reproduce.main(["table2", f"storage.root={tmp_path}", "--dry-run"]) == 0
    assert [name for name, *_ in calls] == ["quickstart.yaml", "appendix_f_small.yaml"]


def test_sweeps_that_an_override_gives_one_name_are_refused(
    ran: Callable[..., list[list[str]]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    calls = ran()
    assert reproduce.main(["table2", "name=mine", f"storage.root={tmp_path}"]) == 2
    assert "appendix_f_small.yaml: name: 'mine' is the name of another of these sweeps" in capsys.readouterr().err
    assert calls == []


def test_at_the_end_every_sweep_stands_beside_the_paper_or_says_why_not(
    ran: Callable[..., list[list[str]]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    ran(quickstart=1)
    database = Database(tmp_path / "mlflow.db")
    document = plan_document(
        database.uri,
        parts={"main": ("flow_matching", "dfm")},
        published={"table": "table2", "metrics": {"fd": "fid_50k"}, "same_setting": False},
        counterparts={"main": {"part": "imagenet_512", "guidance": 1.0}},
    )
    (tmp_path / "plans").mkdir()
    (tmp_path / "plans" / "quickstart.json").write_text(json.dumps(document))
    (tmp_path / "plans" / "table1_small.json").write_text(json.dumps(plan_document(database.uri)))
    for row, value in (("flow_matching", 30.0), ("dfm", 20.0)):
        database.run(f"evaluate {row} 200 0", {"fd": value}, step=200)
    assert reproduce.main([f"storage.root={tmp_path}"]) == 1
    printed = capsys.readouterr()
    assert "FD-Lite0: by the means alone 1 of 1 pairs agree; best mean: dfm." in printed.out
    assert "table1_small has no result yet that the paper prints a number for." in printed.out
    assert "appendix_f_small is not compared with the paper: " in printed.err
    assert "sweep 'appendix_f_small' has no published plan here" in printed.err
