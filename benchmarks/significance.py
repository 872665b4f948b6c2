"""How often the report's statements are right: coverage, false alarms and power by simulation of its own functions.

    .venv/bin/python benchmarks/significance.py [--repetitions 1000] [--only PART] [--out docs/statistics.md]

Distances spread by shares: 3% over seeds unless a line says otherwise, and 5% by an effect of the seed that rows share.
A part of it, with fixed seeds and loose bounds, is in tests/analysis.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np

from analysis.comparison.across_parts import average_over_parts
from analysis.comparison.kendall import kendall_tau, rank_agreement
from analysis.comparison.verdicts import Judge
from analysis.contract.metric_errors import MetricError
from analysis.contract.plan_schema import Bands
from analysis.contract.published_numbers import PublishedValue
from analysis.figures.series import summarize_values
from analysis.plan.model import Metric
from analysis.results.best_row import choose_best
from analysis.results.cells import Cell
from analysis.results.curves import SeedCurves, draw_reach
from analysis.results.intervals import SeedValue
from analysis.results.power import smallest_difference
from analysis.results.sampling_error import share_error, uncertainty_of_mean
from analysis.results.significance import RowTests, compare_rows
from analysis.results.standings import Standing

SPREAD, EFFECT, SEED_EFFECT = 0.03, 0.10, 0.05
UNEQUAL = 3.0
"""Largest spread over smallest, every second row."""
FD = Metric("fd", "FD", "lower", "", "log")
Generator = np.random.Generator
Rows = dict[str, list[SeedValue]]


@dataclass(frozen=True)
class Line:
    """A measured share."""

    statement: str
    setting: str
    share: float
    wanted: str

    def __str__(self) -> str:
        return f"| {self.statement} | {self.setting} | {self.share:.3f} | {self.wanted} |"


def share(repetitions: int, seed: int, happens: Callable[[Generator], bool]) -> float:
    generator = np.random.default_rng(seed)
    return sum(happens(generator) for _ in range(repetitions)) / repetitions


def distances(
    generator: Generator,
    spreads: Sequence[float],
    num_seeds: int,
    effect: float = 0.0,
    sampling: float = 0.0,
    seed_effect: float = SEED_EFFECT,
) -> Rows:
    """Distances near 100; the first row is better by an effect. sampling: error that a row's seeds share."""
    logs = seed_effect * generator.standard_normal((1, num_seeds))
    logs = logs + np.array(spreads)[:, None] * generator.standard_normal((len(spreads), num_seeds))
    logs = logs + sampling * generator.standard_normal((len(spreads), 1))
    logs[0] -= effect
    return {
        str(row): [SeedValue(k, float(v), sampling * float(v) or None) for k, v in enumerate(100 * np.exp(own))]
        for row, own in enumerate(logs)
    }


def spreads_of(num_rows: int, *, unequal: bool) -> list[float]:
    return [SPREAD / (UNEQUAL if unequal and row % 2 else 1) for row in range(num_rows)]


def compared(rows: Rows, families: int = 1) -> RowTests:
    found = compare_rows(rows, "log", families)
    assert found is not None, "rows have seeds in common"
    return found


def is_told_apart(rows: Rows, families: int = 1) -> bool:
    """Return True if some row is called separable from the best."""
    tests = compared(rows, families)
    best = tests.block.rows[int(tests.values.mean(1).argmin())]
    return any(tests.difference(best, row).is_beyond_noise for row in tests.block.rows if row != best)


def cell_lines(repetitions: int) -> Iterator[Line]:
    def covers(generator: Generator, num_seeds: int, sampling: float, *, lognormal: bool) -> bool:
        values = generator.standard_normal(num_seeds) + sampling * generator.standard_normal()
        truth = 0.0
        if lognormal:
            values, truth = np.exp(0.3 * values), math.exp(0.3**2 * (1 + sampling**2) / 2)
        error = (0.3 if lognormal else 1.0) * sampling or None
        found = uncertainty_of_mean([SeedValue(k, float(v), error) for k, v in enumerate(values)])
        return found is not None and abs(float(values.mean()) - truth) <= found.half_width

    for num_seeds in (2, 3, 5, 8):
        for sampling, lognormal in ((0.0, False), (0.7, False), (0.0, True)):
            setting = f"n = {num_seeds}, " + (
                "lognormal, 30%" if lognormal else f"error of samples {sampling:g} of spread"
            )
            happens = share(
                repetitions, 1, lambda g, n=num_seeds, s=sampling, o=lognormal: covers(g, n, s, lognormal=o)
            )
            yield Line("± of a cell holds the mean", setting, happens, ".93 to .97")


def separable_lines(repetitions: int) -> Iterator[Line]:
    for num_rows in (2, 4, 8):
        for num_seeds in (2, 3, 5, 8):
            for unequal in (False, True):
                spreads = spreads_of(num_rows, unequal=unequal)
                setting = f"K = {num_rows}, n = {num_seeds}, spreads {'3 : 1' if unequal else 'equal'}"
                alarms = share(repetitions, 2, lambda g, s=spreads, n=num_seeds: is_told_apart(distances(g, s, n)))
                yield Line("false: some row separable", setting, alarms, f"≤ {'.10' if unequal else '.05'}")
            power = share(
                repetitions,
                3,
                lambda g, k=num_rows, n=num_seeds: (
                    compared(distances(g, [SPREAD] * k, n, EFFECT)).difference("0", "1").is_beyond_noise
                ),
            )
            yield Line("power: 10% at a spread of 3%", f"K = {num_rows}, n = {num_seeds}", power, "≥ .60 at n = 3")
        alarms = share(
            repetitions, 4, lambda g, k=num_rows: is_told_apart(distances(g, [SPREAD] * k, 3, sampling=0.02))
        )
        yield Line("false: some row separable", f"K = {num_rows}, n = 3, own noise of samples 2%", alarms, "≤ .05")
    whole = share(repetitions, 5, lambda g: any(is_told_apart(distances(g, [SPREAD] * 4, 3), 4) for _ in range(4)))
    yield Line("false: any in the report", "4 parts of 4 rows, n = 3; other metrics make no claims", whole, "≤ .05")
    for num_rows, num_seeds in ((4, 3), (8, 5)):
        effect = smallest_difference(num_rows, num_seeds, SPREAD, 1) or 0.0
        found = share(
            repetitions,
            6,
            lambda g, k=num_rows, n=num_seeds, e=effect: (
                compared(distances(g, [SPREAD] * k, n, e)).difference("0", "1").is_beyond_noise
            ),
        )
        yield Line("the smallest difference is found", f"K = {num_rows}, n = {num_seeds}", found, ".80")


def share_lines(repetitions: int) -> Iterator[Line]:
    def covers(generator: Generator, truth: float, num_samples: int) -> bool:
        found = int(generator.binomial(num_samples, truth)) / num_samples
        wald = math.sqrt(found * (1 - found) / num_samples)
        return abs(found - truth) <= 1.96 * (share_error(found, wald or None, num_samples) or 0.0)

    for truth in (0.5, 0.9, 0.95, 0.98, 0.998):
        covered = share(repetitions, 7, lambda g, p=truth: covers(g, p, 300))
        yield Line("± of a share holds it", f"accuracy {truth}, N = 300, one seed", covered, "≥ .93")
    for num_rows, num_seeds in ((8, 2), (8, 3), (8, 5), (4, 3)):

        def alarm(generator: Generator, shape: tuple[int, int] = (num_rows, num_seeds)) -> bool:
            values = generator.binomial(300, 0.998, shape) / 300
            errors = {float(v): share_error(float(v), None, 300) for v in np.unique(values)}
            rows = {
                str(i): [SeedValue(k, float(v), errors[float(v)]) for k, v in enumerate(own)]
                for i, own in enumerate(values)
            }
            tests = compare_rows(rows, "share", 1)
            assert tests is not None
            best = tests.block.rows[int(tests.values.mean(1).argmax())]
            return any(tests.difference(best, row).is_beyond_noise for row in tests.block.rows if row != best)

        setting = f"accuracy .998, N = 300, K = {num_rows}, n = {num_seeds}"
        yield Line("false: some row separable", setting, share(repetitions, 8, alarm), "≤ .05")


def failure_lines(repetitions: int) -> Iterator[Line]:
    def bold(generator: Generator, *, by_value: bool) -> bool:
        rows = distances(generator, [SPREAD] * 4, 4)
        hard = [v.value > 104 for v in rows["0"]] if by_value else [False, False, False, generator.random() < 0.5]
        rows["0"] = [value for value, lost in zip(rows["0"], hard, strict=True) if not lost]
        failed = {"0"} if any(hard) else set()
        found = choose_best(rows, "lower", failed)
        return found is not None and found.agrees and found.rows == ("0",)

    for by_value in (True, False):
        why = "its values above 104 fail" if by_value else "its last seed fails at random"
        yield Line(
            "an equal row that fails is bold",
            f"4 rows, n = 4, {why}",
            share(repetitions, 9, lambda g, b=by_value: bold(g, by_value=b)),
            "≤ .25",
        )


def verdict_lines(repetitions: int) -> Iterator[Line]:
    def outcome(generator: Generator, num_seeds: int, ratio: float, *, unequal: bool) -> str:
        rows = distances(generator, spreads_of(4, unequal=unequal), num_seeds, seed_effect=0.02)
        logs = 0.02 * generator.standard_normal() + SPREAD * generator.standard_normal()
        paper = PublishedValue(f"{100 * ratio * math.exp(logs):.6f}", "arxiv_v1")
        own = rows["0"]
        mean = math.fsum(value.value for value in own) / num_seeds
        cell = Cell("done", mean, None, num_seeds, num_seeds, values=tuple(own))
        rule = Judge(Standing(FD, makes_claims=True, tests=compared(rows)), 0.1, 1)
        verdict = rule.judge("0", cell, paper, "")
        assert verdict is not None
        return verdict.name

    for num_seeds in (1, 2, 3, 5, 8):
        for ratio, names, statement, wanted in (
            (1.0, ("better", "worse"), "false: better or worse than the paper", "≤ .05"),
            (1.12, ("within",), "false: within ±10% of the paper", "≤ .05"),
            (1.0, ("within",), "power: within ±10% of the paper", ""),
            (1.5, ("within",), "false: within ±10%, the paper 50% off", "≤ .05"),
        ):
            found = share(
                repetitions,
                10,
                lambda g, n=num_seeds, r=ratio, w=names: outcome(g, n, r, unequal=False) in w,
            )
            yield Line(statement, f"n = {num_seeds}, 4 rows, ours / paper {1 / ratio:.2f}", found, wanted)


def order_lines(repetitions: int) -> Iterator[Line]:
    def covers(generator: Generator, num_rows: int, num_seeds: int, gap: float) -> bool:
        truth = gap * np.arange(num_rows, dtype=float)
        published = generator.permutation(num_rows).astype(float)
        values = truth[:, None] + generator.standard_normal((num_rows, num_seeds))
        rows = [[SeedValue(k, float(v)) for k, v in enumerate(own)] for own in values]
        found = rank_agreement(rows, list(published), np.random.default_rng(0))
        true = float(kendall_tau(truth, published))
        return found is not None and found.low is not None and found.low - 1e-9 <= true <= (found.high or 0) + 1e-9

    for num_rows in (3, 5, 8):
        for gap in (0.1, 0.3, 1.0):
            covered = share(repetitions, 11, lambda g, k=num_rows, d=gap: covers(g, k, 3, d))
            setting = f"{num_rows} rows {gap:g} deviations apart, n = 3"
            yield Line("interval of Kendall's tau holds it", setting, covered, "≥ .93")


def reach_lines(repetitions: int) -> Iterator[Line]:
    xs, steps = (1.0, 2.0, 3.0, 4.0, 5.0), np.array([1.0, 2.0, 3.0, 4.0, 5.0])

    def holds(generator: Generator, num_seeds: int, speed: float) -> bool:
        def curve(fast: float) -> SeedCurves:
            level = np.log(1 + 3 * np.exp(-fast * steps))
            noise = 0.03 * generator.standard_normal((num_seeds, 1)) + 0.02 * generator.standard_normal((num_seeds, 5))
            return SeedCurves(xs, np.exp(level + noise), np.zeros(5))

        found = draw_reach({"base": curve(1.0), "ours": curve(speed)}, ["base"], lower=True)["ours"]
        return found.low - 1e-9 <= 1 / speed <= found.high + 1e-9

    for num_seeds in (3, 8):
        for speed in (1.0, 2.0):
            covered = share(min(repetitions, 200), 12, lambda g, n=num_seeds, s=speed: holds(g, n, s))
            setting = f"n = {num_seeds}, {speed:g} × as fast, 3% + 2% noise"
            yield Line("draws of FLOPs to reach hold the share", setting, covered, "a hint at n = 3")


def whole_report_lines(repetitions: int) -> Iterator[Line]:
    def any_false(generator: Generator) -> bool:
        """Four parts of four equal rows, which equal the paper's, too: eight families."""
        for _ in range(4):
            rows = distances(generator, [SPREAD] * 4, 3, seed_effect=0.0)
            rule = Judge(Standing(FD, makes_claims=True, tests=compared(rows, 8)), 0.1, 8 * 4)
            if is_told_apart(rows, 8):
                return True
            for label, own in rows.items():
                paper = PublishedValue(f"{100 * math.exp(SPREAD * generator.standard_normal()):.6f}", "arxiv_v1")
                mean = math.fsum(value.value for value in own) / 3
                verdict = rule.judge(label, Cell("done", mean, None, 3, 3, values=tuple(own)), paper, "")
                if verdict is not None and verdict.name in ("better", "worse"):
                    return True
        return False

    wrong = share(repetitions, 18, any_false)
    yield Line(
        "false: any in the report", "4 parts of 4 rows, n = 3, and as many verdicts beside the paper", wrong, "≤ .05"
    )


def equivalence_lines(repetitions: int) -> Iterator[Line]:
    def is_alike(generator: Generator, num_seeds: int, effect: float) -> bool:
        """The second row is called no practically different from the first, within 10%."""
        found = compared(distances(generator, [SPREAD] * 4, num_seeds, effect)).difference("0", "1")
        return found.is_within(math.log1p(0.1))

    for num_seeds in (3, 5, 8):
        setting = f"4 rows, n = {num_seeds}, a row"
        wrong = share(repetitions, 15, lambda g, n=num_seeds: is_alike(g, n, math.log1p(0.1)))
        yield Line("false: no practical difference", f"{setting} that is 10% off", wrong, "≤ .05")
        right = share(repetitions, 15, lambda g, n=num_seeds: is_alike(g, n, 0.0))
        yield Line("power: no practical difference", f"{setting} that is equal", right, "")


def one_seed_lines(repetitions: int) -> Iterator[Line]:
    def beyond(generator: Generator, num_rows: int) -> bool:
        """Rows are one model, sampled with noise of their own; there is one seed."""
        return is_told_apart(distances(generator, [0.0] * num_rows, 1, sampling=0.03))

    for num_rows in (2, 4, 8):
        wrong = share(repetitions, 16, lambda g, k=num_rows: beyond(g, k))
        yield Line(
            "false: some row beyond the noise of samples", f"K = {num_rows}, n = 1, 3% own noise", wrong, "≤ .05"
        )


def shared_noise(generator: Generator, num_seeds: int, effect: float) -> Rows:
    """Four rows that are sampled with the same noise, an error of 3% whose influences the records hold."""
    rows = distances(generator, [SPREAD] * 4, num_seeds, effect)
    influences = SPREAD * generator.standard_normal(50) / math.sqrt(50)
    noise = 1 + float(influences.sum())
    return {row: [_measured_with(value, noise, influences) for value in own] for row, own in rows.items()}


def _measured_with(value: SeedValue, noise: float, influences: np.ndarray) -> SeedValue:
    own = tuple(float(one) for one in influences * value.value)
    size = math.sqrt(math.fsum(one * one for one in own))
    error = MetricError("group jackknife", value.value * noise, size, own, design="50 groups")
    return SeedValue(value.seed, value.value * noise, size, error)


def shared_noise_lines(repetitions: int) -> Iterator[Line]:
    for num_seeds in (3, 5):
        setting = f"K = 4, n = {num_seeds}, 3% of noise that rows share"
        wrong = share(repetitions, 17, lambda g, n=num_seeds: is_told_apart(shared_noise(g, n, 0.0)))
        yield Line("false: some row separable", setting, wrong, "≤ .05")
        found = share(
            repetitions,
            17,
            lambda g, n=num_seeds: compared(shared_noise(g, n, EFFECT)).difference("0", "1").is_beyond_noise,
        )
        yield Line("power: 10% at a spread of 3%", setting, found, "≥ .60 at n = 3")


def across_lines(repetitions: int) -> Iterator[Line]:
    def holds(generator: Generator, num_seeds: int, common: float, *, bootstrap: bool) -> bool:
        """Rows are equal over two parts, which have a share of the seeds' variance in common."""
        own = generator.standard_normal((2, 4, num_seeds))
        logs = SPREAD * (math.sqrt(common) * generator.standard_normal((4, num_seeds)) + math.sqrt(1 - common) * own)
        if bootstrap:  # within each part, as rliable does
            draws = generator.integers(0, num_seeds, (200, 2, 2, num_seeds))
            means = [logs[:, row][np.arange(2)[None, :, None], draws[:, row]].mean((1, 2)) for row in (0, 1)]
            low, high = np.quantile(means[1] - means[0], [0.025, 0.975])
            return bool(low <= 0 <= high)
        measured = {
            str(row): [[SeedValue(k, math.exp(v)) for k, v in enumerate(part[row])] for part in logs]
            for row in range(4)
        }
        interval = average_over_parts(measured, is_log=True).difference("0", "1").interval
        return interval is not None and interval[0] <= 1 <= interval[1]

    for num_seeds in (3, 8):
        for common in (0.0, 0.8):
            for bootstrap in (False, True):
                covered = share(
                    repetitions, 13, lambda g, n=num_seeds, c=common, b=bootstrap: holds(g, n, c, bootstrap=b)
                )
                how = "bootstrap within parts, not used" if bootstrap else "by seeds"
                setting = f"{how}; 2 parts, n = {num_seeds}, {common:.0%} of the variance common to them"
                yield Line("interval over all parts holds it", setting, covered, ".93 to .97")


def band_lines(repetitions: int) -> Iterator[Line]:
    def all_hold(generator: Generator, num_seeds: int, bands: Bands) -> bool:
        values = generator.standard_normal((1, num_seeds)) + generator.standard_normal((6, num_seeds))
        points = [[SeedValue(k, float(v)) for k, v in enumerate(own)] for own in values]
        summary = summarize_values(points, bands)
        return all(abs(mean) <= width for mean, width in zip(summary.means, summary.half_widths, strict=True))

    choices: tuple[tuple[Bands, str], ...] = (("pointwise", "each alone is .95"), ("simultaneous", "≥ .95"))
    for num_seeds in (3, 8):
        for bands, wanted in choices:
            held = share(repetitions, 14, lambda g, n=num_seeds, b=bands: all_hold(g, n, b))
            yield Line("all 6 points of a line are held", f"{bands} bands, n = {num_seeds}", held, wanted)


PARTS = (
    cell_lines, share_lines, separable_lines, failure_lines, verdict_lines, order_lines, reach_lines, across_lines,
    band_lines, whole_report_lines, equivalence_lines, one_seed_lines, shared_noise_lines,
)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--repetitions", type=int, default=1000)
    parser.add_argument("--only", choices=[part.__name__ for part in PARTS], help="one part of the table")
    parser.add_argument("--out", type=Path, help="write the table there, too")
    options = parser.parse_args()
    lines = ["| statement | setting | measured | wanted |", "| :-- | :-- | --: | :-- |"]
    print("\n".join(lines), flush=True)
    for part in (part for part in PARTS if options.only in (None, part.__name__)):
        for line in part(options.repetitions):
            lines.append(str(line))
            print(line, flush=True)
    if options.out:
        text = options.out.read_text(encoding="utf-8") if options.out.exists() else ""
        before = text.partition("| statement |")[0]
        options.out.write_text(before + "\n".join([*lines, ""]), encoding="utf-8")


if __name__ == "__main__":
    main()
