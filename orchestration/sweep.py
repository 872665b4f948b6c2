"""Entry point: python orchestration/sweep.py SWEEP.yaml [key=value ...] [--dry-run|--check|--status|--stop|--gc]

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
from collections.abc import Iterator, Sequence  # noqa: E402
from contextlib import contextmanager  # noqa: E402
from typing import TYPE_CHECKING  # noqa: E402

from orchestration.common.errors import UserError, tell_mistakes  # noqa: E402
from orchestration.common.exit_codes import EXIT_CLUSTER_LOST, EXIT_INTERRUPTED, EXIT_SECOND_DRIVER  # noqa: E402
from orchestration.common.redaction import guard_output, reason_of  # noqa: E402

if TYPE_CHECKING:
    from orchestration.storage.store import Store

_MODES = {
    "dry-run": "print the plan, and what an edit changed in it, and stop",
    "check": "build every model on the meta device and stop",
    "status": "say how far the sweep is, also from another machine while it runs",
    "stop": "ask the driver that runs the sweep to stop at checkpoints",
    "gc": "say what in the storage root no published plan needs; with --yes, remove it",
}


def main(arguments: Sequence[str]) -> int:
    """Runs a sweep. Returns the exit code: 0 done, 1 some tasks failed, 2 a mistake, 4 its budget is spent, 5 stopped,
    6 the cluster was lost, 130 interrupted."""
    parser = argparse.ArgumentParser(prog="sweep.py", description="Plan and run a sweep.", allow_abbrev=False)
    parser.add_argument("sweep", type=Path, help="YAML file, e.g. sweeps/quickstart.yaml")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="e.g. training.steps=100 storage.root=/data")
    parser.add_argument(
        "--max-accelerator-hours",
        metavar="H",
        help="end at checkpoints when the sweep has spent them; the same as workers.max_accelerator_hours=H",
    )
    parser.add_argument(
        "--insecure-no-auth",
        action="store_true",
        help="use a Ray cluster that takes calls from anyone; the same as workers.insecure_no_auth=true",
    )
    modes = parser.add_mutually_exclusive_group()
    for name, about in _MODES.items():
        modes.add_argument(f"--{name}", dest="mode", action="store_const", const=name, default="run", help=about)
    parser.add_argument("--yes", action="store_true", help="with --gc: remove without asking")
    options = parser.parse_intermixed_args(arguments)
    if options.yes and options.mode != "gc":
        parser.error("--yes goes with --gc")
    overrides = list(options.overrides)
    if options.max_accelerator_hours is not None:
        overrides.append(f"workers.max_accelerator_hours={options.max_accelerator_hours}")
    if options.insecure_no_auth:
        overrides.append("workers.insecure_no_auth=true")
    try:
        if options.mode in ("gc", "stop"):
            return _tend(options.sweep, overrides, options.mode, confirmed=options.yes)
        return _run(options.sweep, overrides, options.mode)
    except UserError as error:
        return tell_mistakes(error)
    except KeyboardInterrupt:
        print("\nInterrupted. Nothing published is lost; the same command goes on from there.", file=sys.stderr)
        return EXIT_INTERRUPTED


def _run(path: Path, overrides: Sequence[str], mode: str) -> int:
    # Imported late, so that --help is instant and planning pulls in nothing heavy.
    from orchestration.launch.summary import print_missing, print_plan, print_searches
    from orchestration.plan.completed import completed_records
    from orchestration.plan.plan import make_plan
    from orchestration.plan.progress import progress_of
    from orchestration.search.plan_rows import published_trials, with_published_trials
    from orchestration.spec.load import load_sweep
    from orchestration.spec.preflight import missing_inputs, open_store, resolve_paths

    spec = resolve_paths(load_sweep(path, overrides), os.environ, Path.cwd())
    missing = missing_inputs(spec) if mode != "status" else []
    if missing and mode == "run":
        raise UserError(missing)
    store = open_store(spec.runtime.storage, writable=mode == "run")
    with _readable(store):
        trials = published_trials(spec, store) if spec.searches else {}
        plan = make_plan(with_published_trials(spec, trials))
        done = completed_records(store, plan)
        stands = progress_of(store, plan, done)
    if mode == "status":
        from orchestration.commands.status import print_status

        print_status(plan, done, store, stands)
        print_searches(spec, trials)
        return 0
    print_plan(plan, done, store, stands)
    print_searches(spec, trials)
    if mode == "check":
        from orchestration.commands.check_models import check as check_models

        check_models(plan)
    if mode != "run":
        print_missing(missing)
        return 0
    from orchestration.control.single_driver import SecondDriverError, ensure_single_driver
    from orchestration.launch.run_sweep import run_sweep

    try:
        ensure_single_driver(store, spec.name)
    except SecondDriverError as error:
        print(error, file=sys.stderr)
        return EXIT_SECOND_DRIVER
    if spec.searches:  # their trials are asked of Optuna, which knows what came after the last publication
        plan = make_plan(spec)
        done = {digest: result for digest, result in done.items() if digest in plan.tasks}
    return run_sweep(plan, done, store, stands)


def _tend(path: Path, overrides: Sequence[str], mode: str, *, confirmed: bool) -> int:
    """What is done to a storage root or a running driver; the file says which."""
    from orchestration.commands.garbage import ask_on_terminal, collect_garbage
    from orchestration.commands.stop import stop
    from orchestration.spec.load import load_sweep
    from orchestration.spec.preflight import open_store, resolve_paths
    from orchestration.storage.layout import PLANS

    spec = resolve_paths(load_sweep(path, overrides), os.environ, Path.cwd())
    store = open_store(spec.runtime.storage, writable=False)
    with _readable(store):
        store.names(PLANS)
    if mode == "stop":
        return stop(store, spec.name)
    return collect_garbage(store, confirmed=confirmed, ask=ask_on_terminal)


@contextmanager
def _readable(store: Store) -> Iterator[None]:
    """Any error of any storage library means that this root cannot be used.

    Raises: UserError.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # noqa: BLE001  any storage library, any reason
        raise UserError.of("storage.root", f"cannot read {store.root} ({reason_of(error, store.options)})") from None


if __name__ == "__main__":
    guard_output()
    code = main(sys.argv[1:])
    if code == EXIT_CLUSTER_LOST:  # what Ray does at exit calls what is gone, and ends the process with a signal
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)
