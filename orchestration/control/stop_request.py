"""The request that a driver stops, left in the store. It names one driver: the next submission has another name."""

from __future__ import annotations

import json
import logging
import uuid
from dataclasses import dataclass, field

from orchestration.parsing.documents import parse_document
from orchestration.storage.layout import stop_file
from orchestration.storage.store import Store

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class StopRequest:
    """A request to one driver."""

    driver: str
    """Name of the launch that is to stop; see `Heartbeat.driver`."""
    request: str = field(default_factory=lambda: uuid.uuid4().hex)
    """Name of this request; the driver repeats it in its heartbeat as an answer."""


def ask_to_stop(store: Store, sweep: str, request: StopRequest) -> None:
    store.write(stop_file(sweep), json.dumps(vars(request)).encode())


def read_stop_request(store: Store, sweep: str) -> StopRequest | None:
    """Return the request; None if there is none that can be read: then `--stop` says that nobody answered."""
    try:
        data = parse_document(store.read_document(stop_file(sweep)))
        return StopRequest(str(data["driver"]), str(data["request"]))
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        _LOG.warning("%s is no stop request (%s)", store.uri(stop_file(sweep)), error)
        return None


def withdraw(store: Store, sweep: str, request: StopRequest) -> None:
    """Remove a request, unless another one has taken its place."""
    if read_stop_request(store, sweep) == request:
        store.remove(stop_file(sweep))
