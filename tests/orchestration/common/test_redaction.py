"""No secret in any output: of the environment, of storage options, of a URL; in messages, tracebacks and records."""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections.abc import Collection, Mapping
from concurrent.futures import Future
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from orchestration.artifacts.provenance import record_source
from orchestration.cluster.capacity import Capacity, NodeSize
from orchestration.common.errors import UserError
from orchestration.common.redaction import blanked, credentials_in, reason_of, secrets_of
from orchestration.config.storage import StorageConfig
from orchestration.config.storage_root import resolve_root
from orchestration.control.budget_meter import BudgetMeter
from orchestration.control.outcome import Outcome
from orchestration.launch import progress, task_loop
from orchestration.launch.launch_context import LaunchContext
from orchestration.launch.progress_display import Display
from orchestration.plan.plan import make_plan
from orchestration.plan.plan_json import plan_json
from orchestration.spec.load import load_sweep
from orchestration.storage.store import Store
from orchestration.tasks.task import Task, TrainTask
from tests.orchestration.conftest import QUICKSTART, ROOT, TINY
from tests.support.stored_sweeps import ONE_ROW, tiny_plan

SENTINEL = "sentinel/0f+3a=77"
ENVIRONMENT = {"AWS_SECRET_ACCESS_KEY": f"{SENTINEL}-1", "PGPASSWORD": f"{SENTINEL}-2", "HF_TOKEN": f"{SENTINEL}-3"}


@pytest.mark.parametrize(
    ("name", "value", "secret"),
    [
        ("AWS_SECRET_ACCESS_KEY", SENTINEL, True),
        ("MLFLOW_TRACKING_PASSWORD", SENTINEL, True),
        ("PGPASSWORD", SENTINEL, True),
        ("HF_TOKEN", SENTINEL, True),
        ("RAY_AUTH_TOKEN", SENTINEL, True),
        ("WANDB_API_KEY", SENTINEL, True),
        ("RAY_AUTH_TOKEN_PATH", "/home/me/.ray/auth_token", False),
        ("AWS_WEB_IDENTITY_TOKEN_FILE", "/var/run/token", False),
        ("TOKENIZERS_PARALLELISM", "disabled", False),
        ("SORT_BY_KEY", "true", False),
        ("MONKEY", "a banana", False),
    ],
)
def test_a_variable_is_a_secret_by_its_name(name: str, value: str, secret: bool) -> None:
    assert secrets_of({name: value}) == ([value] if secret else [])


def test_a_secret_is_blanked_as_it_is_and_as_a_url_has_it() -> None:
    assert blanked(f"a {SENTINEL} b sentinel%2F0f%2B3a%3D77", [SENTINEL]) == "a *** b ***"
    assert blanked("the longer one first: abcdef", ["abc", "abcdef"]) == "the longer one first: ***"


def test_what_a_storage_library_says_is_told_without_keys_and_signatures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", f"{SENTINEL}-1")
    options = {"secret": f"{SENTINEL}-2", "endpoint_url": "http://127.0.0.1:9000"}
    error = OSError(
        f"{SENTINEL}-1 {SENTINEL}-2 at http://127.0.0.1:9000/b?X-Amz-Signature={SENTINEL} for me:{SENTINEL}"
    )
    reason = reason_of(error, options)
    assert reason.startswith("OSError: *** *** at http://127.0.0.1:9000/b?*** for")
    assert f"{SENTINEL}-1" not in repr(StorageConfig(options=options))


def raised(*errors: Exception) -> Exception:
    """The last of errors, each raised from the one before."""
    for cause, error in itertools.pairwise(errors):
        error.__cause__ = cause
    return errors[-1]


@pytest.mark.parametrize(
    ("errors", "expected"),
    [
        ([ValueError("x\n y")], "ValueError: x y"),
        (
            [OSError("locked"), ValueError("[SQL] locked"), KeyError("bad data")],
            "OSError: locked (KeyError: 'bad data')",
        ),
        ([OSError("locked"), ValueError("(OSError) locked [SQL]")], "ValueError: (OSError) locked [SQL]"),
        ([OSError("locked"), ValueError("." * 400 + "locked")], f"OSError: locked (ValueError: {'.' * 271}"),
        ([TimeoutError(), ValueError("no answer")], "ValueError: no answer"),
    ],
)
def test_a_reason_begins_with_what_a_library_wrapped_unless_its_words_hold_it(
    errors: list[Exception], expected: str
) -> None:
    assert reason_of(raised(*errors)) == expected


def test_an_error_that_causes_itself_has_a_reason() -> None:
    first, second = ValueError("a"), OSError("b")
    first.__cause__, second.__cause__ = second, first
    assert reason_of(first) == "OSError: b (ValueError: a)"


def test_a_cause_is_shown_without_secrets() -> None:
    wrapped = raised(OSError("no http://me:secret@host/x?sig=1"), ValueError("commit"))
    assert reason_of(wrapped) == "OSError: no http://***@host/x?*** (ValueError: commit)"


@pytest.mark.parametrize(
    ("url", "credentials"),
    [
        ("https://me:pw@host", "a password"),
        ("https://0f3a77@host", "a user name or token"),
        ("s3://key:secret@bucket/dfm", "a password"),
        ("postgresql://me@host/db", ""),
        ("postgresql://host/db?user=me&password=pw", "a secret, password, in its query"),
        ("https://host/x?X-Amz-Signature=0f", "a secret, X-Amz-Signature, in its query"),
        ("https://host/x?sig=0f", "a secret, sig, in its query"),
        ("mssql+pyodbc:///?odbc_connect=UID%3Dme%3BPWD%3Dab1", "a secret in odbc_connect in its query"),
        ("https://host/x?versionId=3&design=a", ""),
        ("s3://bucket/dfm", ""),
        ("/data/runs", ""),
        ("http://[broken", ""),
    ],
)
def test_credentials_in_a_url_are_seen(url: str, credentials: str) -> None:
    assert credentials_in(url) == credentials


def test_a_storage_root_with_credentials_is_refused_and_they_are_not_repeated(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"storage.root: holds a password, which would be published") as caught:
        resolve_root("s3://key:open-sesame@bucket/dfm", "runs", {}, tmp_path)
    assert "sesame" not in str(caught.value)


@pytest.mark.parametrize("override", ["storage.options.secret=[20481]", "storage.options.secret=20481: ["])
def test_a_mistake_in_a_secret_does_not_repeat_it(override: str) -> None:
    with pytest.raises(UserError, match="secret") as caught:
        load_sweep(QUICKSTART, [override])
    assert "20481" not in str(caught.value)


_CRASH = """
import logging, os, sys
from orchestration.common.redaction import guard_output
guard_output()
for secret in (os.environ["AWS_SECRET_ACCESS_KEY"], os.environ["PGPASSWORD"], os.environ["HF_TOKEN"]):
    print("out", secret, flush=True)
    print("error", secret, file=sys.stderr)
    logging.getLogger("mlflow").warning("a log line: %s", secret)
print("postgresql://me@host/db and postgresql://me:open-sesame@host/db", sys.stdout.isatty())
held = {"secret": secret}
raise RuntimeError(f"crashed with {held} at https://me:open-sesame@host/x")
"""


@pytest.mark.proves(28)
def test_a_crash_prints_no_secret(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _CRASH],
        env={"PYTHONPATH": str(ROOT), **ENVIRONMENT},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    output = done.stdout + done.stderr
    assert done.returncode == 1
    assert "RuntimeError: crashed with {'secret': '***'} at https://me:***@host/x" in done.stderr
    assert "postgresql://me@host/db and postgresql://me:***@host/db False" in done.stdout
    assert (output.count("out ***"), output.count("error ***"), output.count("a log line: ***")) == (3, 3, 3)
    assert "sentinel" not in output
    assert "open-sesame" not in output


_CONTROLS = r"""
import sys
from orchestration.common.redaction import guard_output, reason_of
guard_output()
from orchestration.common.console import make_console
hostile = "a \x1b[31mlabel\x1b]0;title\x07 of\u202e a host\rall is well"
print(hostile)
print(hostile, file=sys.stderr)
from rich.table import Table
table = Table()
table.add_column(hostile)
table.add_row(hostile)
console = make_console()
console.print(hostile)
console.print(table)
print(reason_of(OSError(hostile)))
"""


@pytest.mark.parametrize("force_terminal", [False, True])
def test_no_control_character_is_printed_but_the_consoles_own(tmp_path: Path, force_terminal: bool) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _CONTROLS],
        env={"PYTHONPATH": str(ROOT), **({"FORCE_COLOR": "1", "TERM": "xterm"} if force_terminal else {})},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    output = done.stdout + done.stderr
    assert output.count("label") >= 6
    for control in ("\x1b[31m", "\x1b]", "\x07", "\u202e", "\r"):
        assert control not in output
    assert force_terminal or "\x1b" not in output


@pytest.mark.parametrize("program", ["sweep.py", "reproduce.py", "measure.py", "demo.py", "doctor.py", "auth_token.py"])
def test_every_program_guards_its_output(program: str) -> None:
    _, main, last = (ROOT / "orchestration" / program).read_text().partition('if __name__ == "__main__":')
    assert main
    assert "    prepare_program()\n" in last


def test_a_plan_and_what_is_printed_of_it_hold_no_option_and_no_signature(tmp_path: Path) -> None:
    text = QUICKSTART.read_text().replace("base: base/", f"base: {QUICKSTART.parent}/base/")
    options = f'{{key: "{SENTINEL}-k", secret: "{SENTINEL}-s"}}'
    sweep = tmp_path / "sweep.yaml"
    sweep.write_text(f"{text}\nstorage: {{root: {tmp_path}/runs, options: {options}}}\n")
    signed = f"networks.clip.weights={{path: 'https://host/x.pt?sig={SENTINEL}', sha256: {'ab' * 32}}}"
    plan = make_plan(load_sweep(sweep, [*TINY, ONE_ROW, signed, f"storage.options.token={SENTINEL}"]))
    assert SENTINEL not in plan_json(plan, "sqlite:///x")
    done = subprocess.run(
        [sys.executable, str(ROOT / "orchestration" / "sweep.py"), str(sweep), signed, "--dry-run"],
        env={"PATH": "/usr/bin:/bin", **ENVIRONMENT},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "sentinel" not in done.stdout + done.stderr


@pytest.mark.proves(28)
def test_the_uncommitted_diff_is_kept_without_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project, store = tmp_path / "project", Store(str(tmp_path / "store"), {"auto_mkdir": f"{SENTINEL}-option"})
    project.mkdir()
    (project / "pyproject.toml").write_text("a\n")
    git = ["git", "-C", str(project), "-c", "user.name=n", "-c", "user.email=e"]
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "m"]):
        subprocess.run([*git, *command], check=True)
    (project / "pyproject.toml").write_text(f"key {SENTINEL}-option\nother {SENTINEL}-1\nurl http://h/?q=1\n")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", f"{SENTINEL}-1")
    diff = record_source(store, project)["uncommitted_diff"]
    assert "+key ***\n+other ***\n+url http://h/?q=1" in diff
    stored = [path.read_text() for path in (tmp_path / "store" / "provenance").iterdir()]
    assert stored
    assert SENTINEL not in "".join(stored)


class _Recorder:
    """A tracker that remembers what it is told of failures."""

    def __init__(self) -> None:
        self.reasons: list[str] = []

    def fail(self, _task: Task, reason: str) -> None:
        self.reasons.append(reason)

    def __getattr__(self, name: str) -> Any:
        return lambda *_arguments, **_options: None


@pytest.mark.proves(28)
def test_a_task_that_fails_with_a_secret_in_its_error_leaves_none_behind(
    store: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Groups:
        """Workers that die with a word too many."""

        retries: tuple[()] = ()
        num_open = num_idle = 0

        def __init__(self, *_others: object) -> None: ...

        def submit(self, _task: Task) -> Future[None]:
            ended: Future[None] = Future()
            ended.set_exception(OSError(f"no access to https://me:open-sesame@host with {SENTINEL}-1"))
            return ended

        def close_idle(self, for_seconds: float = 0.0) -> None: ...

        def leave(self, trainings: Collection[Future[None]], *, cluster_is_lost: bool) -> None: ...

    update: Mapping[str, Any] = {name: {} for name in ("rows", "done", "retries", "lost", "failures", "stopped")}
    board = SimpleNamespace(take_update=SimpleNamespace(remote=lambda: SimpleNamespace(snapshots=[], **update)))
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", f"{SENTINEL}-1")
    monkeypatch.setattr(task_loop, "start_progress_board", lambda: ("board", board))
    monkeypatch.setattr(progress.ray, "get", lambda answer: answer)
    monkeypatch.setattr(task_loop, "WorkerGroupPool", Groups)
    monkeypatch.setattr(task_loop, "_POLL_SECONDS", 0.0)
    plan, outcome, tracker = tiny_plan("training.steps=4", "evaluation.at_steps=[4]"), Outcome({}), _Recorder()
    (training,) = plan.of_kind(TrainTask)
    only: Any = tracker
    meter = BudgetMeter({}, plan.spec.runtime.workers)
    context = LaunchContext(plan, store, outcome, only, Display(), meter)
    running = task_loop.Launcher(context, lambda: Capacity((NodeSize(2),)), lambda: None)
    running._waiting.tasks = {training.digest: training}
    running.run()
    assert outcome.failed == {training.digest: "OSError: no access to https://***@host with ***"}
    assert tracker.reasons == list(outcome.failed.values())
    assert SENTINEL not in "".join(capsys.readouterr())
