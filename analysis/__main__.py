"""`python -m analysis sweeps/quickstart.yaml`: the report of a sweep, finished or not."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from analysis.errors import EXIT_USER_ERROR, UserError

DEFAULT_ROOT = "runs"
ROOT_VARIABLE = "DFM_STORAGE_ROOT"


@dataclass(frozen=True)
class SweepFile:
    """What the analysis needs of a sweep's YAML; everything else it reads in the published plan."""

    name: str
    storage_root: str | None
    storage_options: Mapping[str, Any]


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the report, say where it is. Returns the exit code."""
    given = _parser().parse_args(arguments)
    try:
        return _report(given)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_USER_ERROR


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m analysis", description="Tables, plots and one page of a sweep.")
    parser.add_argument("sweep", help="the sweep's YAML file, e.g. sweeps/quickstart.yaml")
    where = f"default: ${ROOT_VARIABLE}, else storage.root of the YAML, else {DEFAULT_ROOT}"
    parser.add_argument("--storage", metavar="ROOT", help=f"directory or fsspec URL the sweep was run with; {where}")
    parser.add_argument("--output", metavar="DIR", help="directory or URL; default: ROOT/reports/<sweep name>")
    return parser


def _report(given: argparse.Namespace) -> int:
    sweep = read_sweep_file(Path(given.sweep))
    # Only now: a wrong path should not wait for MLflow's import, and its chatter is no news here.
    logging.getLogger("mlflow").setLevel(logging.WARNING)
    from analysis.plan_file import read_plan
    from analysis.report import write_report

    root = given.storage or os.environ.get(ROOT_VARIABLE) or sweep.storage_root or DEFAULT_ROOT
    plan = read_plan(root, sweep.name, sweep.storage_options)
    output = given.output or f"{root.rstrip('/')}/reports/{plan.sweep}"
    # The sweep's storage options belong to its root, not to another place.
    written = write_report(plan, output, None if given.output else sweep.storage_options)
    print(f"{written.html}: {written.num_filled} of {written.num_cells} cells filled, {len(written.names)} files")
    return 0


def read_sweep_file(path: Path) -> SweepFile:
    """Name and storage of a sweep.

    Raises: UserError if there is no such file or it is not a sweep.
    """
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; give the YAML file that was submitted") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read ({error})") from error
    except yaml.YAMLError as error:
        raise UserError(f"{path}: not YAML ({' '.join(str(error).split())})") from error
    if not isinstance(data, dict) or not isinstance(data.get("name"), str):
        raise UserError(f"{path}: name: a sweep file needs the key 'name', e.g. `name: quickstart`")
    root, options = _lookup(data, "storage", "root"), _lookup(data, "storage", "options")
    return SweepFile(data["name"], None if root is None else str(root), options if isinstance(options, dict) else {})


def _lookup(data: Mapping[str, Any], section: str, key: str) -> Any:
    """A key of a section, nested or dotted, as the sweep's own reader allows both."""
    nested = data.get(section)
    return data.get(f"{section}.{key}", nested.get(key) if isinstance(nested, Mapping) else None)


if __name__ == "__main__":
    sys.exit(main())
