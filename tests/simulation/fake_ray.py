"""Ray as the driver uses it: actors with a process of their own, answers, names; and the nodes that they are on."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import ray

from orchestration.cluster.capacity import Capacity, NodeSize
from tests.simulation.kernel import Event, Killed, Process, World, current

_START_SECONDS = (0.3, 1.5)
_POLL_SECONDS = 0.5
_OUTLIVING_SECONDS = (0.0, 4.0)
"""Time for which what a driver started goes on once that is dead."""


@dataclass(eq=False)
class Node:
    """A machine of the cluster."""

    name: str
    num_cpus: int
    used: int = 0
    processes: list[Process] = field(default_factory=list)


class Answer:
    """An object reference."""

    def __init__(self) -> None:
        self.is_there = Event()
        self.value: Any = None
        self.error: BaseException | None = None

    def give(self, value: Any) -> None:
        if not self.is_there.is_set():
            self.value = value
            self.is_there.set()

    def fail(self, error: BaseException) -> None:
        if not self.is_there.is_set():
            self.error = error
            self.is_there.set()


class Method:
    """A method of an actor, to be called by `remote`."""

    def __init__(self, call: Callable[..., Any]) -> None:
        self._call = call

    def remote(self, *arguments: Any) -> Any:
        current().enter("ray")
        return self._call(*arguments)

    def options(self, num_returns: int = 1) -> Method:
        def call(*arguments: Any) -> Any:
            answer, large = self._call(*arguments), Answer()

            def pass_on() -> None:
                if answer.error is not None:
                    large.fail(answer.error)
                else:
                    large.give(answer.value[1])
                    answer.value = answer.value[0]

            answer.before = pass_on
            return answer, large

        return Method(call) if num_returns == 2 else self


class BoardHandle:
    """An actor whose calls take no time: it can be lost, and Ray starts it anew."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make, self._object, self._is_lost = make, make(), False

    def lose(self) -> None:
        self._object, self._is_lost = self._make(), True

    def __getattr__(self, name: str) -> Method:
        def call(*arguments: Any) -> Answer:
            answer = Answer()
            if self._is_lost:
                self._is_lost = False
                answer.fail(ray.exceptions.ActorDiedError())
            else:
                answer.give(getattr(self._object, name)(*arguments))
            return answer

        return Method(call)


class ActorHandle:
    """An actor with a process of its own, which makes one call after the other."""

    def __init__(self, cluster: Cluster, kind: Callable[..., Any], arguments: tuple[Any, ...], num_cpus: int) -> None:
        self._cluster, self._kind, self._arguments, self._num_cpus = cluster, kind, arguments, num_cpus
        world = current()
        self.process = world.add_process(cluster.named("evaluator"))
        self._calls: deque[tuple[Answer, str, tuple[Any, ...]]] = deque()
        self._owed: list[Answer] = []
        self._called = Event()
        self.process.at_end.append(self._died)
        cluster.adopt(self.process)
        world.start(self.process, "actor", self._run)

    def __getattr__(self, name: str) -> Method:
        def call(*arguments: Any) -> Answer:
            answer = Answer()
            if self.process.is_dead:
                answer.fail(ray.exceptions.ActorDiedError())
                return answer
            self._calls.append((answer, name, arguments))
            self._owed.append(answer)
            self._called.set()
            return answer

        return Method(call)

    def _died(self) -> None:
        for answer in self._owed:
            answer.fail(ray.exceptions.ActorDiedError())

    def _run(self) -> None:
        world, process = current(), self.process
        self._cluster.place(process, self._num_cpus)
        world.sleep(world.random.uniform(*_START_SECONDS))
        one = self._kind(*self._arguments)
        while True:
            while not self._calls:
                self._called.clear()
                self._called.wait()
            answer, name, arguments = self._calls.popleft()
            given = [one.value if isinstance(one, Answer) else one for one in arguments]
            try:
                value = getattr(one, name)(*given)
            except Killed:
                raise
            except Exception as error:  # noqa: BLE001  Ray passes on whatever a method raises
                answer.fail(ray.exceptions.RayTaskError(name, str(error), error).as_instanceof_cause())
            else:
                answer.give(value)
                if (pass_on := getattr(answer, "before", None)) is not None:
                    pass_on()


class Cluster:
    """The nodes of one world, and the actors on them."""

    def __init__(self, world: World, num_cpus: Collection[int]) -> None:
        self.world = world
        self._serials: dict[str, int] = {}
        self.nodes = [Node(f"node-{number}", cpus) for number, cpus in enumerate(num_cpus)]
        self.named_actors: dict[str, Any] = {}
        self.boards: list[BoardHandle] = []
        self.runs: list[Any] = []
        """Runs of Ray Train that go on."""
        self._names = itertools.count()
        self.held_seconds = 0.0
        """CPU-seconds for which processes that have ended held their room."""

    def named(self, role: str) -> str:
        """Return the next name of a process of a role."""
        number = self._serials.get(role, 0)
        self._serials[role] = number + 1
        return f"{role}-{number}"

    @property
    def capacity(self) -> Capacity:
        return Capacity(tuple(NodeSize(node.num_cpus) for node in self.nodes) or (NodeSize(1),))

    def adopt(self, process: Process) -> None:
        """Let a process end some time after the driver that has started it."""
        driver = self.driver_of_now()
        if driver is not None:
            driver.at_end.append(lambda: self._end_later(process))

    def driver_of_now(self) -> Process | None:
        process = self.world.thread.process
        return getattr(process, "driver", process if process.name.startswith("driver") else None)

    def place(self, process: Process, num_cpus: int) -> None:
        """Return when there is room for a process, which has it until its end."""
        while True:
            for node in self.nodes:
                if node.num_cpus - node.used >= num_cpus:
                    node.used += num_cpus
                    node.processes.append(process)
                    process.host = node.name
                    process.at_end.append(
                        lambda node=node, began=self.world.now: self._leave(node, process, num_cpus, began)
                    )
                    return
            self.world.sleep(_POLL_SECONDS)

    def lose_node(self, name: str) -> None:
        for node in [one for one in self.nodes if one.name == name]:
            self.nodes.remove(node)
            for process in list(node.processes):
                self.world.kill(process)

    def add_node(self, num_cpus: int) -> None:
        self.nodes.append(Node(f"node-{len(self.nodes)}-{next(self._names)}", num_cpus))

    def _end_later(self, process: Process) -> None:
        seconds = self.world.random.uniform(*_OUTLIVING_SECONDS)
        self.world.at(self.world.now + seconds, lambda: self.world.kill(process))

    def _leave(self, node: Node, process: Process, num_cpus: int, began: float) -> None:
        self.held_seconds += num_cpus * (self.world.now - began)
        if process in node.processes:
            node.processes.remove(process)
            node.used -= num_cpus


def _cluster() -> Cluster:
    cluster: Cluster = current().cluster  # type: ignore[attr-defined]  # set by `run`
    return cluster


class _Factory:
    def __init__(self, kind: type[Any], options: Mapping[str, Any]) -> None:
        self._kind, self._options = kind, options

    def options(self, **options: Any) -> _Factory:
        return _Factory(self._kind, options)

    def remote(self, *arguments: Any) -> Any:
        current().enter("ray")
        cluster = _cluster()
        kind = STANDINS.get(self._kind.__name__, self._kind)
        if "name" in self._options:
            handle: Any = BoardHandle(lambda: kind(*arguments))
            cluster.named_actors[self._options["name"]] = handle
            cluster.boards.append(handle)
            return handle
        return ActorHandle(cluster, kind, arguments, int(self._options.get("num_cpus", 1)))


STANDINS: dict[str, Callable[..., Any]] = {}
"""Name of an actor's class -> what stands for it in a simulation."""


def _remote(kind: type[Any]) -> _Factory:
    return _Factory(kind, {})


def _get(answer: Answer) -> Any:
    current().enter("ray")
    answer.is_there.wait()
    if answer.error is not None:
        raise answer.error
    return answer.value


def _wait(
    answers: list[Answer],
    *,
    num_returns: int = 1,
    timeout: float | None = None,
    fetch_local: bool = True,  # noqa: ARG001
) -> tuple[list[Answer], list[Answer]]:
    world = current()
    world.enter("ray")
    if timeout != 0 and sum(one.is_there.is_set() for one in answers) < num_returns:
        world.wait_any([one.is_there for one in answers], timeout)
    ready = [one for one in answers if one.is_there.is_set()]
    return ready, [one for one in answers if one not in ready]


def _kill(handle: Any) -> None:
    world = current()
    world.enter("ray")
    if isinstance(handle, ActorHandle):
        world.kill(handle.process)


def _get_actor(name: str) -> Any:
    actor = _cluster().named_actors.get(name)
    if actor is None:
        raise ValueError(f"Failed to look up actor with name '{name}'")
    return actor


_CONTEXT = SimpleNamespace(get_world_rank=lambda: 0, get_storage=lambda: SimpleNamespace(storage_filesystem=None))
FAKE_RAY = SimpleNamespace(
    remote=_remote,
    get=_get,
    wait=_wait,
    kill=_kill,
    get_actor=_get_actor,
    exceptions=ray.exceptions,
    get_runtime_context=lambda: SimpleNamespace(get_job_id=lambda: "job", get_node_id=lambda: "head"),
    train=SimpleNamespace(
        get_context=lambda: _CONTEXT,
        report=lambda *_arguments, **_options: current().enter("ray"),
        Checkpoint=lambda *_arguments: None,
        CheckpointUploadMode=SimpleNamespace(NO_UPLOAD=None),
    ),
)
"""Stands for the module `ray` where a driver or a worker calls it."""
