"""Entry point: python orchestration/reproduce.py [table1 figure3 ...] [--scale small|full] [key=value ...] [--dry-run]

Runs the sweeps of the paper's tables, then prints each cell beside the published value, and whether both put the rows
in the same order. Like every sweep it computes only what is missing: resuming is running the same command again.
"""

from __future__ import annotations

import sys
from pathlib import Path

# As in sweep.py, which this cannot ask for it: until this is done, the project is not on the path.
_HERE = Path(__file__).resolve().parent
sys.path[:] = [str(_HERE.parent), *(p for p in sys.path if not Path(p).is_absolute() or Path(p).resolve() != _HERE)]

import os  # noqa: E402
import traceback  # noqa: E402
from collections.abc import Mapping, Sequence  # noqa: E402
from typing import TYPE_CHECKING, NamedTuple  # noqa: E402

from analysis.errors import UserError as AnalysisError  # noqa: E402
from orchestration.common.errors import Problem, UserError, nearest, tell_interruption, tell_mistakes  # noqa: E402
from orchestration.common.exit_codes import (  # noqa: E402
    EXIT_CLUSTER_LOST,
    EXIT_HANGUP,
    EXIT_INTERRUPTED,
    EXIT_STOPPED,
    EXIT_TASKS_FAILED,
    EXIT_TERMINATED,
    EXIT_TRACKING_INCOMPLETE,
)
from orchestration.common.project import SWEEPS_FOLDER  # noqa: E402
from orchestration.common.redaction import reason_of  # noqa: E402
from orchestration.startup.command_line import add_layers, make_parser, parse  # noqa: E402
from orchestration.startup.program_start import end_program, prepare_program  # noqa: E402
from orchestration.sweep import main as run_sweep  # noqa: E402

if TYPE_CHECKING:
    from orchestration.storage.store import Store

SWEEPS = {
    ("table1", "small"): ("table1_small.yaml",),
    ("table1", "full"): ("table1.yaml",),
    ("table2", "small"): ("table2_small.yaml",),
    ("table2", "full"): ("table2_imagenet512.yaml", "table2_imagenet1024.yaml", "table2_kinetics512.yaml"),
    ("table3", "small"): ("table3_small.yaml",),
    ("table3", "full"): ("table3.yaml",),
    ("table4", "small"): ("table4_small.yaml",),
    ("table4", "full"): ("table4.yaml",),
    ("figure3", "small"): ("figure3_small.yaml",),
    ("figure3", "full"): ("figure3.yaml",),
}
"""(table, scale) -> files in sweeps/; small ones run on any machine, with other data, model and metrics."""
_ONLY_IF_NAMED = {("table3", "small")}
"""They read images that examples/draw_emoji.py draws first."""
_DEFAULT = "default: all, of the small ones those that need no files"
_ENDS_ALL = (EXIT_STOPPED, EXIT_CLUSTER_LOST, EXIT_HANGUP, EXIT_INTERRUPTED, EXIT_TERMINATED)
"""Exit codes of a sweep after which the others are not started."""


def main(arguments: Sequence[str]) -> int:
    """Run the sweeps of some tables. Return the worst of their exit codes, see sweep.py."""
    parser = make_parser("Reproduce published tables.")
    parser.add_argument("given", nargs="*", metavar="TABLE|key=value", help=f"{', '.join(_tables())}; {_DEFAULT}")
    parser.add_argument("--scale", default="small", help=f"{' or '.join(_scales())}; default: small")
    parser.add_argument("--dry-run", action="store_true", help="print the plans and stop")
    add_layers(parser)
    options = parse(parser, arguments)
    layers = _Options(options.site, options.overlay)
    overrides = [text for text in options.given if "=" in text]
    tables = [text for text in options.given if "=" not in text]
    tables = tables or [table for table in _tables() if (table, options.scale) not in _ONLY_IF_NAMED]
    try:
        return _reproduce(_sweep_files(tables, options.scale), overrides, layers, dry_run=options.dry_run)
    except UserError as error:
        return tell_mistakes(error)
    except KeyboardInterrupt:  # between the sweeps, which catch it themselves
        return tell_interruption()


class _Options(NamedTuple):
    """Files around the sweeps as options gave them; None if they did not."""

    site: str | None
    overlay: str | None

    @property
    def arguments(self) -> list[str]:
        """The same options for a sweep."""
        given = (("--site", self.site), ("--with", self.overlay))
        return [word for option, file in given if file is not None for word in (option, file)]


def _reproduce(paths: Sequence[Path], overrides: Sequence[str], layers: _Options, *, dry_run: bool) -> int:
    stores = _checked(paths, overrides, layers, dry_run=dry_run)
    code = _run_all(paths, [*overrides, *layers.arguments, *(["--dry-run"] if dry_run else [])])
    if not dry_run and code != EXIT_INTERRUPTED:
        _print_comparisons(stores)
    return code


def _tables() -> list[str]:
    return list(dict.fromkeys(table for table, _ in SWEEPS))


def _scales() -> list[str]:
    return list(dict.fromkeys(scale for _, scale in SWEEPS))


def _sweep_files(tables: Sequence[str], scale: str) -> list[Path]:
    """Return the sweep files of some tables, each once.

    Raises: UserError naming every table that is not known, and the scale if it is not.
    """
    problems = [
        Problem("table", f"{table!r} is not one of {', '.join(_tables())}{nearest(table, _tables())}")
        for table in tables
        if table not in _tables()
    ]
    if scale not in _scales():
        hint = nearest(scale, _scales())
        problems.append(Problem("--scale", f"{scale!r} is not one of {', '.join(_scales())}{hint}"))
    if not problems:
        problems = [Problem(table, f"has no scale {scale!r}") for table in tables if (table, scale) not in SWEEPS]
    if problems:
        raise UserError(problems)
    folder = SWEEPS_FOLDER.relative_to(Path.cwd()) if SWEEPS_FOLDER.is_relative_to(Path.cwd()) else SWEEPS_FOLDER
    return [folder / name for table in dict.fromkeys(tables) for name in SWEEPS[table, scale]]


def _checked(paths: Sequence[Path], overrides: Sequence[str], layers: _Options, *, dry_run: bool) -> dict[str, Store]:
    """Load all sweeps before the first one starts; return the store of each by its name.

    Raises: UserError with every mistake in all of them, and, unless it is a dry run, with everything they lack here.
    """
    # Imported late, so that --help is instant.
    from orchestration.plan.preflight import missing_inputs, open_store, resolve_paths
    from orchestration.spec.layers import find_layers
    from orchestration.spec.load import load_sweep

    stores: dict[str, Store] = {}
    asked: dict[str, Store | None] = {}
    problems: list[Problem] = []
    for path in paths:
        try:
            around = find_layers(path, os.environ, layers.site, layers.overlay)
            spec = resolve_paths(load_sweep(path, overrides, around), os.environ, Path.cwd())
            if spec.name in stores:
                problems.append(Problem(f"{path}: name", f"{spec.name!r} is the name of another of these sweeps"))
            if not dry_run:
                problems.extend(missing_inputs(spec))
            storage = spec.runtime.storage
            if storage.root not in asked:
                asked[storage.root] = None  # of a root that does not answer, nobody waits for an answer twice
                asked[storage.root] = open_store(storage, writable=not dry_run)
            if (store := asked[storage.root]) is not None:
                stores[spec.name] = store
        except UserError as error:
            problems.extend(error.problems)
    if problems:
        raise UserError(problems)
    return stores


def _run_all(paths: Sequence[Path], arguments: Sequence[str]) -> int:
    """Run one sweep after the other, failed ones included, unless told to end. Return the worst exit code."""
    worst = 0
    for number, path in enumerate(paths, 1):
        print(f"\n{path.name}, sweep {number} of {len(paths)}", flush=True)
        try:
            code = run_sweep([str(path), *arguments])
        except Exception:  # noqa: BLE001  a fault of ours in one sweep is no reason to leave out the others
            traceback.print_exc()
            code = EXIT_TASKS_FAILED
        if code in _ENDS_ALL:
            return code
        worst = max(worst, code, key=_severity)
    return worst


def _severity(code: int) -> float:
    """Return a rank of exit codes: incomplete tracking, with all numbers stored, is the least of all troubles."""
    return 0.5 if code == EXIT_TRACKING_INCOMPLETE else code


def _print_comparisons(stores: Mapping[str, Store]) -> None:
    """Print each sweep beside the paper's table, or why it cannot be compared."""
    for name, store in stores.items():
        try:
            # The analysis pulls in matplotlib, which nothing before needs.
            from analysis.plan.read import read_plan
            from analysis.records.stored_files import StorageRoot
            from analysis.report.build import comparison_with_paper

            plan = read_plan(store.root, name, store.options)
            text = comparison_with_paper(plan, StorageRoot(store.root, store.options))
        except Exception as error:  # noqa: BLE001  any library of the analysis: the sweeps are done
            reason = str(error) if isinstance(error, AnalysisError) else reason_of(error, store.options)
            print(f"\n{name} is not compared with the paper: {reason}", file=sys.stderr)
        else:
            print(f"\n{text}" if text else f"\n{name} has no result yet that the paper prints a number for.")


if __name__ == "__main__":
    prepare_program()
    end_program(main(sys.argv[1:]))
