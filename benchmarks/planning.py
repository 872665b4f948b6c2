"""Time and memory of planning a sweep of many trials.

    python benchmarks/planning.py --trials 10000

A grid of learning rates and first-stage probabilities over the quickstart is read, checked and planned, as
`sweep.py --dry-run` does, in a process of its own for each size; then also made into the text that is published.
"""

from __future__ import annotations

import argparse
import math
import resource
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, nargs="+", default=[1_000, 10_000], help="sizes of grids, squares")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        _plan(given.one)
        return
    print("| trials | tasks | seconds to plan | seconds, published text too | peak memory (GB) |")
    print("|---|---|---|---|---|", flush=True)
    for trials in given.trials:
        subprocess.run([sys.executable, __file__, "--one", str(trials)], check=True)


def _plan(trials: int) -> None:
    """Plan so many trials in this process, and print one row."""
    from orchestration.plan.plan import make_plan
    from orchestration.plan.plan_json import plan_json
    from orchestration.spec.load import load_sweep

    side = math.isqrt(trials)
    rates = [round(1e-5 * (number + 1), 8) for number in range(side)]
    probabilities = [round((number + 1) / (side + 1), 6) for number in range(side)]
    grid = f"{{training.learning_rate: {rates}, training.first_stage_probability: {probabilities}}}"
    began = time.perf_counter()
    sweep = ROOT / "sweeps" / "quickstart.yaml"
    plan = make_plan(load_sweep(sweep, [f"parts={{p: {{grid: {grid}}}}}", "evaluation.at_steps=[700]"]))
    planned = time.perf_counter() - began
    plan_json(plan, tracking_uri="")
    both = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"| {side * side:,} | {len(plan.tasks):,} | {planned:.1f} | {both:.1f} | {peak:.2f} |", flush=True)


if __name__ == "__main__":
    main()
