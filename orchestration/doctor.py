"""Entry point: python -m orchestration.doctor [--storage ROOT] [--tracking URI] [--num-gpus N] [--redacted]

Checks a cluster before money is spent on it: versions, GPUs, clock, disk and storage of every node, the bandwidth
between workers, the tracking server, and that calls without a token are refused. Uses the job's cluster, that of
RAY_ADDRESS, or this machine, as a sweep does. Leaves nothing behind.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from orchestration.common.errors import UserError, tell_interruption, tell_mistakes
from orchestration.common.exit_codes import EXIT_TASKS_FAILED
from orchestration.config.storage import StorageConfig
from orchestration.startup.command_line import make_parser, parse
from orchestration.startup.program_start import end_program, prepare_program

if TYPE_CHECKING:
    from orchestration.diagnosis.check_report import CheckResult


def main(arguments: Sequence[str]) -> int:
    """Return the exit code: 0 all is well, 1 a check failed, 2 a mistake in the arguments, or no cluster, 130."""
    parser = make_parser("Check a cluster before money is spent on it.")
    parser.add_argument("--storage", metavar="ROOT", default=StorageConfig().root, help="the storage root of the sweep")
    parser.add_argument("--tracking", metavar="URI", help="of MLflow; default: as a sweep finds it")
    parser.add_argument("--num-gpus", type=int, default=0, help="wait for so many, which an autoscaler may start")
    parser.add_argument("--megabytes", type=int, default=64, help="that each worker adds up; default: 64")
    parser.add_argument("--redacted", action="store_true", help="name no host, address or path: to show to others")
    parser.add_argument("--insecure-no-auth", action="store_true", help="look at a cluster that lets strangers in too")
    options = parse(parser, arguments)
    if options.num_gpus < 0 or options.megabytes < 1:
        parser.error("--num-gpus is 0 or more, --megabytes 1 or more")
    try:
        rows = _check(options)
    except UserError as error:
        return tell_mistakes(error)
    except KeyboardInterrupt:
        return tell_interruption()
    return EXIT_TASKS_FAILED if any(row.state == "FAILED" for row in rows) else 0


def _check(options: argparse.Namespace) -> list[CheckResult]:
    # Imported late, so that --help is instant and Ctrl-C is heard meanwhile.
    from orchestration.config.storage_root import resolve_root
    from orchestration.diagnosis.check_access import tracking_rows
    from orchestration.diagnosis.check_report import Redaction, print_rows
    from orchestration.diagnosis.diagnose import diagnose
    from orchestration.plan.preflight import open_store
    from orchestration.tracking.uri import resolve_uri

    storage = StorageConfig(resolve_root(options.storage, StorageConfig().root, os.environ, Path.cwd()))
    store = open_store(storage, writable=True)
    uri = resolve_uri(options.tracking, store, os.environ, insecure_http=True)
    redaction = Redaction(enabled=options.redacted)
    redaction.add(store.root, "STORAGE")
    redaction.add(uri, "TRACKING")
    with contextlib.suppress(RuntimeError):  # no home
        redaction.add(str(Path.home()), "HOME")
    rows = diagnose(
        storage,
        store,
        redaction,
        num_gpus=options.num_gpus,
        num_bytes=options.megabytes * 10**6,
        insecure=options.insecure_no_auth,
    )
    rows += [_tracking_row(uri), *tracking_rows(uri)]
    print_rows(rows, redaction)
    return rows


def _tracking_row(uri: str) -> CheckResult:
    from orchestration.diagnosis.check_report import CheckResult
    from orchestration.tracking.uri import ask_server

    try:
        seconds = ask_server(uri)
    except UserError as error:
        advice = "start it, or give another: --tracking, tracking.uri or MLFLOW_TRACKING_URI"
        return CheckResult("tracking", "MLflow", "FAILED", error.problems[0].message, advice)
    answer = "is made by the first sweep" if seconds is None else f"answers in {seconds:.2f} s"
    return CheckResult("tracking", "MLflow", "ok", f"{uri} {answer}")


if __name__ == "__main__":
    prepare_program()
    end_program(main(sys.argv[1:]))
