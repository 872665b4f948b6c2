"""Notifications to a webhook or a chat: posted by a thread of their own, which neither delays nor fails a sweep."""

from __future__ import annotations

import importlib
import json
import queue
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from orchestration.common.redaction import blanked, reason_of
from orchestration.config.notify import Event, NotifyConfig

CALL_SECONDS = 5.0
"""Time for one call; a sweep never waits for it."""
CLOSE_SECONDS = 6.0
"""Time that the end of a program waits for what is still to be told."""
MOST_FAILURES = 20
"""Failed tasks that are told one by one."""
_MOST_LETTERS = 2000
Post = Callable[[str, Mapping[str, Any]], None]
"""Function that delivers (URL, message), and raises any error if it cannot."""


@dataclass(frozen=True)
class Message:
    """One notification."""

    event: Event
    sweep: str
    text: str


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Refuses redirects: whoever has the URL would be told the message."""

    def redirect_request(self, *_: Any) -> None:
        return None


def post_json(url: str, message: Mapping[str, Any]) -> None:
    """Post JSON with the keys text, event, sweep and time. Raises: OSError, ValueError."""
    if urlsplit(url).scheme not in ("http", "https"):
        raise ValueError("a webhook is an http or https URL; for other kinds give notify.by: apprise")
    data, headers = json.dumps(message).encode(), {"Content-Type": "application/json"}
    request = urllib.request.Request(url, data, headers)  # noqa: S310  its scheme is checked
    with urllib.request.build_opener(_NoRedirects).open(request, timeout=CALL_SECONDS) as answer:
        answer.read(1)


def send_by_apprise(url: str, message: Mapping[str, Any]) -> None:
    """Send the text to one of apprise's services. Raises: ImportError without the extra `notify`; OSError."""
    try:
        apprise = importlib.import_module("apprise")
    except ImportError:
        raise ImportError("the package apprise is missing: pip install 'dfm-experiments[notify]'") from None
    service = apprise.Apprise()
    if not service.add(url):
        raise ValueError("apprise knows no service of such a URL")
    if not service.notify(body=str(message["text"]), title=f"sweep {message['sweep']}"):
        raise OSError("apprise could not deliver")


class Notifier:
    """Tells of events in their order. Nothing of it raises; errors are said once, without the URL."""

    def __init__(
        self, config: NotifyConfig, sweep: str, environment: Mapping[str, str], post: Post | None = None
    ) -> None:
        """Args: environment: of the process, where the URL may be. post: by default what `config.by` names."""
        self._config, self._sweep, self._said = config, sweep, False
        self._post = post or (post_json if config.by == "webhook" else send_by_apprise)
        self._messages: queue.Queue[Message | None] = queue.Queue()
        self._num_failures = 0
        self._url = ""
        self._url = _url_of(config, environment, self._say) if config.is_wanted else ""
        self._thread = threading.Thread(target=self._deliver, name="notifications", daemon=True)
        if self._url:
            self._thread.start()

    @property
    def is_on(self) -> bool:
        """True if there is an address."""
        return bool(self._url)

    def tell(self, event: Event, text: str) -> None:
        """Tell of an event, if it is wanted; returns at once."""
        if not self._url or event not in self._config.events:
            return
        if event == "task_failed":
            self._num_failures += 1
            if self._num_failures > MOST_FAILURES:
                return
        self._messages.put(Message(event, self._sweep, text[:_MOST_LETTERS]))

    def close(self) -> None:
        """Wait for what is still to be told, for `CLOSE_SECONDS` at most."""
        if self._url:
            self._messages.put(None)
            self._thread.join(CLOSE_SECONDS)
            if self._thread.is_alive():
                self._say("the last of them was not answered in time")

    def _deliver(self) -> None:
        while (message := self._messages.get()) is not None:
            content = {**vars(message), "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}
            try:
                self._post(self._url, content)
            except Exception as error:  # noqa: BLE001  any library, any service: the sweep goes on
                self._say(reason_of(error))

    def _say(self, reason: str) -> None:
        if not self._said:
            self._said = True
            print(
                f"Notifications do not arrive: {blanked(reason, _secrets(self._url))}. The sweep goes on.",
                file=sys.stderr,
            )


def _secrets(url: str) -> list[str]:
    """Return the URL and what is secret in it: user, password and path."""
    parts = urlsplit(url)
    return [
        text for text in (url, parts.netloc.rpartition("@")[0], parts.path.strip("/"), parts.query) if len(text) > 3
    ]


def _url_of(config: NotifyConfig, environment: Mapping[str, str], say: Callable[[str], None]) -> str:
    """Return the URL; "" if it cannot be had, which is said."""
    if config.url_variable:
        url = environment.get(config.url_variable, "").strip()
        if not url:
            say(f"the variable {config.url_variable} (notify.url_variable) is not set")
        return url
    try:
        url = Path(config.url_file).expanduser().read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        say(f"notify.url_file cannot be read ({type(error).__name__})")
        return ""
    if not url:
        say("notify.url_file is empty")
    return url
