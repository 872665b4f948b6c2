"""Plan and cluster change while a launch runs; without Ray: trainings and evaluators are made up."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection
from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

import pytest

from orchestration.cluster.capacity import Capacity, NodeSize
from orchestration.common.exit_codes import EXIT_CLUSTER_LOST
from orchestration.control.budget_meter import BudgetMeter
from orchestration.control.outcome import EarlyExit, Outcome
from orchestration.control.single_driver import lease_gone
from orchestration.launch import progress, shutdown, task_loop
from orchestration.launch.launch_context import LaunchContext
from orchestration.launch.progress_display import Display
from orchestration.plan.completed import completed_record
from orchestration.plan.plan import Plan
from orchestration.storage.store import Store
from orchestration.tasks.task import EvaluateTask, Task, TrainTask
from tests.support.growing import Grow, GrowingBy
from tests.support.stored_sweeps import finish, tiny_plan

SHORT = ("training.steps=4", "evaluation.at_steps=[4]")


class Silent:
    """A tracker that listens."""

    def __getattr__(self, name: str) -> Any:
        return lambda *_arguments, **_options: None


class Pool:
    """Evaluators that measure at once."""

    wants_work = True

    def __init__(self, store: Store, *_others: object) -> None:
        self.store, self.done = store, list[tuple[Task, str]]()

    @property
    def busy(self) -> bool:
        return bool(self.done)

    def submit(self, tasks: list[Task]) -> None:
        self.done += [(task, "") for task in tasks if finish(self.store, task, {"fd_lite0_block10": 1.0})]

    def collect(self) -> list[tuple[Task, str]]:
        done, self.done = self.done, []
        return done

    num_evaluators = num_idle = 0

    def wait(self, seconds: float) -> None: ...

    def close(self) -> None:
        assert not self.done

    def release_idle(self, for_seconds: float) -> None: ...


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch, store: Store) -> list[tuple[str, int]]:
    """(title, last step) of every training that is run, in a launcher without Ray."""
    update = SimpleNamespace(rows={}, snapshots=[], done={}, retries={}, lost={}, failures={}, stopped={})
    progress_board = SimpleNamespace(take_update=SimpleNamespace(remote=lambda: update))
    seen: list[tuple[str, int]] = []

    class Groups:
        """Workers that train at once."""

        retries: tuple[()] = ()
        num_open = num_idle = 0

        def __init__(self, *_others: object) -> None: ...

        def submit(self, task: Task) -> Future[None]:
            seen.append((task.title, task.until_step))
            finish(store, task)
            ended: Future[None] = Future()
            ended.set_result(None)
            return ended

        def close_idle(self, for_seconds: float = 0.0) -> None: ...

        def leave(self, trainings: Collection[Future[None]], *, cluster_is_lost: bool) -> None: ...

    monkeypatch.setattr(task_loop, "start_progress_board", lambda: ("board", progress_board))
    monkeypatch.setattr(progress.ray, "get", lambda answer: answer)
    monkeypatch.setattr(task_loop, "EvaluationPool", Pool)
    monkeypatch.setattr(task_loop, "WorkerGroupPool", Groups)
    monkeypatch.setattr(task_loop, "_POLL_SECONDS", 0.0)
    return seen


def hold_trainings(monkeypatch: pytest.MonkeyPatch, begun: list[tuple[str, int]]) -> None:
    """Make trainings begin and never end."""

    def hold(_groups: Any, task: Task) -> Future[None]:
        begun.append((task.title, 0))
        return Future()

    monkeypatch.setattr(task_loop.WorkerGroupPool, "submit", hold)


def launcher(
    store: Store,
    plan: Plan,
    outcome: Outcome,
    num_cpus: int = 2,
    grow: Grow | None = None,
    decides: Callable[[], bool] = lambda: False,
) -> task_loop.Launcher:
    meter = BudgetMeter({}, plan.spec.runtime.workers)
    silent: Any = Silent()
    growing = GrowingBy(grow, decides) if grow else None
    context = LaunchContext(plan, store, outcome, silent, Display(), meter, growing)
    return task_loop.Launcher(context, lambda: Capacity((NodeSize(num_cpus),)), lambda: None)


def test_a_launch_waits_for_a_verdict_when_nothing_runs_meanwhile(store: Store, trained: list[tuple[str, int]]) -> None:
    rows = "{DFM: {}, other: {training.learning_rate: 0.001}}"
    first, other = tiny_plan(*SHORT), tiny_plan(*SHORT, f"parts={{p: {{rows: {rows}}}}}")
    asked, plans = 0, [other]

    def grown(seen: Outcome, num_slots: int) -> Plan | None:  # noqa: ARG001
        nonlocal asked
        asked += set(first.tasks) <= set(seen.done)
        return plans.pop() if plans and asked > 20 else None

    launcher(store, first, Outcome({}), grow=grown, decides=lambda: bool(plans)).run()
    assert trained[-1] == ("dfm, learning_rate=0.001, seed=0", 4)


def test_tasks_of_a_plan_that_has_grown_are_run_and_those_known_are_not(
    store: Store, trained: list[tuple[str, int]]
) -> None:
    rows = "{DFM: {}, known: {sampling.tau: 0.8}, other: {training.learning_rate: 0.001}}"
    first, other = tiny_plan(*SHORT), tiny_plan(*SHORT, f"parts={{p: {{rows: {rows}}}}}")
    (known,) = [task for task in other.of_kind(EvaluateTask) if task.title == "known @ 4"]
    outcome = Outcome({})
    plans = [other]

    def grown(seen: Outcome, num_slots: int) -> Plan | None:
        assert num_slots == 1
        if not plans or not set(first.tasks) <= set(seen.done):
            return None
        seen.done[known.digest] = finish(store, known, {"fd_lite0_block10": 2.0})
        return plans.pop()

    launcher(store, first, outcome, grow=grown).run()
    assert trained == [("dfm, seed=0", 4), ("dfm, learning_rate=0.001, seed=0", 4)]
    assert set(outcome.done) == set(other.tasks)
    assert outcome.done[known.digest].metrics == {"fd_lite0_block10": 2.0}
    assert not outcome.failed


def test_a_training_that_is_wanted_further_goes_on_also_if_it_runs_then(
    store: Store, trained: list[tuple[str, int]]
) -> None:
    short, longer = tiny_plan(*SHORT), tiny_plan()
    outcome = Outcome({})
    asked: list[bool] = []

    def grown(seen: Outcome, _num_slots: int) -> Plan | None:
        (train,) = longer.of_kind(TrainTask)
        begun = bool(trained)
        if asked or not begun:
            return None
        asked.append(train.digest in seen.done)  # it is under way, and what it will record is not enough
        return longer

    running = launcher(store, short, outcome, grow=grown)
    collect = running._collect_trainings
    running._collect_trainings = lambda: collect() if asked else None  # type: ignore[method-assign]  # so it runs still
    running.run()
    assert asked == [False]
    assert trained == [("dfm, seed=0", 4), ("dfm, seed=0", 12)]
    assert all(completed_record(store, task) is not None for task in longer.tasks.values())
    assert not outcome.failed


def test_with_room_for_both_another_trial_trains_while_one_is_measured(
    store: Store, trained: list[tuple[str, int]]
) -> None:
    slots: list[int] = []

    def note(_outcome: Outcome, num_slots: int) -> None:
        slots.append(num_slots)

    launcher(store, tiny_plan(*SHORT), Outcome({}), num_cpus=8, grow=note).run()
    assert trained
    assert set(slots) == {3 + 1}


@pytest.mark.parametrize(("error", "num_trained"), [(KeyError("scale_std"), 3), (RuntimeError("gloo"), 4)])
def test_one_mistake_in_all_first_trainings_ends_the_sweep_other_errors_do_not(
    store: Store,
    trained: list[tuple[str, int]],
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    num_trained: int,
) -> None:
    submit = task_loop.WorkerGroupPool.submit

    def fail(groups: Any, task: Task) -> Future[None]:
        submit(groups, task)
        store.remove(f"results/{task.digest}")
        ended: Future[None] = Future()
        ended.set_exception(error)
        return ended

    monkeypatch.setattr(task_loop.WorkerGroupPool, "submit", fail)
    monkeypatch.setattr(shutdown, "shut_down", lambda *_: True)
    rows = ", ".join(f"r{number}: {{training.learning_rate: 0.00{number}}}" for number in range(1, 5))
    outcome = Outcome({})
    running = launcher(store, tiny_plan(*SHORT, f"parts={{p: {{rows: {{{rows}}}}}}}"), outcome)
    running.run()
    assert len(trained) == num_trained
    assert sum("an input failed" not in reason for reason in outcome.failed.values()) == num_trained
    if num_trained == 3:
        assert outcome.early_exit is not None
        assert outcome.early_exit.exit_code == 1
        assert "the first 3 trainings failed by the same mistake (KeyError: 'scale_std')" in outcome.early_exit.reason
    else:
        assert outcome.early_exit is None


@pytest.mark.proves(3)
def test_evaluators_make_room_for_a_training_where_a_node_went_and_measure_after_it(
    store: Store, trained: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With two CPUs less, evaluators would keep a training waiting that has lost its workers."""
    waiting: list[Future[None]] = []
    abandoned: list[list[Task]] = []
    submit = task_loop.WorkerGroupPool.submit

    def hold(groups: Any, task: Task) -> Future[None]:
        submit(groups, task)
        waiting.append(Future())
        return waiting[0]

    class Busy(Pool):
        """The first is at work until it has to go."""

        def collect(self) -> list[tuple[Task, str]]:
            return super().collect() if abandoned else []

        def abandon(self) -> None:
            abandoned.append([task for task, _ in self.done])
            waiting[0].set_result(None)  # it finds room now

    monkeypatch.setattr(task_loop.WorkerGroupPool, "submit", hold)
    monkeypatch.setattr(task_loop, "EvaluationPool", Busy)
    outcome = Outcome({})
    running = launcher(store, tiny_plan(*SHORT), outcome, num_cpus=4)
    running._capacity_now = lambda: Capacity((NodeSize(2),) if waiting else (NodeSize(2), NodeSize(2)))
    running.run()
    assert len(abandoned) == 1
    assert abandoned[0]
    assert len(trained) == 1
    assert {task.digest for task in abandoned[0]} < set(outcome.done)
    assert set(outcome.done) == set(tiny_plan(*SHORT).tasks)
    assert not outcome.failed


@pytest.mark.parametrize(("minutes", "expected"), [(5, "rrrttee"), (0, "rrrtete")])
def test_where_both_have_no_room_evaluators_take_turns_with_long_trainings_alone(
    store: Store, trained: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch, minutes: int, expected: str
) -> None:
    """With short ones, of which none takes 5 minutes, changing places would cost as much as they do."""
    order: list[str] = []
    train, measure = task_loop.WorkerGroupPool.submit, Pool.submit

    def submit(groups: Any, task: Task) -> Future[None]:
        order.append("t")
        return train(groups, task)

    def submit_family(pool: Pool, tasks: list[Task]) -> None:
        order.extend("e" if isinstance(task, EvaluateTask) else "r" for task in tasks)
        measure(pool, tasks)

    monkeypatch.setattr(task_loop.WorkerGroupPool, "submit", submit)
    monkeypatch.setattr(Pool, "submit", submit_family)
    rows = "{DFM: {}, other: {training.learning_rate: 0.001}}"
    plan = tiny_plan(*SHORT, f"parts={{p: {{rows: {rows}}}}}", f"workers.reuse_under_minutes={minutes}")
    launcher(store, plan, Outcome({})).run()
    assert "".join(order) == expected
    assert len(trained) == 2


@pytest.mark.proves(3)
@pytest.mark.parametrize("look", [0, 1])
def test_a_driver_without_its_cluster_waits_for_nobody(
    store: Store, trained: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch, look: int
) -> None:
    """Args: look: of the two in each round, the one that notices."""
    looks: list[int] = []

    def wanted() -> EarlyExit | None:
        looks.append(1)
        return lost if trained and len(looks) % 2 == look else None

    def nobody_is_asked(*_: object) -> None:
        raise AssertionError("nobody is there who could be asked")

    hold_trainings(monkeypatch, trained)
    monkeypatch.setattr(shutdown, "shut_down", nobody_is_asked)
    lost = EarlyExit(EXIT_CLUSTER_LOST, "the raylet is gone", "again", cluster_is_lost=True)
    outcome = Outcome({})
    running = launcher(store, tiny_plan(*SHORT), outcome)
    running._early_exit = wanted
    running.run()
    assert outcome.early_exit is lost
    assert not outcome.failed
    (training,) = tiny_plan(*SHORT).of_kind(TrainTask)
    assert outcome.stopped == {training.digest: "stopped, goes on from what it last wrote"}


@pytest.mark.proves(5)
@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(143), RuntimeError("of the launcher")])
@pytest.mark.parametrize("lost", [False, True])
def test_any_way_out_leaves_no_thread_of_a_training_and_no_evaluator(
    store: Store, trained: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch, error: BaseException, lost: bool
) -> None:
    events, training = list[str](), Future[None]()

    class Endless(Pool):
        """Evaluators that are at work until they have to go."""

        def collect(self) -> list[tuple[Task, str]]:
            return []

        def abandon(self) -> None:
            events.append("evaluators")

    def leave(_groups: Any, trainings: Collection[Future[None]], *, cluster_is_lost: bool) -> None:
        assert (list(trainings), cluster_is_lost) == ([training], lost)
        events.append("trainings")

    def fail(*_: object) -> None:
        if training in running._running.trainings and running._running.pool:
            events.append("error")
            raise error

    monkeypatch.setattr(task_loop.WorkerGroupPool, "submit", lambda *_: training)
    monkeypatch.setattr(task_loop.WorkerGroupPool, "leave", leave)
    monkeypatch.setattr(task_loop, "EvaluationPool", Endless)
    running = launcher(store, tiny_plan(*SHORT), Outcome({}), num_cpus=8, grow=fail)
    gone = EarlyExit(EXIT_CLUSTER_LOST, "the raylet is gone", "again", cluster_is_lost=True)
    running._early_exit = lambda: gone if lost and events else None
    with pytest.raises(type(error)):
        running.run()
    assert events == ["error", "trainings"] + ([] if lost else ["evaluators"])
    assert not trained


def test_a_driver_that_may_write_no_more_asks_for_no_checkpoint(
    store: Store, trained: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def none_is_wanted(*_: object) -> None:
        raise AssertionError("its checkpoint would be written into the root of another")

    hold_trainings(monkeypatch, trained)
    monkeypatch.setattr(shutdown, "shut_down", none_is_wanted)
    outcome, gone = Outcome({}), lease_gone("leases/quickstart/epoch-000000001.json")
    running = launcher(store, tiny_plan(*SHORT), outcome)
    running._early_exit = lambda: gone if trained else None
    running.run()
    assert outcome.early_exit is gone
    (training,) = tiny_plan(*SHORT).of_kind(TrainTask)
    assert outcome.stopped == {training.digest: "stopped, goes on from its last checkpoint"}


def test_what_a_worker_has_told_of_an_attempt_is_not_told_again_by_the_driver(
    store: Store, trained: list[tuple[str, int]], capsys: pytest.CaptureFixture[str]
) -> None:
    running = launcher(store, tiny_plan(*SHORT), Outcome({}))
    assert not trained
    retries = running._running.groups.retries = deque([("digest", "ActorDiedError: its node has died")])
    running._progress.report_retries()
    assert "digest: attempt ended (ActorDiedError: its node has died); starting again" in capsys.readouterr().out
    running._context.display.retried("digest", "worker 1: RuntimeError: peer is gone")
    retries.append(("digest", "RuntimeError: peer is gone"))
    running._progress.report_retries()
    assert running._context.display.restarts["digest"] == 2
    retries.append(("digest", "ActorDiedError: its node has died"))
    running._progress.report_retries()
    assert running._context.display.restarts["digest"] == 3
