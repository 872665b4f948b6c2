"""Settings of notifications: whom to tell of a sweep's end, of failures, and of a driver that was lost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import AfterValidator

Event = Literal["ended", "task_failed", "budget_spent", "driver_lost"]
EVENTS: tuple[Event, ...] = ("ended", "task_failed", "budget_spent", "driver_lost")


def _no_url(text: str) -> str:
    """Raises: ValueError, worded to follow what was given."""
    if "://" in text:
        raise ValueError("should not be the URL itself, which is a secret: give the variable or the file that holds it")
    return text


@dataclass(frozen=True)
class NotifyConfig:
    """Whom to tell. The address is a secret, so that only its place is given."""

    url_variable: Annotated[str, AfterValidator(_no_url)] = ""
    """Environment variable of the driver that holds the URL."""
    url_file: Annotated[str, AfterValidator(_no_url)] = ""
    """File that holds the URL, readable by the driver."""
    by: Literal["webhook", "apprise"] = "webhook"
    """webhook: JSON is posted to the URL. apprise: the URL is one of apprise's (slack://, mailto://, ...)."""
    events: tuple[Event, ...] = EVENTS
    """Events that are told."""

    @property
    def is_wanted(self) -> bool:
        return bool(self.url_variable or self.url_file)
