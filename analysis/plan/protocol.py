"""How numbers were measured, as plan and records say it: what has to be equal for two of them to be compared. Pure."""

from __future__ import annotations

import hashlib
import json
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

FIELDS = (
    "metric",
    "network",
    "weights_sha256",
    "preprocessing",
    "num_samples",
    "reference",
    "guidance",
    "ema_decay",
    "label_sampling",
    "settings",
)
MEANT_TO_DIFFER = frozenset({"guidance", "ema_decay"})
"""Fields in which the rows of a table may differ and still be compared."""
OF_THE_TASK = ("noise_seed", "error_replicates")
"""Fields that a record does not have, since the task's digest decides them: noise seed, replicates of the error."""
FREE_FOR_REAL_IMAGES = MEANT_TO_DIFFER | {"label_sampling", "noise_seed"}
"""Fields that mean nothing for images that no model made."""

_DIGEST = re.compile(r"[0-9a-f]{16,}")
_DIGEST_SHOWN = 12


@dataclass(frozen=True)
class Protocol:
    """Everything that is fixed about a measurement."""

    values: Mapping[str, Any]
    """By field; all of FIELDS, and whatever else was written beside them."""

    @property
    def id(self) -> str:
        """First 12 digits of the sha256 over all fields: the column `protocol` of table.csv."""
        return hashlib.sha256(json.dumps(dict(self.values), sort_keys=True).encode()).hexdigest()[:_DIGEST_SHOWN]

    @property
    def network(self) -> str:
        """Feature network and layer."""
        return str(self.values["network"])

    @property
    def num_samples(self) -> int:
        return int(self.values["num_samples"])

    @property
    def guidance(self) -> float:
        return float(self.values["guidance"])

    def differences(self, other: Protocol) -> dict[str, tuple[Any, Any]]:
        """Fields that differ, with this and the other value; None for one that is absent."""
        names = dict.fromkeys((*FIELDS, *self.values, *other.values))
        pairs = {name: (self.values.get(name), other.values.get(name)) for name in names}
        return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


@dataclass(frozen=True)
class ProtocolPair:
    """How a number was to be measured, and what the evaluator says it did; None where nobody says it."""

    planned: Protocol | None
    recorded: Protocol | None = None

    @property
    def effective(self) -> Protocol | None:
        """The recorded protocol, or else the planned one."""
        return self.recorded or self.planned

    @property
    def deviations(self) -> dict[str, tuple[Any, Any]]:
        """Fields in which the record is another than the plan: (recorded, planned)."""
        if self.planned is None or self.recorded is None:
            return {}
        return self.recorded.differences(self.planned)


def with_task_fields(protocol: Protocol, values: Mapping[str, Any]) -> Protocol:
    """Return a protocol with those of OF_THE_TASK that it lacks; values that are None are left out."""
    known = {name: values[name] for name in OF_THE_TASK if values.get(name) is not None}
    return Protocol({**known, **protocol.values})


def parse_protocol(entry: Any) -> Protocol:
    """A protocol out of its JSON object.

    Raises: TypeError if it is none; ValueError if it lacks a field or if what is counted or weighed there is no number.
    """
    if not isinstance(entry, Mapping):
        raise TypeError(f"a protocol is a JSON object, not {json.dumps(entry)[:40]}")
    missing = [name for name in FIELDS if name not in entry]
    if missing:
        raise ValueError(f"a protocol lacks {', '.join(missing)}")
    samples, guidance = entry["num_samples"], entry["guidance"]
    if type(samples) is not int:
        raise ValueError(f"num_samples of a protocol is a whole number, not {samples!r}")
    if type(guidance) not in (int, float) or not abs(guidance) <= sys.float_info.max:
        raise ValueError(f"guidance of a protocol is a finite number, not {guidance!r}")
    return Protocol(dict(entry))


def shown(value: Any) -> str:
    """A field's value for people: 10000 as 10,000, a digest by its first 12 digits."""
    if isinstance(value, str):
        return value[:_DIGEST_SHOWN] if _DIGEST.fullmatch(value) else value or "none"
    if isinstance(value, float):
        short = f"{value:g}"
        return short if float(short) == value else repr(value)
    return f"{value:,}" if type(value) is int else "none" if value is None else json.dumps(value, sort_keys=True)


def shown_apart(values: Sequence[Any]) -> list[str]:
    """Values for people, in full where short forms of unequal ones are alike."""
    short, full = [shown(value) for value in values], [json.dumps(value, sort_keys=True) for value in values]
    return short if len(set(short)) == len(set(full)) else full
