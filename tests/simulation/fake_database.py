"""The database of studies: Optuna's own in memory, behind calls that leave the process and may be the driver's last."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from optuna.storages import BaseStorage, InMemoryStorage
from optuna.trial import TrialState

from tests.simulation.kernel import current

_LATENCY = (0.001, 0.01)


class StudyStorage(InMemoryStorage):
    """Studies that outlive drivers."""

    def __init__(self) -> None:
        self._is_inside = False
        super().__init__()

    def ended(self) -> list[tuple[int, int]]:
        """Return (study, number) of every trial that is complete or pruned."""
        trials = [(key, trial) for key, study in self._studies.items() for trial in study.trials]
        well = (TrialState.COMPLETE, TrialState.PRUNED)
        return [(key, trial.user_attrs["number"]) for key, trial in trials if trial.state in well]


def _outside(name: str) -> Callable[..., Any]:
    method = getattr(InMemoryStorage, name)

    def call(self: StudyStorage, *arguments: Any, **options: Any) -> Any:
        if self._is_inside:
            return method(self, *arguments, **options)
        world = current()
        world.enter("database")
        world.sleep(world.random.uniform(*_LATENCY))
        self._is_inside = True
        try:
            answer = method(self, *arguments, **options)
        finally:
            self._is_inside = False
        world.enter("database's answer")
        return answer

    return call


for _name in sorted(BaseStorage.__abstractmethods__):
    setattr(StudyStorage, _name, _outside(_name))


class Database:
    """`StudyDatabase` of the current world."""

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self.storage = current().studies  # type: ignore[attr-defined]  # set by `run`
