"""Secrets in every form that a library may print."""

from __future__ import annotations

import base64
import html
import json
import re
import urllib.parse
from collections.abc import Callable

import pytest

from orchestration.common.redaction import blanked, reason_of, secrets_of, shown
from orchestration.common.secret_forms import pattern_of

SECRETS = [
    "sentinel/0f+3a=77",
    "pa'ss\"w\\ord é<&>",
    "hunter2!",
    "two  spaces\tand a tab",
    "beyond the plane 𝒳 it goes",
    "-----BEGIN KEY-----\nMIIEvAIBADANBg/kqhk+iG9w\n-----END KEY-----",
]
FORMS: dict[str, Callable[[str], str]] = {
    "as it is": str,
    "URL": lambda secret: urllib.parse.quote(secret, safe=""),
    "URL with slashes": urllib.parse.quote,
    "URL with plus": urllib.parse.quote_plus,
    "URL in lower case": lambda s: re.sub("%..", lambda found: found[0].lower(), urllib.parse.quote(s, safe="")),
    "URL in a URL": lambda secret: urllib.parse.quote(urllib.parse.quote(secret, safe=""), safe=""),
    "repr": lambda secret: repr(secret)[1:-1],
    "repr of a repr": lambda secret: repr([repr(secret)])[3:-3],
    "repr of bytes": lambda secret: repr(secret.encode())[2:-1],
    "ascii": lambda secret: ascii(secret)[1:-1],
    "JSON": lambda secret: json.dumps(secret)[1:-1],
    "JSON in UTF-8": lambda secret: json.dumps(secret, ensure_ascii=False)[1:-1],
    "JSON in JSON": lambda secret: json.dumps(json.dumps(secret))[3:-3],
    "HTML": html.escape,
    "base64": lambda secret: base64.b64encode(secret.encode()).decode(),
    "spaces collapsed": lambda secret: " ".join(secret.split()),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("secret", SECRETS, ids=lambda secret: ascii(secret)[:12])
def test_a_secret_is_blanked_in_every_form(secret: str, form: str) -> None:
    assert re.fullmatch(r"before '?\*\*\*\\* after", blanked(f"before {FORMS[form](secret)} after", [secret]))


@pytest.mark.parametrize("user", ["", "a", "me", "joe"])
@pytest.mark.parametrize("secret", SECRETS, ids=lambda secret: ascii(secret)[:12])
def test_a_password_is_blanked_in_basic_authentication(secret: str, user: str) -> None:
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        text = blanked(f"sent {encode(f'{user}:{secret}'.encode()).decode()} there", [secret])
        assert re.fullmatch(r"sent [\w+/-]{0,5}\*\*\* there", text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("DRIVER={x};UID=me;PWD=ab1;SERVER=h", "DRIVER={x};UID=me;PWD=***;SERVER=h"),
        ("Password={a;b}}c};Server=h", "Password=***;Server=h"),
        ("odbc_connect=UID%3Dme%3BPWD%3Dab1%3BSERVER%3Dh", "odbc_connect=UID%3Dme%3BPWD%3D***%3BSERVER%3Dh"),
        ("host=h password=ab1 user=me", "host=h password=*** user=me"),
        ("AccountName=me;AccountKey=ab==;x", "AccountName=me;AccountKey=***;x"),
        ('{"password": "ab1", "user": "me"}', '{"password": "***", "user": "me"}'),
        ("{'aws_secret': 'ab1'}", "{'aws_secret': '***'}"),
        (r"{\"token\": \"ab1\"}", r"{\"token\": \"***\"}"),
        ("{'Authorization': 'Basic YTpi'}", "{'Authorization': '***'}"),
        ("Basic dXNlcjphYjE= was refused", "Basic *** was refused"),
        (
            "storage.options.secret: should be text; max_tokens=7",
            "storage.options.secret: should be text; max_tokens=7",
        ),
        ("Basic authentication failed", "Basic authentication failed"),
    ],
)
def test_what_a_text_itself_calls_a_secret_is_blanked_however_short(text: str, expected: str) -> None:
    assert shown(text) == expected


def test_short_passwords_are_secrets_by_name_and_words_of_their_own() -> None:
    environment = {"PGPASSWORD": "test", "DB_PWD": "ab1x", "PWD": "/home/me", "OLDPWD": "/home", "X_KEY": "true"}
    assert secrets_of(environment) == ["test", "ab1x"]
    assert blanked("the latest test of me:test and me%3Atest", ["test"]) == "the latest *** of me:*** and me%3A***"


def test_the_password_in_a_variables_url_is_a_secret() -> None:
    assert secrets_of({"DATABASE_URL": "postgresql://me:hu%2Fnter@host/db", "HOME_PAGE": "https://host/x"}) == [
        "hu/nter"
    ]


def test_each_line_of_a_secret_of_several_lines_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGNING_SECRET", SECRETS[-1])
    for line in SECRETS[-1].splitlines():
        assert shown(f"the last line: {line}") == "the last line: ***"


def test_a_reason_is_blanked_before_its_spaces_go_and_it_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    secret = "a secret  with\n  spaces in it"
    monkeypatch.setenv("AN_API_KEY", secret)
    assert reason_of(OSError(f"refused\n {secret}")) == "OSError: refused ***"
    told = reason_of(OSError("x" * 275 + " " + secret))
    assert "a secret" not in told
    assert len(told) <= 300


def test_the_search_in_a_long_run_of_one_character_begins_once() -> None:
    """Else each of its characters would be a beginning, and the time would grow with the square of the length."""
    (encoded,) = re.findall(r"\w+", base64.b64encode(b"me:hunter2!").decode())
    assert blanked("a" * 40 + encoded, ["hunter2!"]).startswith("a" * 35)
    for secret in ("'quoted'", "\\server\\share"):
        assert blanked("\\" * 40 + secret, [secret]) == "***"
        for form in (secret, repr(secret)[1:-1], json.dumps(json.dumps(secret))[3:-3]):
            assert not pattern_of([secret]).match("\\" * 40 + form, 1)


@pytest.mark.parametrize("num_backslashes", range(1, 5))
def test_a_short_secret_behind_backslashes_and_a_word_is_blanked(num_backslashes: int) -> None:
    assert "x7" not in blanked("it" + "\\" * num_backslashes + "'x7", ["'x7"])
