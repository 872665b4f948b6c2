"""An MLflow server behind the client's interface: slow, away, or with answers that are lost."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from tests.simulation.kernel import World, current

_LATENCY, _SLOW = (0.001, 0.02), (1.0, 5.0)


@dataclass
class Run:
    """A run as the server keeps it."""

    run_id: str
    status: str = "RUNNING"
    tags: dict[str, str] = field(default_factory=dict)
    params: dict[str, str] = field(default_factory=dict)
    points: dict[str, list[tuple[int, float]]] = field(default_factory=dict)
    files: set[str] = field(default_factory=set)


class AwayError(Exception):
    """The server does not answer."""


class Server:
    """The runs of all experiments; outlives drivers."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.runs: dict[str, Run] = {}
        self.experiments: dict[str, str] = {}
        self.spells: list[tuple[float, float, str]] = []
        """(begin, end, "away", "slow" or "lost answer")."""
        self._ids = itertools.count()

    def ask(self, call: Callable[[], Any]) -> Any:
        world = self.world
        world.enter("tracker")
        trouble = next((kind for begin, end, kind in self.spells if begin <= world.now < end), "")
        world.sleep(world.random.uniform(*(_SLOW if trouble == "slow" else _LATENCY)))
        if trouble == "away":
            raise AwayError("connection refused")
        answer = call()
        world.enter("tracker's answer")
        if trouble == "lost answer":
            raise AwayError("connection reset")
        return answer


class Page(list[Any]):
    """A page of runs; there is one alone."""

    token = None


def _server() -> Server:
    server: Server = current().mlflow  # type: ignore[attr-defined]  # set by `run`
    return server


class Client:
    """`MlflowClient`."""

    def __init__(self, tracking_uri: str) -> None: ...

    def get_experiment_by_name(self, name: str) -> Any:
        there = _server().ask(lambda: name in _server().experiments)
        return SimpleNamespace(experiment_id=name, lifecycle_stage="active") if there else None

    def create_experiment(self, name: str, artifact_location: str, tags: Mapping[str, str]) -> str:  # noqa: ARG002
        _server().ask(lambda: _server().experiments.setdefault(name, name))
        return name

    def search_runs(self, _experiments: list[str], max_results: int, page_token: Any) -> Page:  # noqa: ARG002
        return Page(_server().ask(lambda: [_shown(run) for run in _server().runs.values()]))

    def get_metric_history(self, run_id: str, name: str) -> list[Any]:
        points = _server().ask(lambda: list(_server().runs[run_id].points.get(name, ())))
        return [SimpleNamespace(step=step, value=value) for step, value in points]

    def create_run(self, _experiment: str, tags: Mapping[str, str], run_name: str) -> Any:  # noqa: ARG002
        server = _server()

        def create() -> Run:
            run = Run(f"run-{next(server._ids)}", tags=dict(tags))
            server.runs[run.run_id] = run
            return run

        return SimpleNamespace(info=SimpleNamespace(run_id=server.ask(create).run_id))

    def log_batch(
        self, run_id: str, metrics: Sequence[Any] = (), params: Sequence[Any] = (), tags: Sequence[Any] = ()
    ) -> None:
        def log() -> None:
            run = _server().runs[run_id]
            for one in metrics:
                points = run.points.setdefault(one.key, [])
                if (one.step, one.value) not in points:
                    points.append((one.step, one.value))
            run.params |= {one.key: one.value for one in params}
            run.tags |= {one.key: one.value for one in tags}

        _server().ask(log)

    def set_tag(self, run_id: str, key: str, value: str) -> None:
        _server().ask(lambda: _server().runs[run_id].tags.update({key: value}))

    def update_run(self, run_id: str, status: str) -> None:
        _server().ask(lambda: setattr(_server().runs[run_id], "status", status))

    set_terminated = update_run

    def log_dict(self, run_id: str, _content: Any, name: str) -> None:
        _server().ask(lambda: _server().runs[run_id].files.add(name))

    log_text = log_dict

    def log_artifact(self, run_id: str, local: str) -> None:
        _server().ask(lambda: _server().runs[run_id].files.add(local.rpartition("/")[2]))


def _shown(run: Run) -> Any:
    data = SimpleNamespace(tags=dict(run.tags), params=dict(run.params), metrics=dict.fromkeys(run.points, 0.0))
    return SimpleNamespace(data=data, info=SimpleNamespace(run_id=run.run_id, status=run.status))
