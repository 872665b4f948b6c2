"""One world, from its start to its verdict: an operator submits a sweep again and again while faults strike."""

from __future__ import annotations

import contextlib
import io
import math
import re
import traceback
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from orchestration.commands.garbage import collect_garbage
from orchestration.commands.stop import stop
from orchestration.common.errors import UserError
from orchestration.common.exit_codes import EXIT_BUDGET_SPENT, EXIT_SECOND_DRIVER, EXIT_USER_ERROR
from orchestration.storage.retry import RetryPolicy, StorageUnavailableError
from orchestration.storage.store import Store
from tests.simulation.driver import Driver
from tests.simulation.fake_database import StudyStorage
from tests.simulation.fake_mlflow import Server
from tests.simulation.fake_ray import Cluster
from tests.simulation.invariants import Invariants
from tests.simulation.kernel import Event, Process, ViolationError, World
from tests.simulation.scenario import BY_CALL, Fault, Scenario, plan_of, spec_of
from tests.simulation.stored_objects import ROOT, Spell, StoredObjects, key_of

_SPELLED = {
    "storage 503": "503",
    "storage silent": "silent",
    "storage lost answer": "lost answer",
    "storage late": "late",
    "storage slow": "slow",
    "storage partial": "partial",
    "storage stale listing": "stale listing",
}
_TRACKER = {"tracker away": "away", "tracker slow": "slow", "tracker lost answer": "lost answer"}
MOST_SUBMISSIONS = 5
"""Submissions after the last fault in which all must be done."""
HOSTS = ("head", "laptop", "laptop")
WITHOUT_LIMIT = "own runs"
"""Sweep that is submitted where the budget was spent."""
_MOST_SECONDS = 2000.0
"""Time after the last fault in which all must be done."""
_PAUSE_SECONDS, _LONGEST_PAUSE = 2.0, 300.0
_LIKE_ANOTHER = ("stale listing", "partial", "late")
_COUNTED = ("worker killed", "worker hangs", "evaluator killed", "controller killed", "queue lost", "node lost")
_MOST_LOST = 2
"""Faults that count against `workers.max_failures`, 3, that a task outlives for sure: a lost node ends several."""
_SLACK_SECONDS, _SLACK_OF_A_FAULT = 20.0, 25.0
"""CPU-seconds above a budget: a checkpoint interval and the end of what runs; a lost driver counted no more."""
_SLACK_OF_THE_LAST = 8.0
"""CPU-seconds above a budget of a sweep that is done before its driver looks at the budget again."""
_STOP_SECONDS = 6.0
"""Time in which a driver that is asked to stop may still come to the end of its plan."""
_FIRST_BEAT_SECONDS = 3.0
"""Time after which a driver can be found by its heartbeat."""
_TRY_LATER = (EXIT_USER_ERROR, EXIT_SECOND_DRIVER)
_NOTICE_SECONDS = 6.0


@dataclass
class Verdict:
    """The end of a world."""

    struck: Counter[str] = field(default_factory=Counter)
    """Faults that met somebody, by kind."""
    exit_codes: list[int | None] = field(default_factory=list)
    seconds: float = 0.0
    turns: int = 0
    violation: str = ""
    traceback: str = ""
    """Of an error that the product should have handled."""
    steps: int = 0


class Simulation:
    """One world and those who act in it."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self.world = world = World(scenario.seed)
        self.store = world.store = StoredObjects(world, conditional=scenario.conditional)  # type: ignore[attr-defined]
        self.cluster = world.cluster = Cluster(world, scenario.num_cpus)  # type: ignore[attr-defined]
        self.mlflow = world.mlflow = Server(world)  # type: ignore[attr-defined]
        plans = {name: plan_of(name) for name in (*scenario.sweeps, WITHOUT_LIMIT)}
        world.studies = StudyStorage()  # type: ignore[attr-defined]
        self.invariants = world.invariants = Invariants(world, self.store, plans)  # type: ignore[attr-defined]
        self.verdict = Verdict()
        self.drivers: list[tuple[Driver, Event]] = []
        self._by_call: dict[tuple[str, int], list[Fault]] = {}
        world.on_call = self._called
        self._offset = 0.0
        self._removed_at = -1.0
        """Time when an artifact was removed last; infinite once all is done, and nothing more is removed."""
        for fault in scenario.faults:
            if fault.kind in BY_CALL:
                role = fault.kind.partition(" ")[0]
                self._by_call.setdefault((f"{role}-{fault.where}", fault.at), []).append(fault)
            else:
                world.at(fault.at / 10, lambda fault=fault: self._strike(fault))

    def run(self) -> Verdict:
        try:
            with self.world.running():
                self._operate()
            self.verdict.violation = str(self.world.problem or "")
        except ViolationError as violation:
            self.verdict.violation = str(violation)
        except Exception as error:  # noqa: BLE001  an error that no process may end with
            self.verdict.violation = f"{type(error).__name__}: {error}"
            self.verdict.traceback = traceback.format_exc()
        verdict = self.verdict
        verdict.seconds, verdict.turns = self.world.now, self.world.turns
        verdict.steps = sum(self.invariants.steps.values())
        return verdict

    # The operator.

    def _operate(self) -> None:
        """Submit until all is done, and once more: that must find nothing to do."""
        sweeps, number, pause = self.scenario.sweeps, 0, _PAUSE_SECONDS
        calm = 0
        while True:
            calm += self.world.now > self._last_fault()
            if calm > MOST_SUBMISSIONS:
                raise ViolationError(f"not done {MOST_SUBMISSIONS} submissions later: {self.verdict.exit_codes}")
            driver = self._ended(*self._submit(sweeps[min(number, len(sweeps) - 1)], HOSTS[number % len(HOSTS)]))
            self._follow(driver.failed.values())
            code, is_last = driver.exit_code, number >= len(sweeps) - 1
            self.verdict.exit_codes.append(code)
            self._check_end(driver)
            if code == 0 and is_last and self._removed_at < driver.process.began_at:  # type: ignore[attr-defined]
                break
            if code == EXIT_BUDGET_SPENT and is_last:
                sweeps = (*sweeps, WITHOUT_LIMIT)
            for other, other_ended in self.drivers if code == EXIT_SECOND_DRIVER else ():
                self._ended(other, other_ended)
            pause = min(_LONGEST_PAUSE, 2 * pause) if code in _TRY_LATER else _PAUSE_SECONDS
            number += 1
            self.world.sleep(pause)
        last, self._removed_at = sweeps[-1], math.inf
        self._by_call.clear()
        for other, other_ended in self.drivers:
            self._ended(other, other_ended)
        self.world.sleep(max(0.0, self._last_fault() + 1.0 - self.world.now))
        begun = sum(self.invariants.steps.values()), dict(self.invariants.records)
        driver = self._ended(*self._submit(last, "head"))
        self.invariants.check(driver.exit_code == 0, f"the last submission ends with {driver.exit_code}")
        again = sum(self.invariants.steps.values()), dict(self.invariants.records)
        is_single = not self.verdict.struck["second driver"]
        # Of two drivers of one search, which is not supported, one may end while a trial of the other failed.
        is_settled = begun == again or (not is_single and bool(spec_of(last).searches))
        self.invariants.check(is_settled, "the last submission computes something")
        is_alone = is_single and not self.verdict.struck["tracker lost answer"]
        if driver.plan is not None and spec_of(last).searches:
            (search,) = spec_of(last).searches
            told = self.world.studies.ended() if is_single else ()  # type: ignore[attr-defined]  # two propose the same
            self.invariants.trials_at_end(driver.trials, told, search.spec.config.num_trials)
        self.invariants.at_end(driver.plan or plan_of(last), self.mlflow.runs.values(), most_runs=1 if is_alone else 3)

    def _follow(self, reasons: Iterable[str]) -> None:
        """Do what the reasons of failed tasks ask a person to do."""
        for reason in reasons:
            for path in re.findall(r"remove (results/\w+/result\.json) and submit again", reason):
                self.store.objects.pop(key_of(path), None)
                self.invariants.made_again(path.split("/")[1])

    def _ended(self, driver: Driver, ended: Event) -> Driver:
        """Return a driver once it has ended."""
        deadline = max(self.world.now, self._last_fault()) + _MOST_SECONDS
        while not ended.is_set():
            ended.wait(60.0)
            self.invariants.check(self.world.now < deadline, f"{driver.process.name} makes no end")
        return driver

    def _submit(self, sweep: str, host: str) -> tuple[Driver, Event]:
        process = self.world.add_process(self.cluster.named("driver"), host)
        process.clock_offset, process.began_at = self._offset, self.world.now  # type: ignore[attr-defined]
        process.held_before = self.cluster.held_seconds  # type: ignore[attr-defined]
        process.at_end.append(lambda: setattr(process, "ended_at", self.world.now))
        driver, ended = Driver(spec_of(sweep), process), Event()
        process.at_end.append(ended.set)

        def run() -> None:
            driver.run()
            self.world.kill(process)

        self.world.start(process, "main", run)
        self.drivers.append((driver, ended))
        return driver, ended

    def _check_end(self, driver: Driver) -> None:
        """Check that a driver ended for a reason that the world has given it."""
        if driver.exit_code == EXIT_USER_ERROR:
            is_away = any(one.kind in (*_SPELLED, *_TRACKER) for one in self.scenario.faults)
            self.invariants.check(is_away, f"a driver cannot begin: {driver.problem}")
        if driver.exit_code == 0 and driver.plan is not None and not self.verdict.struck["second driver"]:
            self.invariants.tracked(driver.plan, self.mlflow.runs.values())
        struck = self.verdict.struck
        num_lost = sum(struck[kind] for kind in _COUNTED)
        self.invariants.failures(
            driver.failed,
            may_fail=bool(
                self.store.spells or struck["bit flipped"] or struck["snapshot removed"] or num_lost > _MOST_LOST
            ),
        )
        is_late = self.store.spells or struck["worker hangs"] or struck["driver frozen"]  # to end takes minutes then
        asked: float = getattr(driver.process, "asked_to_stop", math.inf)
        if driver.exit_code == 0 and not is_late:
            ended: float = driver.process.ended_at  # type: ignore[attr-defined]
            self.invariants.check(
                ended - asked < _STOP_SECONDS,
                f"{driver.process.name} ends with code 0 {ended - asked:.0f} s after --stop",
            )
        if driver.spec.runtime.workers.max_accelerator_hours is not None and not is_late:
            self._check_budget(driver, driver.spec.runtime.workers.max_accelerator_hours)
        if driver.exit_code == EXIT_SECOND_DRIVER:
            began: float = driver.process.began_at  # type: ignore[attr-defined]
            others = [one.process for one, _ in self.drivers if one is not driver]
            is_there = any(getattr(one, "ended_at", began) >= began for one in others)
            # A listing that is behind, or a lease that was cut off, looks like one that is taken just now.
            is_there = is_there or any(one.trouble in _LIKE_ANOTHER for one in self.store.spells)
            self.invariants.check(is_there, f"{driver.process.name} gives way to a driver that is not there")

    def _check_budget(self, driver: Driver, hours: float) -> None:
        """Check that a submission spent no more than the limit and what stopping takes, and ends with its code."""
        slack = _SLACK_SECONDS + _SLACK_OF_A_FAULT * self.verdict.struck.total()
        if driver.exit_code == 0:  # it was not told to stop, so all was done by then
            slack = _SLACK_OF_THE_LAST
        spent = self.cluster.held_seconds - driver.process.held_before  # type: ignore[attr-defined]
        self.invariants.check(
            spent <= 3600 * hours + slack, f"{spent:.0f} CPU-seconds are held, {3600 * hours:.0f} allowed"
        )

    def _last_fault(self) -> float:
        return max((fault.at / 10 + fault.length / 10 for fault in self.scenario.faults), default=0.0)

    # Faults.

    def _called(self, process: Process, what: str) -> None:  # noqa: ARG002
        faults = self._by_call.get((process.name, process.num_calls))
        for fault in faults or ():
            self._count(fault)
            if fault.kind == "driver frozen":
                self._freeze(process, fault.length / 10)
            else:
                self.world.kill(process)

    def _count(self, fault: Fault) -> None:
        self.verdict.struck[fault.kind] += 1

    def _freeze(self, process: Process, seconds: float) -> None:
        process.frozen_until = self.world.now + seconds
        process.thawed_at = process.frozen_until  # type: ignore[attr-defined]

    def _alive(self, role: str) -> list[Process]:
        return [one for one in self.world.processes if one.name.startswith(f"{role}-") and not one.is_dead]

    def _strike(self, fault: Fault) -> None:
        now, end = self.world.now, self.world.now + fault.length / 10
        if fault.kind in _SPELLED:
            share = (0.2, 0.6, 1.0)[fault.where % 3]
            self.store.spells.append(Spell(now, end, _SPELLED[fault.kind], share))  # type: ignore[arg-type]
            self._count(fault)
        elif fault.kind in _TRACKER:
            self.mlflow.spells.append((now, end, _TRACKER[fault.kind]))
            self._count(fault)
        elif fault.kind == "clock jumps":
            self._jump(fault)
        elif fault.kind == "second driver":
            self._count(fault)
            self._submit(self.scenario.sweeps[-1], "other")
        elif fault.kind in ("stop", "gc"):
            self._count(fault)
            self._command(fault.kind)
        elif fault.kind == "board lost" and self.cluster.boards:
            self._count(fault)
            self.cluster.boards[-1].lose()
        elif fault.kind == "node lost" and len(self.cluster.nodes) > 0:
            self._lose_node(fault, end)
        elif fault.kind == "bit flipped":
            self._flip(fault)
        elif fault.kind == "snapshot removed":
            self._remove_snapshot(fault)
        else:
            self._strike_process(fault)

    def _strike_process(self, fault: Fault) -> None:
        roles = {
            "worker hangs": "worker",
            "controller killed": "controller",
            "preempted": "worker",
            "SIGTERM": "driver",
        }
        if fault.kind == "queue lost":
            queues = [one for name, one in self.cluster.named_actors.items() if name.startswith("work-queue")]
            if queues and not queues[-1].is_dead:
                self._count(fault)
                queues[-1].lose()
            return
        alive = self._alive(roles.get(fault.kind, "nobody"))
        if not alive:
            return
        victim = alive[fault.where % len(alive)]
        if fault.kind == "worker hangs":
            victim.is_hung = True  # type: ignore[attr-defined]
        elif fault.kind == "controller killed":
            self.world.kill(victim)
        elif fault.kind == "preempted":
            victim.is_preempted = True  # type: ignore[attr-defined]
            self.world.at(self.world.now + _NOTICE_SECONDS, lambda: self.world.kill(victim))
        else:
            driver = next(one for one, _ in self.drivers if one.process is victim)
            if driver.signals is None or driver.signals.early_exit is not None:
                return
            driver.signals._take(15, None)
        self._count(fault)

    def _jump(self, fault: Fault) -> None:
        self._count(fault)
        self._offset += (fault.length * 10.0) * (-1 if fault.where % 2 else 1)
        for process in self._alive("driver"):
            if fault.where % 3:
                process.clock_offset = self._offset

    def _lose_node(self, fault: Fault, end: float) -> None:
        self._count(fault)
        node = self.cluster.nodes[fault.where % len(self.cluster.nodes)]
        self.cluster.lose_node(node.name)
        self.world.at(end, lambda: self.cluster.add_node(node.num_cpus))

    def _flip(self, fault: Fault) -> None:
        keys = [key for key in self.store.objects if "/checkpoints/" in key and key.endswith(".safetensors")]
        keys += [key for key in self.store.objects if "/features/" in key]
        if not keys:
            return
        self._count(fault)
        # The newest half of the time: somebody will read it.
        key = (
            sorted(keys)[fault.where * 7 % len(keys)]
            if fault.where % 2
            else [one for one in self.store.objects if one in keys][-1]
        )
        content = bytearray(self.store.objects[key])
        content[-1] ^= 1
        self.store.objects[key] = bytes(content)
        self.invariants.damaged.add(key)

    def _remove_snapshot(self, fault: Fault) -> None:
        """Remove a published snapshot as a rule of the bucket would, which knows of no record."""
        manifests = [key for key in self.store.objects if "/snapshots/" in key and key.endswith("/manifest.json")]
        folders = sorted(key.rpartition("/")[0] for key in manifests)
        if not folders or self._removed_at == math.inf:
            return
        self._count(fault)
        self._removed_at = self.world.now
        folder = folders[fault.where % len(folders)]
        for key in [key for key in self.store.objects if key.startswith(f"{folder}/")]:
            del self.store.objects[key]
        self.invariants.made_again(folder.split("/snapshots/")[1].partition("/")[0])

    def _command(self, kind: str) -> None:
        process = self.world.add_process(self.cluster.named(kind), "other")
        store = Store(ROOT, {}, RetryPolicy(15.0, 15.0))
        name = plan_of(self.scenario.sweeps[0]).spec.name

        def run() -> None:
            with contextlib.suppress(UserError, StorageUnavailableError, OSError):
                if kind == "stop":
                    asked = self._alive("driver")
                    for one in asked:
                        if self.world.now - one.began_at > _FIRST_BEAT_SECONDS:  # type: ignore[attr-defined]
                            one.asked_to_stop = self.world.now  # type: ignore[attr-defined]
                    code = stop(store, name, lambda _text: None)
                    healthy = [one for one in asked if not one.is_dead and not hasattr(one, "thawed_at")]
                    is_heard = code == 0 or bool(self.store.spells) or not healthy
                    self.invariants.check(is_heard, f"{[one.name for one in healthy]} does not hear --stop")
                else:
                    collect_garbage(store, confirmed=True, say=lambda _text: None)
            self.world.kill(process)

        self.world.start(process, "main", run)


def simulate(scenario: Scenario) -> Verdict:
    """Run one world. Needs `outside.replaced`."""
    with contextlib.redirect_stdout(io.StringIO()):
        return Simulation(scenario).run()


def simulate_all(scenarios: list[Scenario], look: Callable[[Scenario, Verdict], None]) -> None:
    for scenario in scenarios:
        look(scenario, simulate(scenario))
