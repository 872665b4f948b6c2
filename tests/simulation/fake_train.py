"""Ray Train as the driver uses it: a run that starts workers, asks its callbacks about errors, and starts them anew."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import ray
from ray.train import ControllerError, WorkerGroupError

from orchestration.training import worker
from tests.simulation.fake_ray import Answer, Method
from tests.simulation.kernel import Event, Killed, Process, current

_START_SECONDS = (0.5, 2.0)


class WorkQueueHandle:
    """The actor of `control.work_queue`, whose calls are answered once they can be."""

    def __init__(self) -> None:
        self._serial, self._request, self._is_done, self._closed, self._asked = 0, None, True, False, False
        self._open: list[tuple[Callable[[], bool], Callable[[], Any], Answer]] = []
        self.is_dead = False

    def __getattr__(self, name: str) -> Method:
        if name.startswith("__") or name not in ("put", "take", "asked", "finish", "done", "close"):
            raise AttributeError(name)
        return Method(lambda *arguments: self._call(getattr(self, f"_on_{name}"), *arguments))

    def lose(self) -> None:
        self.is_dead = True
        for _, _, answer in self._open:
            answer.fail(ray.exceptions.ActorDiedError())

    def _call(self, method: Callable[..., tuple[Callable[[], bool], Callable[[], Any]]], *arguments: Any) -> Answer:
        answer = Answer()
        if self.is_dead:
            answer.fail(ray.exceptions.ActorDiedError())
            return answer
        self._open.append((*method(*arguments), answer))
        waiting, self._open = self._open, []
        for can, value, one in waiting:
            if can():
                one.give(value())
            else:
                self._open.append((can, value, one))
        return answer

    def _on_put(self, request: Any) -> Any:
        assert self._is_done, "one training at a time"
        self._serial, self._request, self._is_done = self._serial + 1, request, False
        return lambda: True, lambda: self._serial

    def _on_take(self, last: int) -> Any:
        self._asked = True
        can = lambda: self._serial > last or self._closed  # noqa: E731
        return can, lambda: (self._serial, self._request) if self._serial > last else None

    def _on_asked(self) -> Any:
        return lambda: self._asked, lambda: None

    def _on_finish(self, serial: int) -> Any:
        self._is_done = self._is_done or serial == self._serial
        return lambda: True, lambda: None

    def _on_done(self, serial: int) -> Any:
        return lambda: serial < self._serial or self._is_done, lambda: None

    def _on_close(self) -> Any:
        self._closed = True
        return lambda: True, lambda: None


def start_work_queue() -> tuple[str, Any]:
    cluster = current().cluster  # type: ignore[attr-defined]  # set by `run`
    name, handle = cluster.named("work-queue"), WorkQueueHandle()
    cluster.named_actors[name] = handle
    return name, handle


class Trainer:
    """`TorchTrainer`: one run."""

    def __init__(
        self,
        _loop: Any,
        train_loop_config: Any,
        scaling_config: Any,
        run_config: Any,
        torch_config: Any = None,  # noqa: ARG002
    ) -> None:
        self._config, self._scaling, self._run = train_loop_config, scaling_config, run_config
        self._driver = current().thread.process
        self._ended = Event()
        self._error: BaseException | None = None
        self._worker: Process | None = None

    def fit(self) -> None:
        """Return when the workers have ended. Raises: ControllerError, WorkerGroupError."""
        world = current()
        cluster = world.cluster  # type: ignore[attr-defined]
        controller = self.process = world.add_process(cluster.named("controller"))
        controller.driver = world.thread.process  # type: ignore[attr-defined]
        cluster.adopt(controller)
        controller.at_end.append(self._lost)
        cluster.runs.append(self)
        world.start(controller, "controller", self._control)
        self._ended.wait()
        if self in cluster.runs:
            cluster.runs.remove(self)
        if self._error is not None:
            raise self._error

    def _lost(self) -> None:
        if not self._ended.is_set():
            self._error = ControllerError(ray.exceptions.ActorDiedError())
            self._ended.set()
        if self._worker is not None:
            current().kill(self._worker)

    def _control(self) -> None:
        failures = self._run.failure_config
        left, left_preempted = failures.max_failures, failures.max_preemption_failures
        while True:
            error = self._attempt()
            if error is None:
                break
            errors = {0: error}
            try:
                for callback in getattr(self._run, "callbacks", ()):
                    callback.after_exception(None, errors)
            except ControllerError as end:
                self._error = end
                break
            if getattr(error, "preempted", False):
                left_preempted -= 1
                is_over = failures.max_preemption_failures >= 0 and left_preempted < 0
            else:
                left -= 1
                is_over = left < 0
            if is_over:
                self._error = WorkerGroupError("workers failed", errors)
                break
        self._ended.set()

    def _attempt(self) -> Exception | None:
        """Start workers and wait for their end. Return their error."""
        world = current()
        cluster = world.cluster  # type: ignore[attr-defined]
        process = self._worker = world.add_process(cluster.named("worker"))
        process.driver = self._driver  # type: ignore[attr-defined]
        cluster.adopt(process)
        ended, errors = Event(), list[Exception]()
        process.at_end.append(ended.set)

        def work() -> None:
            cluster.place(process, self._scaling.num_cpus)
            world.sleep(world.random.uniform(*_START_SECONDS))
            try:
                worker.train_worker(self._config)
            except Killed:
                raise
            except Exception as error:  # noqa: BLE001  Ray Train passes on whatever a worker raises
                errors.append(error)
                world.kill(process)
            else:
                errors.append(_NO_ERROR)
                world.kill(process)

        world.start(process, "work", work)
        ended.wait()
        if not errors:
            if getattr(process, "is_preempted", False):
                return ray.exceptions.RayActorError(error_msg="its node was taken away", preempted=True)
            return ray.exceptions.ActorDiedError()
        return None if errors[0] is _NO_ERROR else errors[0]


_NO_ERROR = Exception("none")


def preemption_info() -> object | None:
    """Return something if the worker of now is on a node that is to be taken away."""
    return True if getattr(current().thread.process, "is_preempted", False) else None


def end_runs(_job: str) -> None:
    """End all runs of the driver of now, as it leaves."""
    world = current()
    cluster = world.cluster  # type: ignore[attr-defined]
    for run in list(cluster.runs):
        if run._driver is world.thread.process:
            world.kill(run.process)


def run_config(**values: Any) -> SimpleNamespace:
    return SimpleNamespace(**values)


def scaling_config(num_workers: int, use_gpu: bool, resources_per_worker: dict[str, float]) -> SimpleNamespace:  # noqa: ARG001
    return SimpleNamespace(num_cpus=num_workers * int(resources_per_worker["CPU"]))
