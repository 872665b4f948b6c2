"""The retry policy: how long a storage may fail before a task does."""

from __future__ import annotations

import errno
import logging
from collections.abc import Callable

import pytest

from orchestration.storage import retry
from orchestration.storage.retry import RetryPolicy, StorageUnavailableError


class Clock:
    """Time that passes only by sleeping."""

    def __init__(self) -> None:
        self.now = 0.0
        self.pauses: list[float] = []

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.pauses.append(seconds)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(retry.time, "monotonic", clock.monotonic)
    monkeypatch.setattr(retry.time, "sleep", clock.sleep)
    return clock


def failing_until(clock: Clock, seconds: float, error: Exception) -> Callable[[float], str]:
    def call(_deadline: float) -> str:
        if clock.now < seconds:
            raise error
        return "answer"

    return call


@pytest.mark.parametrize("seconds", [0.1, 30.0, 599.0, 600.0])
def test_an_outage_that_ends_within_the_budget_is_survived(clock: Clock, seconds: float) -> None:
    call = failing_until(clock, seconds, OSError(errno.EBUSY, "slow down"))
    assert RetryPolicy(retry_seconds=600.0).call(call, "s3://bucket/file", {}) == "answer"
    assert clock.now <= 600.0


def test_pauses_grow_to_half_a_minute_and_differ_between_workers(clock: Clock) -> None:
    for _ in range(2):
        clock.now = 0.0
        RetryPolicy(retry_seconds=600.0).call(failing_until(clock, 500.0, OSError("away")), "s3://bucket/file", {})
    half = len(clock.pauses) // 2
    assert clock.pauses[0] <= 0.2
    assert 15.0 <= clock.pauses[10] <= 30.0
    assert max(clock.pauses) <= 30.0
    assert clock.pauses[:5] != clock.pauses[half : half + 5]
    assert half < 60


def test_the_end_of_patience_is_one_error_with_place_tries_and_reason(clock: Clock) -> None:
    call = failing_until(clock, 1e9, OSError("Please reduce your request rate."))
    told = r"^s3://bucket/file: .*tries in 600 s\): OSError: Please reduce"
    with pytest.raises(StorageUnavailableError, match=told) as caught:
        RetryPolicy(retry_seconds=600.0).call(call, "s3://bucket/file", {})
    assert caught.value.__suppress_context__
    assert clock.now == pytest.approx(600.0)


@pytest.mark.parametrize(
    "error",
    [FileNotFoundError("x"), PermissionError("x"), ValueError("x"), OSError(errno.ENOSPC, "disk full")],
    ids=lambda error: type(error).__name__,
)
def test_what_waiting_cannot_mend_is_told_at_once(clock: Clock, error: Exception) -> None:
    with pytest.raises(type(error)) as caught:
        RetryPolicy().call(failing_until(clock, 1.0, error), "s3://bucket/file", {})
    assert caught.value is error
    assert clock.pauses == []


def test_missing_credentials_are_told_at_once(clock: Clock) -> None:
    from botocore.exceptions import NoCredentialsError

    with pytest.raises(NoCredentialsError):
        RetryPolicy().call(failing_until(clock, 1.0, NoCredentialsError()), "s3://bucket/file", {})
    assert clock.pauses == []


@pytest.mark.parametrize("name", ["ConfigParseError", "InvalidRetryModeError", "InvalidMaxRetryAttemptsError"])
def test_mistaken_settings_of_the_client_are_told_at_once(clock: Clock, name: str) -> None:
    from botocore import exceptions

    known = {
        "path": "/etc/aws",
        "provided_retry_mode": "foo",
        "valid_modes": "",
        "provided_max_attempts": -1,
        "min_value": 0,
    }
    error: Exception = getattr(exceptions, name)(**known)
    with pytest.raises(type(error)):
        RetryPolicy().call(failing_until(clock, 1.0, error), "s3://bucket/file", {})
    assert clock.pauses == []


class AnsweredError(Exception):
    """An error that keeps its answer as botocore's do."""

    def __init__(self, status: int, code: str) -> None:
        super().__init__(code)
        self.response = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}


class StatusError(Exception):
    """An error that keeps its answer as aiohttp's do."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status, self.message = status, message


@pytest.mark.parametrize(
    ("answer", "is_passing"),
    [
        (AnsweredError(400, "InvalidToken"), False),
        (AnsweredError(400, "TokenRefreshRequired"), False),
        (AnsweredError(403, "ExpiredTokenException"), False),
        (AnsweredError(401, "401"), False),
        (StatusError(401, "Unauthorized"), False),
        (AnsweredError(400, "400"), True),
        (AnsweredError(400, "RequestTimeout"), True),
        (AnsweredError(409, "OperationAborted"), True),
        (AnsweredError(429, "TooManyRequests"), True),
        (AnsweredError(503, "SlowDown"), True),
        (StatusError(502, "Bad Gateway"), True),
    ],
    ids=str,
)
@pytest.mark.parametrize("wrapped", [False, True])
def test_a_refusal_is_told_from_a_passing_fault(
    clock: Clock, answer: Exception, is_passing: bool, wrapped: bool
) -> None:
    error: Exception = answer
    if wrapped:
        error = OSError(errno.EIO, "as s3fs words it")
        error.__cause__ = answer
    if is_passing:
        assert RetryPolicy().call(failing_until(clock, 9.0, error), "s3://bucket/file", {}) == "answer"
        return
    with pytest.raises(type(error)) as caught:
        RetryPolicy().call(failing_until(clock, 9.0, error), "s3://bucket/file", {})
    assert caught.value is error
    assert clock.pauses == []


@pytest.mark.proves(28)
def test_no_message_holds_a_credential(
    clock: Clock, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "of-the-environment")
    error = OSError("GET http://me:pass-word@host/x?X-Amz-Signature=abc of-the-environment of-the-options refused")
    with caplog.at_level(logging.WARNING), pytest.raises(StorageUnavailableError) as caught:
        RetryPolicy(retry_seconds=1.0).call(
            failing_until(clock, 9.0, error), "s3://bucket/file", {"secret": "of-the-options"}
        )
    told = str(caught.value) + caplog.text
    assert "refused" in told
    assert "trying again" in caplog.text
    for secret in ("pass-word", "abc", "of-the-environment", "of-the-options"):
        assert secret not in told


def test_a_large_file_may_take_longer(clock: Clock) -> None:  # noqa: ARG001  no real time passes
    deadlines: list[float] = []
    RetryPolicy(call_seconds=60.0).call(deadlines.append, "s3://bucket/file", {}, num_bytes=100_000_000)
    assert deadlines == [160.0]
