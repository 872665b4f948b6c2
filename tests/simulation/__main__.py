"""`make simulate`: runs many worlds and prints what struck them; a world that goes wrong is shrunk to its smallest."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence

from tests.simulation.mutants import MUTANTS
from tests.simulation.scenario import draw
from tests.simulation.shrink import shrunk
from tests.simulation.worlds import caught_at, run_all


def _mutants(num_seeds: int) -> int:
    alive = 0
    for name, mutant in MUTANTS.items():
        caught = caught_at(name, num_seeds)
        alive += caught is None
        how = f"seed {caught[0]}: {caught[1]}" if caught else f"NOT CAUGHT in {num_seeds} worlds"
        print(f"{name}: {mutant.what}: {how}", flush=True)
    return int(alive > 0)


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=str(__doc__).splitlines()[0])
    parser.add_argument("--seeds", type=int, default=2000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--shrink", type=int, help="only shrink the world of this seed")
    parser.add_argument("--mutants", action="store_true", help="break the product on purpose, one way each")
    options = parser.parse_args(arguments)
    if options.mutants:
        return _mutants(options.seeds)
    if options.shrink is not None:
        print(shrunk(draw(options.shrink)))
        return 0
    began = time.monotonic()
    report = run_all(options.first, options.seeds, options.processes)
    print(report)
    print(f"{time.monotonic() - began:.0f} s")
    for seed in sorted(report.violations)[:3]:
        print(f"seed {seed}, shrunk: {shrunk(draw(seed))}")
    return int(bool(report.violations))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
