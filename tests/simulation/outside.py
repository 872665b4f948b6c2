"""The outside world of the control plane, replaced while simulations run: clock, threads, Ray, MLflow, processes.

Product modules hold these under the names of modules and classes of libraries. Each such name in `orchestration` is
found and replaced, defaults of arguments too, so that no module is forgotten.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import functools
import importlib
import inspect
import itertools
import logging
import os
import pkgutil
import queue
import shutil
import socket
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FunctionType, ModuleType, SimpleNamespace
from typing import Any

import mlflow
import ray
from ray.util import metrics

from dfm_core.config import plain
from dfm_core.training.state import SNAPSHOT_CARD
from orchestration.plan.plan import Plan, make_plan
from orchestration.spec.load import SweepSpec
from orchestration.storage import safe_names, scratch
from orchestration.tracking import run_params
from tests.simulation import fake_database, fake_mlflow, fake_ray, fake_train, primitives, work
from tests.simulation.kernel import current
from tests.simulation.scenario import SWEEPS, plan_of, spec_of

_PACKAGES = [
    "artifacts",
    "common",
    "commands",
    "control",
    "evaluation",
    "exploration",
    "launch",
    "plan",
    "search",
    "storage",
    "tasks",
    "tracking",
    "training",
]
_WITHOUT = ("orchestration.cluster", "orchestration.private")


class _Gauge:
    def __init__(self, *_arguments: Any) -> None: ...

    def set_default_tags(self, _tags: Any) -> None: ...

    def set(self, *_arguments: Any) -> None: ...

    def inc(self, *_arguments: Any) -> None: ...


class _Answer:
    """The answer of a call of the storage, which is made where it is waited for, up to its deadline."""

    def __init__(self, call: Callable[[], Any]) -> None:
        self._call = call

    def result(self, seconds: float) -> Any:
        current().store.deadline = seconds  # type: ignore[attr-defined]
        return self._call()

    def done(self) -> bool:
        return False

    def cancel(self) -> None: ...


def _uuid4() -> Any:
    return SimpleNamespace(hex=f"{current().random.getrandbits(128):032x}")


def _kill(pid: int, _signal: int) -> None:
    if not any(one.pid == pid and not one.is_dead for one in current().processes):
        raise ProcessLookupError


def _exit(_code: int) -> None:
    world = current()
    world.kill(world.thread.process)
    world.enter("exit")


_FOLDERS = itertools.count()
_SCRATCH = Path("/dev/shm" if Path("/dev/shm").is_dir() else tempfile.gettempdir())


@contextlib.contextmanager
def _scratch_folder(_purpose: str) -> Iterator[Path]:
    """A folder in memory, without the lock by which real processes know each other's."""
    folder = _SCRATCH / f"dfm-simulation-{os.getpid()}-{next(_FOLDERS)}"
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def _host() -> str:
    return current().thread.process.host


def _pid() -> int:
    return current().thread.process.pid


_OS = SimpleNamespace(
    getpid=_pid, kill=_kill, _exit=_exit, environ={}, cpu_count=os.cpu_count, path=os.path, fspath=os.fspath
)
_REPLACED: dict[int, Any] = {
    id(time): primitives.TIME,
    id(threading): primitives.THREADING,
    id(queue): primitives.QUEUE,
    id(threading.Event): primitives.Event,
    id(concurrent.futures.Future): primitives.Future,
    id(concurrent.futures.wait): primitives.wait,
    id(concurrent.futures.ThreadPoolExecutor): primitives.Threads,
    id(uuid): SimpleNamespace(uuid4=_uuid4),
    id(socket): SimpleNamespace(gethostname=_host),
    id(ray): fake_ray.FAKE_RAY,
    id(mlflow.MlflowClient): fake_mlflow.Client,
    id(metrics.Gauge): _Gauge,
    id(metrics.Counter): _Gauge,
    id(scratch.scratch_folder): _scratch_folder,
    id(time.sleep): primitives.sleep,
    id(time.time): primitives.wall_clock,
    id(time.monotonic): primitives.monotonic,
}


def _nothing(*_arguments: Any, **_options: Any) -> None: ...


_OF_THE_PROCESS = ("control.heartbeat", "control.heartbeat_writer", "control.lease", "training.hang_watch")
_QUIET = SimpleNamespace(
    getLogger=lambda _name: SimpleNamespace(setLevel=_nothing, warning=_nothing), ERROR=0, CRITICAL=0
)
_NOTHING = SimpleNamespace(collect=lambda: None)


def _once(pure: Callable[..., Any]) -> Callable[..., Any]:
    """Return a pure function that is called once for the same objects: those of the plans that all worlds share."""
    known: dict[tuple[int, ...], Any] = {}

    def call(*arguments: Any) -> Any:
        key = tuple(id(one) if not isinstance(one, frozenset) else hash(one) for one in arguments)
        if key not in known:
            known[key] = (arguments, pure(*arguments))  # kept, so that no other object gets their identity
        return known[key][1]

    return call


def _write_card(config: Any, card: Any, directory: Path, _pyramid: Any) -> list[Path]:
    path = directory / SNAPSHOT_CARD
    path.write_text(f"{config.seed} {card.step}")
    return [path]


def _plan(spec: SweepSpec) -> Plan:
    """Return the plan of a sweep: the same of the same, since making it is pure and takes long."""
    known = next((name for name in SWEEPS if spec_of(name) is spec), None)
    return make_plan(spec) if known is None else plan_of(known)


def _by_name() -> dict[tuple[str, str], Any]:
    """Return what is replaced under a name of one module alone."""
    torch = SimpleNamespace(
        set_num_threads=_nothing, compiler=SimpleNamespace(reset=_nothing), cuda=SimpleNamespace(empty_cache=_nothing)
    )
    return {
        ("storage.remote_files", "in_background"): lambda _name, call: _Answer(call),
        ("storage.retry", "_JITTER"): SimpleNamespace(uniform=lambda low, high: current().random.uniform(low, high)),
        ("storage.disk_space", "shutil"): SimpleNamespace(disk_usage=lambda _place: SimpleNamespace(free=10**12)),
        ("artifacts.samples.features", "GROUP_IMAGES"): 2000,
        ("tracking.mlflow_tracker", "ensure_database"): _nothing,
        ("tracking.mlflow_tracker", "run_params"): _once(run_params.run_params),
        ("tracking.run_files", "as_plain"): _once(plain.as_plain),
        ("artifacts.training_artifacts", "write_card"): _write_card,
        ("storage.store", "safe_join"): functools.lru_cache(maxsize=None)(safe_names.safe_join),
        ("tracking.known_runs", "artifact_location"): lambda _uri, _store: "sim://artifacts",
        ("training.worker", "gc"): _NOTHING,
        ("training.worker", "logging"): _QUIET,
        ("tracking.mlflow_tracker", "logging"): _QUIET,
        ("commands.sweep_modes", "make_plan"): _plan,
        ("training.worker", "torch"): torch,
        ("training.worker", "reach_nodes_directly"): _nothing,
        ("training.worker", "_TrainingWorker"): work.TrainingWorker,
        ("training.checkpointed_run", "environment"): dict,
        ("training.checkpointed_run", "get_preemption_info"): fake_train.preemption_info,
        ("training.checkpointed_run", "gather_texts"): lambda text, _device: [text],
        ("training.worker_setup", "gather_texts"): lambda text, _device: [text],
        ("training.worker_setup", "worker_device"): _nothing,
        ("training.hang_watch", "stacks"): lambda: "stacks",
        ("training.worker_group", "start_work_queue"): fake_train.start_work_queue,
        ("training.worker_group", "TorchTrainer"): fake_train.Trainer,
        ("training.worker_group", "TorchConfig"): _nothing,
        ("training.worker_group", "RunConfig"): fake_train.run_config,
        ("training.worker_group", "ScalingConfig"): fake_train.scaling_config,
        ("training.worker_group", "free_placement_groups"): _nothing,
        ("training.worker_group", "kill_train_controllers"): fake_train.end_runs,
        ("training.worker_group", "is_on_loopback"): lambda: False,
        ("training.worker_group", "through_client"): lambda: False,
        ("search.searches", "StudyDatabase"): fake_database.Database,
        ("search.explorations", "through_client"): lambda: True,
        ("common.redaction", "secrets_of"): lambda *_arguments: [],
        ("training.worker_group", "POLL_SECONDS"): 0.5,
        ("launch.task_loop", "_POLL_SECONDS"): 0.5,
        ("training.run_report", "resource"): SimpleNamespace(
            RUSAGE_SELF=0, getrusage=lambda _who: SimpleNamespace(ru_maxrss=0)
        ),
    }


def _modules() -> list[ModuleType]:
    for package in _PACKAGES:
        root = importlib.import_module(f"orchestration.{package}")
        for found in pkgutil.iter_modules(root.__path__):
            importlib.import_module(f"orchestration.{package}.{found.name}")
    names = sorted(name for name in sys.modules if name.startswith("orchestration."))
    return [sys.modules[name] for name in names if not name.startswith(_WITHOUT)]


def _functions(module: ModuleType) -> Iterator[FunctionType]:
    for value in vars(module).values():
        if inspect.isfunction(value) and value.__module__ == module.__name__:
            yield value
        elif inspect.isclass(value) and value.__module__ == module.__name__:
            yield from (one for one in vars(value).values() if inspect.isfunction(one))


def _replacements() -> Iterator[tuple[Any, str, Any]]:
    """Yield (object, attribute, what it is in a simulation)."""
    for module in _modules():
        for name, value in list(vars(module).items()):
            if id(value) in _REPLACED and not name.startswith("__"):
                yield module, name, _REPLACED[id(value)]
        for function in _functions(module):
            defaults = function.__defaults__ or ()
            if any(id(one) in _REPLACED for one in defaults):
                yield function, "__defaults__", tuple(_REPLACED.get(id(one), one) for one in defaults)
            named = function.__kwdefaults__ or {}
            if any(id(one) in _REPLACED for one in named.values()):
                yield (
                    function,
                    "__kwdefaults__",
                    {name: _REPLACED.get(id(one), one) for name, one in named.items()},
                )
    for (name, attribute), value in _by_name().items():
        yield sys.modules[f"orchestration.{name}"], attribute, value
    for name in _OF_THE_PROCESS:
        yield sys.modules[f"orchestration.{name}"], "os", _OS


_cached = functools.cache(lambda: tuple(_replacements()))


@contextlib.contextmanager
def replaced() -> Iterator[None]:
    """Let the product's modules see the simulated outside for a `with` block."""
    fake_ray.STANDINS["Evaluator"] = work.Evaluator
    before = []
    level = logging.root.manager.disable
    try:
        logging.disable(logging.CRITICAL)
        for place, name, value in _cached():
            before.append((place, name, getattr(place, name)))
            setattr(place, name, value)
        yield
    finally:
        for place, name, value in reversed(before):
            setattr(place, name, value)
        logging.disable(level)
