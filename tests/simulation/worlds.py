"""Many worlds, in several processes, and what struck them; in a module of its own, which spawned processes import."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context

from tests.simulation.mutants import broken
from tests.simulation.outside import replaced
from tests.simulation.run import Verdict, simulate
from tests.simulation.scenario import KINDS, Scenario, draw

_AT_ONCE = 50


@dataclass
class Report:
    """Counts over many worlds."""

    num_worlds: int = 0
    struck: Counter[str] = field(default_factory=Counter)
    exit_codes: Counter[int | None] = field(default_factory=Counter)
    seconds: float = 0.0
    """Seconds of simulated time."""
    violations: dict[int, str] = field(default_factory=dict)
    """By seed."""

    def add(self, other: Report) -> None:
        self.num_worlds += other.num_worlds
        self.struck += other.struck
        self.exit_codes += other.exit_codes
        self.seconds += other.seconds
        self.violations |= other.violations

    def __str__(self) -> str:
        lines = [f"{kind:22s} {self.struck[kind]:7d}" for kind in KINDS]
        codes = ", ".join(f"{count} x {code}" for code, count in sorted(self.exit_codes.items(), key=str))
        mean = self.struck.total() / max(1, self.num_worlds)
        lines.append(
            f"{self.num_worlds} worlds, {self.seconds / 3600:.1f} simulated hours, {self.struck.total()} faults, "
            f"{mean:.1f} a world; exit codes of submissions: {codes} (None: killed)"
        )
        lines += [f"seed {seed}: {violation}" for seed, violation in sorted(self.violations.items())]
        return "\n".join(lines)


def verdict_of(scenario: Scenario) -> Verdict:
    """Run one world."""
    with replaced():
        return simulate(scenario)


def report_of(seeds: Sequence[int]) -> Report:
    """Run the worlds of some seeds."""
    report = Report()
    with replaced():
        for seed in seeds:
            verdict = simulate(draw(seed))
            report.num_worlds += 1
            report.struck += verdict.struck
            report.exit_codes.update(verdict.exit_codes)
            report.seconds += verdict.seconds
            if verdict.violation:
                report.violations[seed] = verdict.violation
    return report


def run_all(first: int, num_seeds: int, num_processes: int) -> Report:
    """Run the worlds of seeds in order; two processes share them in blocks."""
    blocks = [
        range(begin, min(begin + _AT_ONCE, first + num_seeds)) for begin in range(first, first + num_seeds, _AT_ONCE)
    ]
    report = Report()
    if num_processes == 1:
        for block in blocks:
            report.add(report_of(block))
        return report
    # Spawned: a fork waits for ever for a lock that another thread held, of Ray or gRPC, say, in a long test session.
    with ProcessPoolExecutor(num_processes, get_context("spawn")) as processes:
        for part in processes.map(report_of, blocks):
            report.add(part)
    return report


def caught_at(name: str, num_seeds: int) -> tuple[int, str] | None:
    """Return the first seed whose world a mutant breaks, and how; None if none of them does."""
    with replaced(), broken(name):
        for seed in range(num_seeds):
            if violation := simulate(draw(seed)).violation:
                return seed, violation
    return None
