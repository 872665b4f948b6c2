"""The plans that were published under a storage root, as far as other sweeps, and later versions of one, ask them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from orchestration.plan.plan_json import PLAN_FORMAT
from orchestration.storage.layout import PLANS, plan_file
from orchestration.storage.store import Store

_SUFFIX = ".json"
_DIGEST = re.compile(r"[A-Za-z0-9_-]{1,64}")


class UnreadablePlanError(Exception):
    """A published plan is damaged, or of another version of the project."""


@dataclass(frozen=True)
class PublishedSource:
    """Samples whose features a task reads."""

    digest: str
    networks: Mapping[str, str]
    """Feature network -> digest of its weights and preprocessing."""


@dataclass(frozen=True)
class PublishedTask:
    """What a plan says of a task."""

    kind: str
    title: str
    payload: Mapping[str, Any]
    until_step: int
    """train: last step wanted; 0 for others."""
    snapshot_steps: tuple[int, ...]
    sources: tuple[PublishedSource, ...] | None
    """None: the plan was published before plans said so."""

    @property
    def model_size(self) -> str:
        """Of a training; "" if the payload says none."""
        model = self.payload.get("model")
        return str(model.get("size", "")) if isinstance(model, Mapping) else ""


@dataclass(frozen=True)
class PublishedPlan:
    """A plan as its sweep was submitted last."""

    sweep: str
    tasks: Mapping[str, PublishedTask]


def published_sweeps(store: Store) -> list[str]:
    """Names of all sweeps that have a plan under the root."""
    names = store.names(PLANS)
    return [name.removesuffix(_SUFFIX) for name in names if name.endswith(_SUFFIX) and not name.startswith(".")]


def read_published(store: Store, sweep: str) -> PublishedPlan | None:
    """The published plan of a sweep; None if it was never submitted.

    Raises: UnreadablePlanError.
    """
    place = plan_file(sweep)
    try:
        document = json.loads(store.read(place))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise UnreadablePlanError(f"{store.uri(place)} is damaged ({error})") from None
    try:
        if document["format"] != PLAN_FORMAT:
            raise UnreadablePlanError(
                f"{store.uri(place)} has plan format {document['format']!r}, this version knows {PLAN_FORMAT}"
            )
        return PublishedPlan(sweep, {checked_digest(digest): _task(task) for digest, task in document["tasks"].items()})
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise UnreadablePlanError(f"{store.uri(place)} is not a sweep's plan ({reason})") from None


def checked_digest(text: Any) -> str:
    """A digest as it can be part of a path. Raises: ValueError: a plan that was tampered with leads nowhere."""
    if not isinstance(text, str) or not _DIGEST.fullmatch(text):
        raise ValueError(f"{text!r} is no digest")
    return text


def _task(task: Mapping[str, Any]) -> PublishedTask:
    """Raises: KeyError, TypeError, ValueError, AttributeError if it is no task."""
    is_training = task["kind"] == "train"
    sources = task.get("sources")
    return PublishedTask(
        kind=str(task["kind"]),
        title=str(task["title"]),
        payload=dict(task["payload"]),
        until_step=int(task["until_step"]) if is_training else 0,
        snapshot_steps=tuple(map(int, task["snapshot_steps"])) if is_training else (),
        sources=None if sources is None else tuple(_source(source) for source in sources),
    )


def _source(source: Mapping[str, Any]) -> PublishedSource:
    networks = {checked_digest(name): checked_digest(digest) for name, digest in source["networks"].items()}
    return PublishedSource(checked_digest(source["digest"]), networks)
