"""Entry point: python orchestration/sweep.py SWEEP.yaml [key=value] [--dry-run|--check|--status|--stop|--gc|--errors]

Submitting the same sweep again computes only what is missing; resuming is running the same command again.
"""

from __future__ import annotations

import sys
from pathlib import Path

# Started as a script, Python puts this folder, not the project, first on the path; the project must be there instead.
_HERE = Path(__file__).resolve().parent
sys.path[:] = [str(_HERE.parent), *(p for p in sys.path if not Path(p).is_absolute() or Path(p).resolve() != _HERE)]

import argparse  # noqa: E402
import os  # noqa: E402
from collections.abc import Sequence  # noqa: E402

from orchestration.common.errors import UserError, tell_interruption, tell_mistakes  # noqa: E402
from orchestration.startup.command_line import add_layers, make_parser, parse  # noqa: E402
from orchestration.startup.program_start import end_program, prepare_program  # noqa: E402

_MODES = {
    "dry-run": "print the plan, and what an edit changed in it, and stop",
    "check": "build every model on the meta device and stop",
    "status": "say how far the sweep is, also from another machine while it runs",
    "errors": "compute the standard errors of measured numbers anew from stored features, and stop",
    "stop": "ask the driver that runs the sweep to stop at checkpoints",
    "gc": "say what in the storage root no published plan needs; with --yes, remove it",
}


def main(arguments: Sequence[str]) -> int:
    """Run a sweep. Return the exit code: 0 done, 1 some tasks failed, 2 a mistake, 4 its budget is spent, 5 stopped,
    6 the cluster was lost, 7 MLflow lacks some of it, 129 its terminal closed, 130 interrupted, 143 told to end."""
    parser = make_parser("Plan and run a sweep.")
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
    add_layers(parser)
    modes = parser.add_mutually_exclusive_group()
    for name, about in _MODES.items():
        modes.add_argument(f"--{name}", dest="mode", action="store_const", const=name, default="run", help=about)
    modes.add_argument("--export-records", metavar="FOLDER", help="write the records of finished tasks there, and stop")
    modes.add_argument("--import-records", metavar="FOLDER", help="take over records from there, and stop")
    modes.add_argument("--show", metavar="ROW", help="print a row's config, each value with its origin, and stop")
    parser.add_argument("--yes", action="store_true", help="with --gc: remove without asking")
    parser.add_argument("--json", action="store_true", help="with --dry-run or --status: print JSON, for programs")
    parser.add_argument("--verbose", action="store_true", help="tables have a line for each task, not for each row")
    options = parse(parser, arguments)
    if options.yes and options.mode != "gc":
        parser.error("--yes goes with --gc")
    if options.json and options.mode not in ("dry-run", "status"):
        parser.error("--json goes with --dry-run or --status")
    overrides = list(options.overrides)
    if options.max_accelerator_hours is not None:
        overrides.append(f"workers.max_accelerator_hours={options.max_accelerator_hours}")
    if options.insecure_no_auth:
        overrides.append("workers.insecure_no_auth=true")
    try:
        from orchestration.commands.sweep_modes import run_mode  # late, so that --help is instant
        from orchestration.spec.layers import find_layers

        layers = find_layers(options.sweep, os.environ, options.site, options.overlay)
        return run_mode(
            _mode(options),
            options.sweep,
            overrides,
            layers,
            confirmed=options.yes,
            row=options.show,
            folder=options.export_records or options.import_records,
            verbose=options.verbose,
            as_json=options.json,
        )
    except UserError as error:
        return tell_mistakes(error)
    except KeyboardInterrupt:
        return tell_interruption(" Nothing published is lost; the same command goes on from there.")


def _mode(options: argparse.Namespace) -> str:
    if options.export_records is not None:
        return "export-records"
    return "import-records" if options.import_records is not None else str(options.mode)


if __name__ == "__main__":
    prepare_program()
    end_program(main(sys.argv[1:]))
