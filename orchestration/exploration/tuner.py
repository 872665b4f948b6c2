"""An exploration by Ray Tune's Tuner, in a thread of the driver, with trials that take no CPU."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import uuid
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import ray
from ray import tune
from ray.tune import Callback, FailureConfig, PlacementGroupFactory, RunConfig, TuneConfig, Tuner
from ray.tune.stopper import Stopper

from orchestration.exploration.callbacks import make_callbacks
from orchestration.exploration.exploration import Exploration
from orchestration.exploration.proposals import Proposals
from orchestration.exploration.trainable import DESK, NUMBER, TIME, RungAnswer, explore, start_rung_desk
from orchestration.spec.search.section import MOST_TOGETHER, SearchSpec
from orchestration.spec.search.trial import SearchTrial
from orchestration.storage.layout import TUNE_RUNS
from orchestration.storage.scratch import scratch_folder
from orchestration.storage.store import Store

_LOG = logging.getLogger(__name__)
_SILENT = {"TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1", "RAY_AIR_NEW_OUTPUT": "0"}
"""Tune writes the files that a search names alone, and nothing into the terminal."""
_MOST_TRIALS = 1_000_000
_RETRIES = 3
"""Tries of a trial whose process is killed."""
_SECONDS_TO_FINISH, _SECONDS_TO_END = 60.0, 3.0
"""Seconds for Tune once every trial has ended, and once it is not wanted any more."""


class TunerExploration(Exploration):
    """A search under `Tuner.fit`."""

    def __init__(self, title: str, store: Store, search: SearchSpec, trials: Iterable[SearchTrial]) -> None:
        """Args: title: name of its files. store: takes what callbacks write; Tune's own files are thrown away."""
        self._title, self._store = title, store
        super().__init__(search, trials)

    @property
    def failure(self) -> str:
        return self._error

    def seal(self) -> None:
        self._proposals.seal()

    def close(self) -> None:
        is_over = self._proposals.is_sealed and self._num_ended == self._num_trials
        if is_over and self._search.config.callbacks:  # they hear of every trial; else nobody waits for the rest
            self._thread.join(_SECONDS_TO_FINISH)
        self._is_closed.set()
        self._proposals.close()
        with contextlib.suppress(ray.exceptions.RayError):  # the cluster may be lost, or this actor
            ray.get(self._desk.close.remote(), timeout=_SECONDS_TO_END)
        self._thread.join(_SECONDS_TO_END)  # what it still waits for then are processes that end with Ray

    def _begin(self) -> None:
        for name, value in _SILENT.items():
            os.environ.setdefault(name, value)
        for name in ("ray.tune", "ray.air"):  # what ends a trial or Tune is told as `failure`
            logging.getLogger(name).setLevel(logging.CRITICAL)
        node = f"node:{ray.util.get_node_ip_address()}"
        self._trial_resources = PlacementGroupFactory([{node: 0.5 / MOST_TOGETHER}])
        self._desk_name = f"rung desk {uuid.uuid4().hex}"
        self._desk = start_rung_desk(self._desk_name, node, 0.5 / MOST_TOGETHER)
        self._proposals = Proposals(self._metric, self._mode, MOST_TOGETHER)
        self._is_closed, self._error = threading.Event(), ""
        self._thread = threading.Thread(target=self._fit, name=f"tuner of {self._title}", daemon=True)
        self._thread.start()

    def _start(self, trial: SearchTrial) -> None:
        self._proposals.put({NUMBER: trial.number, DESK: self._desk_name, **trial.settings})

    def _answer(self, number: int, answer: RungAnswer) -> None:
        if answer.is_last and not self._search.config.trial_scheduler.compares_all:
            self._proposals.note_answered(number)
        self._desk.tell.remote(number, answer)

    def _fit(self) -> None:
        try:
            with self._place() as place:
                self._tuner(place).fit()
            if not (self._is_closed.is_set() or self._proposals.is_done):
                self._error = "Ray Tune ended before the search did"
        except Exception as error:  # noqa: BLE001  any error of Tune, or of a callback: the search starts it anew
            self._error = f"{type(error).__name__}: {error}"
            _LOG.debug("Ray Tune failed", exc_info=True)

    @contextlib.contextmanager
    def _place(self) -> Iterator[dict[str, Any]]:
        """Yield where Tune writes, as arguments of a `RunConfig`."""
        if self._search.config.callbacks:
            filesystem = self._store.pyarrow_filesystem()
            yield {"storage_path": self._store.path(TUNE_RUNS), "storage_filesystem": filesystem}
        else:
            with scratch_folder("tune") as folder:
                yield {"storage_path": str(folder)}

    def _tuner(self, place: Mapping[str, Any]) -> Tuner:
        return Tuner(
            tune.with_resources(explore, self._trial_resources),
            param_space={NUMBER: -1},
            tune_config=TuneConfig(
                search_alg=self._proposals,
                scheduler=self._scheduler,
                num_samples=_MOST_TRIALS,
                max_concurrent_trials=None,
                reuse_actors=True,
                trial_name_creator=_name,
                trial_dirname_creator=_name,
            ),
            run_config=RunConfig(
                name=self._title,
                **place,
                verbose=0,
                stop=_StopWhenClosed(self._is_closed),
                failure_config=FailureConfig(max_failures=_RETRIES),
                callbacks=[_Acknowledge(self._desk), *make_callbacks(self._search.config.callbacks)],
            ),
        )


class _StopWhenClosed(Stopper):  # type: ignore[misc]  # Ray has no types
    """Ends Tune's loop once the search is closed."""

    def __init__(self, is_closed: threading.Event) -> None:
        self._is_closed = is_closed

    def __getstate__(self) -> dict[str, Any]:
        return {}

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:  # noqa: ARG002
        return False

    def stop_all(self) -> bool:
        return self._is_closed.is_set()


class _Acknowledge(Callback):  # type: ignore[misc]  # Ray has no types
    """Tells the desk which rungs were decided, so that a trial that is started anew goes on after them."""

    def __init__(self, desk: Any) -> None:
        self._desk = desk

    def on_trial_result(
        self,
        iteration: int,  # noqa: ARG002
        trials: list[Any],  # noqa: ARG002
        trial: Any,
        result: dict[str, Any],
        **info: Any,  # noqa: ARG002
    ) -> None:
        self._desk.decided.remote(trial.config[NUMBER], result[TIME])


def _name(trial: Any) -> str:
    return f"trial-{trial.config[NUMBER]}"
