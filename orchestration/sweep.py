"""Entry point: python orchestration/sweep.py SWEEP.yaml [key=value ...] [--dry-run] [--check]

Submitting the same sweep again computes only what is missing; resuming is running the same command again.
"""

from __future__ import annotations

import sys
from pathlib import Path

# Started as a script, Python puts this folder, not the project, first on the path; the project must be there instead.
_HERE = Path(__file__).resolve().parent
sys.path[:] = [str(_HERE.parent), *(p for p in sys.path if not p or Path(p).resolve() != _HERE)]

import argparse  # noqa: E402
import os  # noqa: E402
from collections.abc import Sequence  # noqa: E402

from orchestration.problems import EXIT_INTERRUPTED, UserError, tell_mistakes  # noqa: E402


def main(arguments: Sequence[str]) -> int:
    """Runs a sweep. Returns the exit code: 0 done, 1 some tasks failed, 2 a mistake, 130 interrupted."""
    parser = argparse.ArgumentParser(prog="sweep.py", description="Plan and run a sweep.", allow_abbrev=False)
    parser.add_argument("sweep", type=Path, help="YAML file, e.g. sweeps/quickstart.yaml")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="e.g. training.steps=100 storage.root=/data")
    parser.add_argument("--dry-run", action="store_true", help="print the plan and stop")
    parser.add_argument("--check", action="store_true", help="build every model on the meta device and stop")
    options = parser.parse_intermixed_args(arguments)
    try:
        return _run(options.sweep, options.overrides, dry_run=options.dry_run, check=options.check)
    except UserError as error:
        return tell_mistakes(error)
    except KeyboardInterrupt:
        print("\nInterrupted. Nothing published is lost; the same command goes on from there.", file=sys.stderr)
        return EXIT_INTERRUPTED


def _run(path: Path, overrides: Sequence[str], *, dry_run: bool, check: bool) -> int:
    # Imported late, so that --help is instant and planning pulls in nothing heavy.
    from orchestration.done import finished_results
    from orchestration.plan import make_plan
    from orchestration.preflight import located, missing_inputs, open_store
    from orchestration.spec import load_sweep
    from orchestration.summary import print_missing, print_plan

    spec = located(load_sweep(path, overrides), os.environ, Path.cwd())
    missing = missing_inputs(spec)
    looks_only = dry_run or check
    if missing and not looks_only:
        raise UserError(missing)
    plan = make_plan(spec)
    store = open_store(spec.runtime.storage, writable=not looks_only)
    try:
        done = finished_results(store, plan)
    except Exception as error:  # noqa: BLE001  any storage library, any reason: all mean that this root cannot be used
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
        raise UserError.of("storage.root", f"cannot read {store.root} ({reason[:300]})") from None
    print_plan(plan, done, store)
    if check:
        from orchestration.check import check as check_models

        check_models(plan)
    if looks_only:
        print_missing(missing)
        return 0
    from orchestration.execution import execute

    return execute(plan, done, store)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
