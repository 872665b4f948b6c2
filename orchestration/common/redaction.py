"""Text without secrets, for messages, records and all that a process prints, tracebacks included."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TextIO
from urllib.parse import parse_qsl, unquote, urlsplit

from analysis.contract.output import make_output_unfailing
from analysis.contract.printable import printable
from orchestration.common.errors import cause_of
from orchestration.common.secret_forms import pattern_of

_SHOWN_OPTIONS = ("endpoint_url", "region_name")
_NAMES = "password|passwd|passphrase|pass|pwd|secret|token|credentials?|api_?key|access_key"
_SECRET_NAMES = re.compile(rf"(?i)(?:(?:^|_)(?:{_NAMES})|password|secret)$")
_GUESSED_NAMES = re.compile(r"(?i)_key$")
_NO_SECRETS = ("PWD", "OLDPWD")  # folders of the shell
_SHORTEST_SECRET = 4  # characters; a shorter one would blank half of every message, and is found by its name alone
_SHORTEST_GUESSED = 8  # characters of a value that its variable's name makes no secret for sure: X_KEY=true is none
_MAX_REASON = 300
_BLANK = "***"
_VALUE = r"""\{(?:[^}]|\}\})*\}|"[^"]*"|'[^']*'|[^\s'",;&)}%]+(?:%(?!3B|26)[^\s'",;&)}%]+)*"""
_NAMED_VALUE = re.compile(
    rf"(?i)((?:(?<![a-z0-9])|(?<=%3B))(?:{_NAMES}|account_?key|shared_?access_?(?:key|signature))\s*(?:=|%3D)\s*)"
    rf"(?:{_VALUE})"
)
"""A value that a text itself calls a secret, as a database's connection string does: PWD=...;"""
_NAMED_ENTRY = re.compile(rf"""(?i)(\\*(["'])[\w.-]*(?:{_NAMES})\\*\2\s*:\s*\\*(["'])).*?(?<!\\)(?=\\*\3)""")
"""An entry of a mapping that is printed by JSON or repr."""
_HEADER = re.compile(
    r"""(?i)((?:authorization|x-amz-security-token)\\*["']?\s*[:=]\s*(?:b?\\*["'])?)(?:\w+ +)?[^\s"',}\\]+"""
)
_BASIC = re.compile(r"(\bBasic +)(?=[A-Za-z+/]*[0-9+/=])[\w+/-]{6,}=*")


def is_secret_name(name: str) -> bool:
    """Return whether a variable or key of this name holds a secret."""
    return name not in _NO_SECRETS and bool(_SECRET_NAMES.search(name) or _GUESSED_NAMES.search(name))


def secrets_of(environment: Mapping[str, str]) -> list[str]:
    """Return the values of variables that are secrets by name (AWS_SECRET_ACCESS_KEY, PGPASSWORD, HF_TOKEN), and the
    passwords in the URLs of others.

    Of a value of several lines each line is one too: texts are cut at their ends.
    """
    secrets = []
    for name, value in environment.items():
        secret = value if is_secret_name(name) else _password_in(value)
        is_guessed = secret == value and not _SECRET_NAMES.search(name)
        if len(secret) >= (_SHORTEST_GUESSED if is_guessed else _SHORTEST_SECRET):
            lines = secret.splitlines()
            secrets += [secret, *(line for line in lines if len(lines) > 1 and len(line) >= _SHORTEST_GUESSED)]
    return secrets


def _password_in(url: str) -> str:
    try:
        return unquote(urlsplit(url).password or "") if "://" in url else ""
    except ValueError:
        return ""


def blanked(text: str, secrets: Iterable[str]) -> str:
    """Return the text without these secrets, in any form that a library may give them."""
    return pattern_of(secrets).sub(_BLANK, text)


def _without_named(text: str) -> str:
    for pattern in (_HEADER, _BASIC, _NAMED_VALUE, _NAMED_ENTRY):
        text = pattern.sub(rf"\1{_BLANK}", text)
    return text


def without_secrets(text: str, options: Mapping[str, str] | None = None) -> str:
    """Return the text without the secrets of the environment and of a file system's options.

    Args: options: their values are secrets, but for endpoint and region.
    """
    given = [str(value) for name, value in (options or {}).items() if name not in _SHOWN_OPTIONS]
    return blanked(text, [*secrets_of(os.environ), *(value for value in given if len(value) >= _SHORTEST_SECRET)])


def without_credentials(text: str) -> str:
    """Return the text with its URLs stripped of user, password and query, which may hold a signature."""
    text = re.sub(r"://[^/\s'\"]*@", "://***@", text)
    return re.sub(r"(://[^?\s'\"]*)\?[^\s'\"]+", r"\1?***", text)


def shown(text: str, options: Mapping[str, str] | None = None) -> str:
    """Return a message that can be printed and stored: `without_secrets`, `without_credentials`, and without what the
    text itself calls a secret and without control characters.

    It comes before any other change: a secret that is cut, or whose spaces are gone, is not found any more.
    """
    return printable(without_credentials(_without_named(without_secrets(text, options))))


def one_line(text: str, options: Mapping[str, str] | None = None) -> str:
    """Return a text in one short line that can be shown. Args: options: see `shown`."""
    return " ".join(shown(text, options).split())[:_MAX_REASON]


def reason_of(error: BaseException, options: Mapping[str, str] | None = None) -> str:
    """Return an error as one line that can be shown. Args: options: see `shown`.

    What it was raised from comes first, since a library's own words may mislead, unless they say it as well.
    """
    first, last = (one_line(f"{type(one).__name__}: {one}", options) for one in (cause_of(error), error))
    said = first.partition(": ")[2] in last
    return last if said else f"{first} ({last})"[:_MAX_REASON]


def credentials_in(url: str) -> str:
    """Return the kind of credential that a URL holds, e.g. "a password"; "" if none.

    A user name is none, except in a web server's URL, where tokens stand in its place.
    """
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    if parts.password:
        return "a password"
    if parts.username and parts.scheme in ("http", "https"):
        return "a user name or token"
    for key, value in parse_qsl(parts.query, keep_blank_values=True):
        if is_secret_name(key.lower()) or re.search(r"(?i)(?:signature|^sig)$", key):
            return f"a secret, {key}, in its query"
        if _NAMED_VALUE.search(value):  # odbc_connect holds a whole connection string
            return f"a secret in {key} in its query"
    return ""


class _Redacting:
    """A text stream that keeps secrets and control characters out; anything else is as the stream has it."""

    def __init__(self, stream: TextIO, secrets: Sequence[str], last: Callable[[str], str] = printable) -> None:
        """Args: last: what else is done to a text."""
        self._stream, self._secrets, self._last = stream, pattern_of(secrets), last
        self.drawable: _Redacting = self if last is str else _Redacting(stream, secrets, str)
        """The same for a library that draws on terminals, and keeps controls out of texts itself."""

    def write(self, text: str) -> int:
        # Less than `without_credentials`: addresses and commands are printed to be used.
        text = re.sub(r"(://[^/\s:@'\"]*):[^/\s@'\"]+@", rf"\1:{_BLANK}@", text)
        self._stream.write(self._last(_without_named(self._secrets.sub(_BLANK, text))))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def guard_output() -> None:
    """Keep the environment's secrets, and control characters, out of all that this process prints from here on,
    tracebacks included. Nothing of it fails, see `make_output_unfailing`.

    Programs call it before anything else is imported: loggers keep the stream that they find.
    """
    make_output_unfailing()
    secrets = secrets_of(os.environ)
    sys.stdout = _Redacting(sys.stdout, secrets)
    sys.stderr = _Redacting(sys.stderr, secrets)
