"""The command `dfm`: the entry points by name, completion, JSON, and a wheel that holds what they need."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from orchestration.cli import COMMANDS
from orchestration.common.project import version
from tests.orchestration.conftest import QUICKSTART, ROOT


def dfm(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **variables}
    command = [sys.executable, "-m", "orchestration.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False, timeout=120)


def completions(line: str, folder: Path) -> set[str]:
    """Words that a shell is offered at the end of a line."""
    found = folder / "completions"
    dfm(
        _ARGCOMPLETE="1",
        _ARGCOMPLETE_STDOUT_FILENAME=str(found),
        _ARGCOMPLETE_IFS=" ",
        COMP_LINE=line,
        COMP_POINT=str(len(line)),
    )
    return {word.strip() for word in found.read_text().split()}


def test_the_help_names_every_command() -> None:
    done = dfm("--help")
    assert done.returncode == 0
    for name, (_, about) in COMMANDS.items():
        assert name in done.stdout
        assert about.split(",")[0].split()[0] in done.stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_is_an_entry_point_under_its_name(command: str) -> None:
    done = dfm(command, "--help")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"usage: dfm {command} ")


def test_a_command_misspelled_is_one_message_and_code_2() -> None:
    done = dfm("swep", str(QUICKSTART))
    assert done.returncode == 2
    assert done.stderr.endswith("did you mean 'sweep'?\n")
    assert dfm().returncode == 2


@pytest.mark.parametrize("arguments", [("--version",), ("sweep", "--version")])
def test_the_version_is_that_of_the_package(arguments: tuple[str, ...]) -> None:
    assert dfm(*arguments).stdout == f"dfm {version()}\n"


def test_commands_and_their_options_are_completed(tmp_path: Path) -> None:
    assert completions("dfm re", tmp_path) == {"report", "reproduce"}
    assert completions("dfm sweep --st", tmp_path) == {"--status", "--stop"}
    assert completions("dfm reproduce --sc", tmp_path) == {"--scale"}
    assert completions("dfm report --st", tmp_path) == {"--storage"}


def test_plan_and_status_are_json_for_programs(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    for mode in ("--dry-run", "--status"):
        done = dfm("sweep", str(QUICKSTART), mode, "--json", f"storage.root={tmp_path / 'runs'}")
        assert done.returncode == 0, done.stderr
        document = json.loads(done.stdout)
        assert document["sweep"] == "quickstart"
        assert document["left"]["tasks"] == 21  # 3 trainings, 15 evaluations and what they are held against
        assert {task["state"] for task in document["tasks"].values()} == {"to do"}
        assert {digest for row in document["rows"] for digest in row["trainings"]} <= document["tasks"].keys()
    assert document["counts"]["to do"] == 21
    assert document["driver"] == "No driver has run this sweep here."


def test_json_of_a_run_is_a_mistake() -> None:
    done = dfm("sweep", str(QUICKSTART), "--json")
    assert done.returncode == 2
    assert "--json goes with --dry-run or --status" in done.stderr


def test_colours_are_for_terminals_alone() -> None:
    for variables in ({}, {"NO_COLOR": "1"}, {"TERM": "xterm-256color"}):
        assert "\x1b" not in dfm("sweep", str(QUICKSTART), "--dry-run", **variables).stdout


def test_a_wheel_holds_all_data_files_and_the_shipped_sweeps(tmp_path: Path) -> None:
    source = tmp_path / "source"
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    for name in tracked:
        if not name.startswith(("tests/", "docs/", "benchmarks/")):
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    build = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(tmp_path)]
    subprocess.run([*build, str(source)], check=True, capture_output=True, timeout=120)
    (wheel,) = tmp_path.glob("*.whl")
    held = set(zipfile.ZipFile(wheel).namelist())
    tops = ("dfm_core/", "orchestration/", "analysis/")
    assert {name for name in tracked if name.startswith(tops)} <= held
    sweeps = {name.removeprefix("sweeps/") for name in tracked if name.startswith("sweeps/")}
    assert {f"orchestration/shipped_sweeps/{name}" for name in sweeps} <= held


@pytest.mark.parametrize("program", [["orchestration/sweep.py"], ["-m", "analysis"], ["-m", "orchestration.doctor"]])
def test_a_python_without_the_packages_is_told_in_one_message(program: list[str]) -> None:
    bare = [sys.executable, "-S", "-E", *program, "sweeps/quickstart.yaml"]  # without site-packages
    done = subprocess.run(bare, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "lacks the packages of this project" in done.stderr
    assert "Traceback" not in done.stderr
