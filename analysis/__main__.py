"""`python -m analysis sweeps/quickstart.yaml`: the report of a sweep, finished or not."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path

try:
    import argcomplete
except ModuleNotFoundError:  # the machine's Python in the place of the project's
    print(
        f"python -m analysis: {sys.executable} lacks the packages of this project: `make setup` installs them into "
        ".venv; use .venv/bin/python, or `source .venv/bin/activate` first",
        file=sys.stderr,
    )
    sys.exit(2)

from analysis.contract.output import make_output_unfailing
from analysis.contract.printable import printable
from analysis.contract.proxies import bypass_proxies
from analysis.errors import EXIT_INTERRUPTED, EXIT_USER_ERROR, UserError
from analysis.plan.sweep_file import DEFAULT_ROOT, ROOT_VARIABLE, read_sweep_file, storage_root

_ABOUT = """\
Writes the report of a sweep, finished or not, from its published plan (ROOT/plans/NAME.json) and what MLflow holds for
it: report.html, one page with everything; table.md, .csv and .tex; comparison.md beside the paper's numbers, if it has
any for this sweep; figures and sample grids. Cells that are missing, running or failed say so, and so does whatever is
not as the launcher leaves it: duplicate or deleted runs, tags changed by hand, numbers that are none."""
_MORE = f"""\
The plan names the tracking server or database; a database file must be on this machine. What was read of runs that
ended is kept in ~/.cache/dfm-analysis, or $DFM_ANALYSIS_CACHE ("off": nowhere), and read again when such a run changes;
the files there may be removed at any time. A server that asks for a name and a password finds them in
MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD.

A server that does not answer: the report is made of the task records under ROOT/results alone, and says so at the top
of the page, above each table and here.

exit codes: 0 the report is written; {EXIT_USER_ERROR} a mistake in what was given, or neither a server nor records to
read: one line says which, and nothing is written; {EXIT_INTERRUPTED} interrupted.

in Python, the same numbers as pandas frames: frames = analysis.load("sweeps/quickstart.yaml"); see docs/analysis.md"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the report and print its path. Returns the exit code."""
    parser = _parser()
    argcomplete.autocomplete(parser)
    given = parser.parse_args(arguments)
    try:
        return _report(given)
    except UserError as error:
        print(printable(f"error: {error}"), file=sys.stderr)
        return EXIT_USER_ERROR
    except KeyboardInterrupt:
        print("\nInterrupted.", file=sys.stderr)
        return EXIT_INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=None if sys.argv[0] == "dfm report" else "python -m analysis",
        description=_ABOUT,
        epilog=_MORE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("sweep", help="the sweep's YAML file, e.g. sweeps/quickstart.yaml")
    where = f"default: ${ROOT_VARIABLE}, else storage.root of the YAML, else {DEFAULT_ROOT}"
    parser.add_argument("--storage", metavar="ROOT", help=f"directory or fsspec URL the sweep was run with; {where}")
    parser.add_argument("--output", metavar="DIR", help="directory or URL; default: ROOT/reports/<sweep name>")
    return parser


def _report(given: argparse.Namespace) -> int:
    bypass_proxies(os.environ)
    sweep = read_sweep_file(Path(given.sweep))
    # Imported late: a wrong path should not wait for MLflow's import. Its log messages do not concern the user.
    logging.getLogger("mlflow").setLevel(logging.WARNING)
    from analysis.plan.read import read_plan
    from analysis.records.stored_files import StorageRoot
    from analysis.report.build import write_report

    root = storage_root(sweep, given.storage, os.environ)
    plan = read_plan(root, sweep.name, sweep.storage_options)
    output = given.output or f"{root.rstrip('/')}/reports/{plan.sweep}"
    # The sweep's storage options belong to its root, not to another place.
    options = None if given.output else sweep.storage_options
    written = write_report(plan, output, options, StorageRoot(root, sweep.storage_options))
    if written.alarm:
        print(printable(f"warning: {written.alarm}"), file=sys.stderr)
    print(f"{written.html}: {written.num_filled} of {written.num_cells} cells filled, {len(written.names)} files")
    return 0


if __name__ == "__main__":
    make_output_unfailing()
    sys.exit(main())
