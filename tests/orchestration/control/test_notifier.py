"""Notifications to a server on loopback: told in order, never raising, never waiting, never with the secret URL."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from orchestration.common.errors import UserError
from orchestration.config.notify import NotifyConfig
from orchestration.control import notifier as module
from orchestration.control.heartbeat import Driver, Heartbeat
from orchestration.control.notifier import MOST_FAILURES, Notifier
from orchestration.launch.notices import notifications_of_end, tell_of_lost_driver
from orchestration.spec.load import load_sweep
from orchestration.storage.store import Store
from tests.orchestration.conftest import QUICKSTART

SECRET = "/services/T000/B000/hush-hush"


class Hook(ThreadingHTTPServer):
    """A webhook that keeps what it is told. Its `answer` is a status, or 0 for none at all."""

    daemon_threads = True
    answer = 200

    def __init__(self) -> None:
        self.told: list[dict[str, Any]] = []
        self.ended = threading.Event()
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}{SECRET}"


class _Handler(BaseHTTPRequestHandler):
    server: Hook

    def do_POST(self) -> None:
        content = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.told.append({**content, "path": self.path})
        if self.server.answer == 0:
            self.server.ended.wait(600)
            return
        self.send_response(self.server.answer)
        if self.server.answer == 302:
            self.send_header("Location", f"http://127.0.0.1:{self.server.server_address[1]}/elsewhere")
        self.end_headers()

    do_GET = do_POST  # noqa: N815  the name that the server calls

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def hook(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hook]:
    """A hook for which there is time: on a busy machine an answer may take longer than a sweep would wait."""
    for limit in ("CALL_SECONDS", "CLOSE_SECONDS"):
        monkeypatch.setattr(module, limit, 300.0)
    server = Hook()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.ended.set()
    server.shutdown()
    server.server_close()


def notifier_of(hook: Hook, **settings: Any) -> Notifier:
    return Notifier(NotifyConfig(url_variable="HOOK", **settings), "mine", {"HOOK": hook.url})


def test_events_are_posted_as_json_in_their_order(hook: Hook) -> None:
    notifier = notifier_of(hook)
    notifier.tell("task_failed", "train a failed: out of luck")
    notifier.tell("ended", "Sweep mine is done.")
    notifier.close()
    assert [(one["event"], one["sweep"], one["text"]) for one in hook.told] == [
        ("task_failed", "mine", "train a failed: out of luck"),
        ("ended", "mine", "Sweep mine is done."),
    ]
    assert hook.told[0]["path"] == SECRET


def test_events_that_are_not_wanted_and_floods_of_failures_are_left_out(hook: Hook) -> None:
    notifier = notifier_of(hook, events=("task_failed",))
    notifier.tell("ended", "no")
    for _ in range(MOST_FAILURES + 5):
        notifier.tell("task_failed", "again")
    notifier.close()
    assert [one["event"] for one in hook.told] == ["task_failed"] * MOST_FAILURES


@pytest.mark.parametrize("answer", [500, 302])
def test_a_refused_notification_is_said_once_without_the_url(
    hook: Hook, answer: int, capfd: pytest.CaptureFixture[str]
) -> None:
    hook.answer = answer
    notifier = notifier_of(hook)
    notifier.tell("task_failed", "one")
    notifier.tell("ended", "two")
    notifier.close()
    said = capfd.readouterr().err
    assert said.count("Notifications do not arrive") == 1
    assert "The sweep goes on." in said
    assert "hush" not in said
    assert {one["path"] for one in hook.told} == {SECRET}  # nobody else was told


def test_a_hook_that_never_answers_delays_nothing(hook: Hook, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CLOSE_SECONDS", 0.5)
    hook.answer = 0
    began = time.monotonic()
    notifier = notifier_of(hook)
    notifier.tell("ended", "one")
    notifier.close()
    assert time.monotonic() - began < 100  # the hook, and a call, would hold it up for far longer
    assert notifier._thread.is_alive()


def test_the_url_can_stand_in_a_file_and_a_missing_one_is_said(
    hook: Hook, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "hook").write_text(f"{hook.url}\n")
    notifier = Notifier(NotifyConfig(url_file=str(tmp_path / "hook")), "mine", {})
    notifier.tell("ended", "one")
    notifier.close()
    assert len(hook.told) == 1
    assert not Notifier(NotifyConfig(url_file=str(tmp_path / "no")), "mine", {}).is_on
    assert not Notifier(NotifyConfig(url_variable="NO_HOOK"), "mine", {}).is_on
    assert not Notifier(NotifyConfig(), "mine", {}).is_on
    said = capfd.readouterr().err
    assert "notify.url_file cannot be read" in said
    assert "the variable NO_HOOK (notify.url_variable) is not set" in said


def test_a_url_in_a_file_of_settings_is_refused() -> None:
    with pytest.raises(UserError, match="should not be the URL itself, which is a secret: give the variable"):
        load_sweep(QUICKSTART, ["notify.url_variable=https://hooks.example/T0/B0/x"])


@pytest.mark.parametrize(
    ("code", "event", "text"),
    [(0, "ended", "is done"), (1, "ended", "exit code 1"), (4, "budget_spent", "its budget is spent")],
)
def test_the_end_of_a_launch_is_told(hook: Hook, code: int, event: str, text: str) -> None:
    with notifications_of_end(notifier_of(hook), "mine") as end:
        end.exit_code = code
    assert hook.told[0]["event"] == event
    assert text in hook.told[0]["text"]


def test_a_launch_that_ends_with_an_error_is_told(hook: Hook) -> None:
    with pytest.raises(KeyboardInterrupt), notifications_of_end(notifier_of(hook), "mine"):
        raise KeyboardInterrupt
    assert "ended with an error: KeyboardInterrupt" in hook.told[0]["text"]


def test_a_lost_driver_is_told_once_by_the_next_command(hook: Hook, tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    gone = Driver("gone", Heartbeat("d1", "there", 42, 7, 0.0, "running"), 100.0)
    for driver in (gone, gone, Driver("ended", gone.heartbeat), None):
        notifier = notifier_of(hook)
        tell_of_lost_driver(notifier, "mine", driver, store)
        notifier.close()
    assert [one["event"] for one in hook.told] == ["driver_lost"]
    assert "driver 42 on there is gone without a word" in hook.told[0]["text"]


def test_apprise_that_is_missing_is_said_with_its_extra(
    hook: Hook, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def missing(name: str) -> Any:
        raise ImportError(name)

    monkeypatch.setattr(module.importlib, "import_module", missing)
    notifier = notifier_of(hook, by="apprise")
    notifier.tell("ended", "one")
    notifier.close()
    assert "pip install 'dfm-experiments[notify]'" in capfd.readouterr().err
