"""The command line: light and fast to plan, exit code 2 for the user's mistakes, from any folder."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace

import pytest

from orchestration.commands.garbage import ask_on_terminal
from orchestration.storage.store import Store
from orchestration.tasks.task import TrainTask
from tests.orchestration.conftest import QUICKSTART, ROOT, TINY
from tests.support.lost_output import run_losing
from tests.support.stored_sweeps import ONE_ROW, finish, publish, publish_checkpoint, tiny_plan

HEAVY = ("torch", "ray", "deepspeed", "mlflow", "optuna", "pandas", "matplotlib", "scipy")


def sweep(
    *arguments: str, cwd: Path = ROOT, python: tuple[str, ...] = (), variables: Mapping[str, str] = os.environ
) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in variables.items() if name != "DFM_STORAGE_ROOT"}
    return subprocess.run(
        [sys.executable, *python, str(ROOT / "orchestration" / "sweep.py"), *arguments],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_a_dry_run_prints_the_plan_and_creates_nothing(tmp_path: Path) -> None:
    done = sweep(str(QUICKSTART), "--dry-run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "6 trials share 3 trainings; 18 cells share 15 evaluations." in done.stdout
    for word in ("FLOPs", "accelerator-hours at an assumed", "MB", "trained as paradigm / DFM"):
        assert word in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_a_plan_of_one_says_so_in_the_singular(tmp_path: Path) -> None:
    (tmp_path / "one.yaml").write_text("name: one\nevaluation: {at_steps: [5]}\ntraining: {steps: 5}\n")
    done = sweep("one.yaml", "--dry-run", cwd=tmp_path)
    assert " for 1 trial\n" in done.stdout, done.stderr
    assert " share " not in done.stdout, "nothing is shared"
    assert re.search(r"^\d+ tasks to do\.$", done.stdout, re.MULTILINE)


def test_the_plan_of_a_search_says_what_it_will_do_and_how_long_it_takes(tmp_path: Path) -> None:
    space = "{sampling.tau: {uniform: [0.5, 0.9]}}"
    search = f"{{space: {space}, objectives: {{fd_lite0_block10: minimize}}, num_trials: 20}}"
    (tmp_path / "my.yaml").write_text(f"name: my_search\nparts: {{p: {{search: {search}}}}}\n")
    done = sweep("my.yaml", "--dry-run", cwd=tmp_path)
    assert done.stdout.startswith("my_search: a search of 20 trials\n"), done.stderr
    assert not re.search(r"\b0 (tasks|trials)|to do", done.stdout)
    assert re.search(r"That is about .* on 2 workers, \S+ accelerator-hours at an assumed", done.stdout)


def test_a_row_is_shown_with_the_origin_of_each_value(tmp_path: Path) -> None:
    (tmp_path / "site.yaml").write_text("workers: {log_every: 3}\n")
    done = sweep(
        str(QUICKSTART), "sampling.guidance=3.0", "--show", "paradigm / DFM", "--site", "site.yaml", cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert re.search(r"^  guidance: 3.0 +# command line$", done.stdout, re.M)
    assert list(tmp_path.iterdir()) == [tmp_path / "site.yaml"]


def test_the_site_beside_a_sweep_is_taken_and_named_with_the_plan(tmp_path: Path) -> None:
    (tmp_path / "site.yaml").write_text("storage: {root: /somewhere/else}\n")
    (tmp_path / "one.yaml").write_text("name: one\nevaluation: {at_steps: [5]}\ntraining: {steps: 5}\n")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("DFM_")}
    done = sweep("one.yaml", "--dry-run", cwd=tmp_path, variables=environment)
    assert "Site: site.yaml\n" in done.stdout, done.stderr
    assert "Storage: /somewhere/else (site.yaml)\n" in done.stdout


@pytest.mark.parametrize("mode", ["--dry-run", "--status", "--gc", "--stop"])
def test_what_only_looks_imports_few_modules_and_none_that_is_heavy(tmp_path: Path, mode: str) -> None:
    done = sweep(str(QUICKSTART), mode, cwd=tmp_path, python=("-X", "importtime"))
    assert done.returncode == 0
    loaded = [line.rsplit("|", 1)[-1].strip() for line in done.stderr.splitlines() if "|" in line]
    assert not {name.split(".")[0] for name in loaded} & set(HEAVY)
    assert len(loaded) < 1100


@pytest.mark.proves(25)
def test_mistakes_end_with_code_2_all_listed_and_no_traceback(tmp_path: Path) -> None:
    done = sweep(str(QUICKSTART), "training.steps=-1", "modle.size=B", "sampling.tau=2", cwd=tmp_path)
    assert done.returncode == 2
    assert "3 mistakes; nothing was started:" in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("root", "expected"),
    [
        ("/dev/null/runs", "command line: storage.root: /dev/null/runs: /dev/null is a file; give a folder"),
        ("/proc/runs", "command line: storage.root: cannot write to /proc/runs"),
        ("nosuch://bucket", "command line: storage.root: 'nosuch://bucket'"),
        ("/etc/passwd", "/etc/passwd is a file"),
    ],
)
def test_storage_that_cannot_be_used_is_named(tmp_path: Path, root: str, expected: str) -> None:
    done = sweep(str(QUICKSTART), f"storage.root={root}", cwd=tmp_path)
    assert done.returncode == 2
    assert expected in done.stderr
    assert "Traceback" not in done.stderr


def test_a_file_that_is_not_there_is_a_users_mistake(tmp_path: Path) -> None:
    done = sweep("sweeps/quikstart.yaml", cwd=tmp_path)
    assert done.returncode == 2
    assert "no such file" in done.stderr


def test_an_unreachable_tracking_server_is_found_before_anything_starts(tmp_path: Path) -> None:
    with socket.socket() as listener:  # bound but not listening: connections are refused
        listener.bind(("127.0.0.1", 0))
        uri = f"http://127.0.0.1:{listener.getsockname()[1]}"
        done = sweep(str(QUICKSTART), f"storage.root={tmp_path}", f"tracking.uri={uri}", cwd=tmp_path)
    assert done.returncode == 2
    assert "tracking.uri: cannot use MLflow" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_taken_port_is_named_by_the_demo(tmp_path: Path) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        done = subprocess.run(
            [sys.executable, "-m", "orchestration.demo", "--dashboard-port", str(port)],
            cwd=ROOT,
            env=os.environ | {"DFM_STORAGE_ROOT": str(tmp_path)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 2
    assert f"--dashboard-port {port}: cannot be used" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("root", ["/etc/passwd", "/tmp/" + "x" * 300])
def test_a_root_that_cannot_be_read_stops_a_dry_run_too(tmp_path: Path, root: str) -> None:
    done = sweep(str(QUICKSTART), "--dry-run", f"storage.root={root}", cwd=tmp_path)
    assert done.returncode == 2
    assert "storage.root" in done.stderr
    assert "Traceback" not in done.stderr


def test_names_that_look_like_markup_are_shown_as_written(tmp_path: Path) -> None:
    done = sweep(str(QUICKSTART), "--dry-run", "parts={p: {rows: {'[/x] [bold]y': {}}}}", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "[/x] [bold]y" in done.stdout


@pytest.mark.parametrize("mode", ["--dry-run", "--status", "--gc --yes", "--stop", "training.steps=-1"])
@pytest.mark.parametrize("lost", ["<&-", "<&- >&- 2>&-", ">/dev/full 2>&1", "2>&1 | true"])
def test_a_lost_reader_changes_no_exit_code(mode: str, lost: str, tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "orchestration" / "sweep.py"), str(QUICKSTART), *mode.split()]
    code, read = run_losing(lost, command, tmp_path)
    assert code == (2 if "steps" in mode else 0), read
    assert "Traceback" not in read
    assert "Exception ignored" not in read


@pytest.mark.parametrize("ends", [EOFError, OSError])
def test_a_terminal_that_closes_at_the_question_of_gc_confirms_nothing(
    ends: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    def closes(_question: str) -> str:
        raise ends

    monkeypatch.setattr("sys.stdin", SimpleNamespace(isatty=lambda: True))
    monkeypatch.setattr("builtins.input", closes)
    assert not ask_on_terminal()


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("--status", "No driver has run this sweep here."),
        ("--gc", "Nothing is left over."),
        ("--stop", "There is nothing to stop."),
    ],
)
def test_a_root_where_nothing_ran_is_looked_at_and_nothing_is_created(tmp_path: Path, mode: str, expected: str) -> None:
    done = sweep(str(QUICKSTART), mode, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert expected in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_what_is_left_over_goes_only_with_yes(tmp_path: Path) -> None:
    plan, store = tiny_plan(), Store(str(tmp_path / "runs"))
    publish(store, plan)
    left = f"checkpoints/{'a' * 20}"
    publish_checkpoint(store, "a" * 20, 4)
    asked = sweep(str(QUICKSTART), "--gc", cwd=tmp_path)
    assert asked.returncode == 0
    assert "Nothing was removed; --gc --yes removes it." in asked.stdout
    assert store.exists(left)
    confirmed = sweep(str(QUICKSTART), "--gc", "--yes", cwd=tmp_path)
    assert confirmed.returncode == 0
    assert "Removed 1 artifact, " in confirmed.stdout
    assert not store.exists(left)


def test_a_plan_that_cannot_be_read_makes_gc_refuse(tmp_path: Path) -> None:
    Store(str(tmp_path / "runs")).write("plans/strange.json", b"{")
    done = sweep(str(QUICKSTART), "--gc", "--yes", cwd=tmp_path)
    assert done.returncode == 2
    assert "strange.json is damaged" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--yes"], "--yes goes with --gc"),
        (["--gc", "--status"], "not allowed with argument"),
        (["--max-accelerator-hours", "0", "--dry-run"], "workers.max_accelerator_hours: 0 should be greater than 0"),
        (["--max-accelerator-hours", "long", "--dry-run"], "workers.max_accelerator_hours: 'long' should be a valid"),
        (["--max-accelerator-hours", "nan", "--dry-run"], "workers.max_accelerator_hours: 'nan' should be a valid"),
        (["workers.max_accelerator_hours_per_training=-1", "--dry-run"], "per_training: -1 should be greater than 0"),
    ],
)
def test_options_that_make_no_sense_end_with_code_2(tmp_path: Path, arguments: list[str], expected: str) -> None:
    done = sweep(str(QUICKSTART), *arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert expected in done.stderr
    assert "Traceback" not in done.stderr


def test_a_budget_that_is_spent_already_starts_nothing_and_ends_with_code_4(tmp_path: Path) -> None:
    plan, store = tiny_plan(), Store(str(tmp_path / "runs"))
    (train,) = plan.of_kind(TrainTask)
    finish(store, train, {"accelerator_seconds": 7200.0, "training_flops": float(train.flops)}, device="cpu")
    done = sweep(str(QUICKSTART), *TINY, ONE_ROW, "--max-accelerator-hours", "1.5", cwd=tmp_path)
    assert done.returncode == 4, done.stderr
    assert "Spent so far: 2 of 1.5 (workers.max_accelerator_hours) accelerator-hours." in done.stdout
    assert "Stopped: 2 of 1.5 accelerator-hours are spent (workers.max_accelerator_hours). 5 tasks are" in done.stdout
    assert "measured on 1 finished training of size nano" in done.stdout
    assert "e.g. --max-accelerator-hours 4, goes on from here." in done.stdout
    assert "Ray:" not in done.stdout


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_label_that_the_output_cannot_encode_is_printed_with_replaced_letters(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "sweep.yaml"
    base = QUICKSTART.parent / "base" / "fashion_mnist_small.yaml"
    path.write_text(f"name: a\nbase: {base}\nparts: {{p: {{rows: {{ours 𝜏 日本: {{}}}}}}}}\n", encoding="utf-8")
    for arguments, code in (("--dry-run", 0), ("evaluation.sede𝜏=1", 2)):
        done = subprocess.run(
            [
                sys.executable,
                str(ROOT / "orchestration" / "sweep.py"),
                str(path),
                arguments,
                f"storage.root={tmp_path}/r",
            ],
            env=os.environ | {"PYTHONIOENCODING": encoding, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            encoding="latin-1",
            check=False,
        )
        assert done.returncode == code, done.stderr
        assert "Traceback" not in done.stderr
        assert "ours ? ??" in done.stdout or "sede?" in done.stderr
