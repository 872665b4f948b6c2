"""The plans that were published under a storage root, as other sweeps and later versions of one read them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from json import JSONDecodeError
from typing import Any

from analysis.contract.plan_schema import PLAN_FORMAT, PlanFormatError, SourceEntry, TaskEntry, parse_plan_document
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
    """A task as its plan describes it."""

    kind: str
    title: str
    payload: Mapping[str, Any]
    until_step: int
    """Last step of a `train` task; 0 for others."""
    snapshot_steps: tuple[int, ...]
    sources: tuple[PublishedSource, ...] | None
    """None: the plan was published before plans said so."""
    train: str = ""
    """Digest of the training that an evaluation measures; "" for other tasks."""

    @property
    def model_size(self) -> str:
        """Model size of a training; "" if the payload says none."""
        model = self.payload.get("model")
        return str(model.get("size", "")) if isinstance(model, Mapping) else ""


@dataclass(frozen=True)
class PublishedPlan:
    """A plan as its sweep was submitted last."""

    sweep: str
    tasks: Mapping[str, PublishedTask]


def published_sweeps(store: Store) -> list[str]:
    """Return the names of all sweeps that have a plan under the root."""
    names = store.names(PLANS)
    return [name.removesuffix(_SUFFIX) for name in names if name.endswith(_SUFFIX) and not name.startswith(".")]


def read_published(store: Store, sweep: str) -> PublishedPlan | None:
    """Return the published plan of a sweep; None if it was never submitted.

    Raises: UnreadablePlanError.
    """
    place = plan_file(sweep)
    try:
        document = parse_plan_document(store.read_document(place))
        return PublishedPlan(sweep, {checked_digest(digest): _task(task) for digest, task in document["tasks"].items()})
    except FileNotFoundError:
        return None
    except PlanFormatError as error:
        raise UnreadablePlanError(
            f"{store.uri(place)} has plan format {error.given!r}, this version knows {PLAN_FORMAT}"
        ) from None
    except (JSONDecodeError, UnicodeDecodeError) as error:
        raise UnreadablePlanError(f"{store.uri(place)} is damaged ({error})") from None
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise UnreadablePlanError(f"{store.uri(place)} is not a sweep's plan ({reason})") from None


def checked_digest(text: Any) -> str:
    """Return a digest that can be part of a path. Raises: ValueError: a plan that was tampered with leads nowhere."""
    if not isinstance(text, str) or not _DIGEST.fullmatch(text):
        raise ValueError(f"{text!r} is no digest")
    return text


def _task(task: TaskEntry) -> PublishedTask:
    """Raises: KeyError, TypeError, ValueError, AttributeError if it is no task."""
    is_training = task["kind"] == "train"
    sources = task.get("sources")
    return PublishedTask(
        kind=str(task["kind"]),
        title=str(task["title"]),
        payload=dict(task["payload"]),
        until_step=int(task["until_step"]) if is_training else 0,
        snapshot_steps=tuple(map(int, task["snapshot_steps"])) if is_training else (),
        train=str(task.get("train", "")) if task["kind"] == "evaluate" else "",
        sources=None if sources is None else tuple(_source(source) for source in sources),
    )


def _source(source: SourceEntry) -> PublishedSource:
    networks = {checked_digest(name): checked_digest(digest) for name, digest in source["networks"].items()}
    return PublishedSource(checked_digest(source["digest"]), networks)
