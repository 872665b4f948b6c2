"""The lease of a sweep: the driver with the highest epoch may write. A fencing token, which no clock can confuse.

Every driver takes the next epoch by creating a file that must not be there yet, which of two at once only one can. A
driver that was out of reach for a while, or frozen, finds an epoch above its own and leaves the sweep to that driver.
The files stay: an epoch whose file was removed could be taken again, so a driver whose own is gone ends, too.
"""

from __future__ import annotations

import json
import os
import re
import socket
from dataclasses import dataclass

from orchestration.parsing.documents import parse_document
from orchestration.storage.layout import lease_directory, lease_file
from orchestration.storage.store import Store


@dataclass(frozen=True)
class Lease:
    """A driver's right to write of a sweep."""

    epoch: int
    driver: str
    host: str
    pid: int

    def __str__(self) -> str:
        return f"{self.pid} on {self.host}"


def take_lease(store: Store, sweep: str, driver: str) -> Lease | None:
    """Take the next epoch; return None if another driver took it in this moment."""
    lease = Lease(max(_epochs(store, sweep), default=0) + 1, driver, socket.gethostname(), os.getpid())
    created = store.create(lease_file(sweep, lease.epoch), json.dumps(vars(lease), sort_keys=True).encode())
    return lease if created else None


def lease_in_force(store: Store, sweep: str, own: Lease) -> Lease | None:
    """Return the lease that holds the sweep now: the driver's own, or the one that ended it; None if there is none."""
    epoch = own.epoch
    if store.exists(lease_file(sweep, epoch + 1)):  # nobody can take an epoch without the one before it
        epoch = max((other for other in _epochs(store, sweep) if other > epoch), default=epoch + 1)
    try:
        return Lease(**parse_document(store.read_document(lease_file(sweep, epoch))))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError):  # whoever holds it, this one is over
        return Lease(epoch, "", "a machine that cannot be read", 0)


def _epochs(store: Store, sweep: str) -> list[int]:
    names = store.names(lease_directory(sweep))
    return [int(match[1]) for name in names if (match := re.fullmatch(r"epoch-(\d{9})\.json", name))]
