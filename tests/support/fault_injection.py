"""Faults on purpose, for tests of what a training survives: a worker does at a step what `DFM_FAULT` says, once.

`orchestration.training.fault_hook` loads this module where the variable is set; it travels with `ray job submit`. A
fault that happened is recorded in the store, so that the next attempt is undisturbed.
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from torch import Tensor

from dfm_core.config import SamplingConfig
from dfm_core.paradigms import Batch, LossResult, Paradigm
from dfm_core.paradigms.base import SampleResult, SampleWatcher, VelocityPredictor
from dfm_core.paradigms.draws import Draws
from dfm_core.paradigms.shared_steps import PointSteps
from orchestration.common.errors import Problem, UserError, nearest
from orchestration.storage.layout import FAULTS
from orchestration.storage.store import Store
from orchestration.training.fault_hook import VARIABLE

SLOW_SECONDS = 3.0
_MOST_BYTES, _CHUNK_BYTES = 8 * 2**30, 64 * 2**20


class InjectedError(Exception):
    """Raised by the action `error`."""


@dataclass(frozen=True)
class Fault:
    """One fault of one worker."""

    rank: int
    step: int
    """Step in which it happens, counted from 1."""
    action: str

    def __str__(self) -> str:
        return f"{self.rank}:{self.step}:{self.action}"


def parse_faults(value: str) -> tuple[Fault, ...]:
    """Return the faults of `DFM_FAULT`'s value: rank:step:action, several with commas between them.

    Raises: UserError.
    """
    faults, problems = [], []
    for text in filter(None, value.split(",")):
        match = re.fullmatch(r"(\d{1,6}):(\d{1,9}):(\w+)", text.strip())
        if match is None:
            problems.append(Problem(VARIABLE, f"{text!r} is not rank:step:action, e.g. 1:25:kill"))
        elif match[3] not in ACTIONS:
            known = f"{nearest(match[3], list(ACTIONS)) or ';'} known: {', '.join(ACTIONS)}"
            problems.append(Problem(VARIABLE, f"{match[3]!r} is no action{known}"))
        else:
            faults.append(Fault(int(match[1]), int(match[2]), match[3]))
    if problems:
        raise UserError(problems)
    return tuple(faults)


def disturbed(paradigm: Paradigm, faults: str, rank: int, batch_size: int, store: Store) -> Paradigm:
    """Return the paradigm as this worker trains it: itself, if no fault is meant for it. Args: batch_size: global."""
    own = tuple(fault for fault in parse_faults(faults) if fault.rank == rank)
    return _Disturbed(paradigm, own, batch_size, store) if own else paradigm


class _Disturbed:
    """A paradigm whose loss is where the faults happen: between the batch and its gradient."""

    def __init__(self, paradigm: Paradigm, faults: Sequence[Fault], batch_size: int, store: Store) -> None:
        self._inner, self._faults, self._batch_size, self._store = paradigm, faults, batch_size, store

    def draw(self, indices: Sequence[int], sample_shape: tuple[int, ...]) -> Draws:
        return self._inner.draw(indices, sample_shape)

    def loss(self, model: VelocityPredictor, batch: Batch) -> LossResult:
        step = batch.indices[0] // self._batch_size + 1
        result = self._inner.loss(model, batch)
        for fault in self._faults:
            if fault.step == step and self._is_first(fault):
                result = ACTIONS[fault.action](result)
            elif fault.action == "nans" and step > fault.step:
                result = _not_a_number(result)
        return result

    def sample(
        self,
        model: VelocityPredictor,
        labels: Tensor,
        indices: Sequence[int],
        seed: int,
        sampling: SamplingConfig,
        watcher: SampleWatcher | None = None,
        shared: PointSteps | None = None,
    ) -> SampleResult:
        return self._inner.sample(model, labels, indices, seed, sampling, watcher, shared)

    def _is_first(self, fault: Fault) -> bool:
        """Return whether it has not happened under this storage root; from now on it has. Only its own worker asks."""
        place = f"{FAULTS}/{str(fault).replace(':', '-')}.json"
        if self._store.exists(place):
            return fault.action == "nans"  # from its step on always
        self._store.write(place, json.dumps({"host": socket.gethostname(), "pid": os.getpid()}).encode())
        return True


def _signal(number: int) -> Callable[[LossResult], LossResult]:
    def send(result: LossResult) -> LossResult:
        os.kill(os.getpid(), number)
        return result

    return send


def _hang(_result: LossResult) -> LossResult:
    while True:
        time.sleep(1)


def _slow(result: LossResult) -> LossResult:
    time.sleep(SLOW_SECONDS)
    return result


def _not_a_number(result: LossResult) -> LossResult:
    return replace(result, loss=result.loss * float("nan"))


def _error(_result: LossResult) -> LossResult:
    raise InjectedError("a fault on purpose")


def _fill_memory(_result: LossResult) -> LossResult:
    """Take memory until the process is ended or 8 GiB are taken."""
    held: list[Any] = []
    while len(held) * _CHUNK_BYTES < _MOST_BYTES:
        held.append(np.ones(_CHUNK_BYTES, dtype=np.uint8))
        time.sleep(0.02)
    raise MemoryError(f"{_MOST_BYTES} bytes were taken and nobody minded")


ACTIONS: dict[str, Callable[[LossResult], LossResult]] = {
    "kill": _signal(signal.SIGKILL),
    "freeze": _signal(signal.SIGSTOP),
    "hang": _hang,
    "slow": _slow,
    "nan": _not_a_number,
    "nans": _not_a_number,
    "memory": _fill_memory,
    "error": _error,
}
"""Actions by name. `freeze` stops the process until it is sent SIGCONT; `nans` is in all steps from then."""
