"""Errors of measured numbers by their finite samples: a part of a record's `about` with a version of its own.

An error enters no digest: it is computed anew from stored features, without sampling, when it is defined anew.
"""

from __future__ import annotations

import base64
import math
import sys
from array import array
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NotRequired, TypedDict

ERRORS = "errors"
"""Key of the part in `about`."""
ERRORS_VERSION = 1
EARLIER = "earlier bootstrap or closed form"
"""Method of the errors of records without the part."""


class ErrorEntry(TypedDict):
    """The error of one metric."""

    method: str
    value: float
    standard_error: float
    apart: float
    design: str
    influences: str
    """float32, little-endian, base64."""
    bias: NotRequired[float]
    interval: NotRequired[list[float]]


class ErrorsDocument(TypedDict):
    """The part of a record."""

    version: int
    metrics: Mapping[str, ErrorEntry]


@dataclass(frozen=True)
class MetricError:
    """The error of a number, if other samples had been drawn; the reference is held."""

    method: str
    value: float
    """The number, without correction."""
    standard_error: float
    influences: tuple[float, ...] = ()
    """Influences on the number of parts of the samples, which are the same parts for all numbers of one `design`."""
    apart: float = 0.0
    """Standard error that is not in the influences; `standard_error` is the root of the sum of all squares."""
    design: str = ""
    """Number of samples and their parts."""
    bias: float | None = None
    """Estimated bias; None: not estimated, or of a metric that is read at its number of samples."""
    interval: tuple[float, float] | None = None
    """95% interval of a share."""

    @property
    def corrected(self) -> float | None:
        """The number without its estimated bias."""
        return None if self.bias is None else self.value - self.bias

    def document(self) -> ErrorEntry:
        """Return the entry of the record."""
        content = array("f", self.influences)
        if sys.byteorder == "big":
            content.byteswap()
        entry: ErrorEntry = {
            "method": self.method,
            "value": self.value,
            "standard_error": self.standard_error,
            "apart": self.apart,
            "design": self.design,
            "influences": base64.b64encode(content.tobytes()).decode(),
        }
        if self.bias is not None:
            entry["bias"] = self.bias
        if self.interval is not None:
            entry["interval"] = list(self.interval)
        return entry


def errors_document(errors: Mapping[str, MetricError]) -> ErrorsDocument:
    """Return the part of a record."""
    return {"version": ERRORS_VERSION, "metrics": {name: error.document() for name, error in sorted(errors.items())}}


def parse_metric_error(entry: Mapping[str, Any]) -> MetricError:
    """Return the error of an entry. Raises: KeyError, TypeError or ValueError if it is none."""
    content = array("f", base64.b64decode(entry["influences"], validate=True))
    if sys.byteorder == "big":
        content.byteswap()
    bias, interval = entry.get("bias"), entry.get("interval")
    low_high = None if interval is None else (float(interval[0]), float(interval[1]))
    error = MetricError(
        str(entry["method"]),
        float(entry["value"]),
        float(entry["standard_error"]),
        tuple(content),
        float(entry["apart"]),
        str(entry["design"]),
        None if bias is None else float(bias),
        low_high,
    )
    numbers = (error.standard_error, error.apart, *error.influences, error.bias or 0.0, *(low_high or ()))
    if not all(map(math.isfinite, numbers)) or min(error.standard_error, error.apart) < 0:
        raise ValueError("it holds numbers that no error has")
    return error


def combined_standard_error(terms: Iterable[tuple[float, MetricError]]) -> float:
    """Return the standard error of the sum of weight times number.

    Numbers of one design were measured on samples of the same indices, with the same noise where they were generated:
    their influences add up part by part, so that common noise cancels in a difference. Numbers of different designs,
    and what of an error is not in its influences, are independent.

    Args: terms: e.g. (1, a), (-1, b) for the difference of two rows; (1 / n, ...) for each of n seeds.
    """
    sums: dict[tuple[str, str, int], list[float]] = defaultdict(list)
    squares = []
    for weight, error in terms:
        key = (error.method, error.design, len(error.influences))
        before = sums[key] or [0.0] * len(error.influences)
        sums[key] = [total + weight * one for total, one in zip(before, error.influences, strict=True)]
        squares.append((weight * error.apart) ** 2)
    squares += [one * one for total in sums.values() for one in total]
    return math.sqrt(math.fsum(squares))


def paired_standard_error(one: MetricError, other: MetricError) -> float:
    """Return the standard error of the difference of two numbers, paired sample by sample where they share noise."""
    return combined_standard_error([(1.0, one), (-1.0, other)])
