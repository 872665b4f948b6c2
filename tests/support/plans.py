"""A small published plan and a real MLflow database that holds what a test says it holds."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Metric

from analysis.plan.model import EvaluateTask, FloorTask, PublishedPlan
from analysis.plan.read import parse_plan

STEPS = (100, 200)
FLOPS_PER_STEP = 1_000_000_000
BATCH_SIZE = 32
METRICS = (
    {"name": "fd", "title": "FD-Lite0", "better": "lower", "about": "a distance"},
    {"name": "accuracy", "title": "label accuracy", "better": "higher", "about": "a share"},
)
SAMPLING = {"steps": [20, 20], "tau": [0.9], "guidance": 1.0, "solver": "euler", "weights": "ema"}
TWO_ROWS = {"paradigm": ("flow matching", "DFM")}


def train_digest(row: str, seed: int = 0) -> str:
    return f"train {row} {seed}"


def evaluate_digest(row: str, step: int, seed: int = 0) -> str:
    return f"evaluate {row} {step} {seed}"


def protocol(metric: str, **changes: Any) -> dict[str, Any]:
    """Return the protocol of a metric of the small plan, with some fields changed."""
    return {
        "metric": metric,
        "network": "lite0 block10",
        "weights_sha256": "a5" * 32,
        "preprocessing": "bicubic to 112",
        "num_samples": 500,
        "reference": "b7" * 32,
        "guidance": 1.0,
        "ema_decay": 0.999,
        "label_sampling": "balanced",
        "settings": "",
        **changes,
    }


def protocols(**changes: Any) -> dict[str, dict[str, Any]]:
    """The protocols of a task of the small plan, by metric."""
    return {card["name"]: protocol(card["name"], **changes) for card in METRICS}


def about(**changes: Any) -> bytes:
    """An about.json whose protocols are those of the small plan, with some fields changed."""
    return json.dumps({"notes": {}, "protocols": protocols(**changes)}).encode()


def as_planned(task: EvaluateTask | FloorTask) -> bytes:
    """The about.json of an evaluator that did what was planned."""
    return json.dumps({"notes": {}, "protocols": {key: dict(p.values) for key, p in task.protocols.items()}}).encode()


def plan_document(
    uri: str = "sqlite:///absent.db",
    parts: Mapping[str, Sequence[str]] = TWO_ROWS,
    seeds: Sequence[int] = (0,),
    published: Mapping[str, Any] | None = None,
    counterparts: Mapping[str, Any] = MappingProxyType({}),
) -> dict[str, Any]:
    """A plan as orchestration publishes it; rows of the same name share their tasks, whatever their part.

    Args: published: the paper's table. counterparts: the paper's part and guidance for some of our parts.
    """
    trials, tasks = [], {}
    tasks["reference"] = {"kind": "reference", "title": "real images, lite0", "inputs": [], "payload": {}}
    tasks["probe"] = {"kind": "probe", "title": "labels, lite0", "inputs": ["reference"], "payload": {}}
    tasks["floor"] = {
        "kind": "floor",
        "title": "500 real images",
        "inputs": ["reference", "probe"],
        "payload": {},
        "protocols": protocols(ema_decay=0.0),
    }
    for part, row, seed in ((part, row, seed) for part, rows in parts.items() for row in rows for seed in seeds):
        evaluations = [{"step": step, "digest": evaluate_digest(row, step, seed)} for step in STEPS]
        trials.append(
            {"part": part, "row": row, "seed": seed, "train": train_digest(row, seed), "evaluations": evaluations}
        )
        tasks[train_digest(row, seed)] = _train_task(row, seed)
        tasks |= {evaluate_digest(row, step, seed): _evaluate_task(row, step, seed) for step in STEPS}
    return {
        "format": 2,
        "sweep": "small",
        "title": "A small sweep",
        "file": "sweeps/small.yaml",
        "seeds": list(seeds),
        "tracking_uri": uri,
        "experiment": "small",
        "metrics": list(METRICS),
        "published": published,
        "equal_compute": True,
        "parts": [
            {
                "name": part,
                "title": f"Part {part}",
                "rows": [{"label": row, "settings": {}} for row in rows],
                "published": counterparts.get(part),
            }
            for part, rows in parts.items()
        ],
        "trials": trials,
        "tasks": tasks,
    }


def _train_task(row: str, seed: int) -> dict[str, Any]:
    return {
        "kind": "train",
        "title": f"{row}, seed={seed}",
        "inputs": [],
        "payload": {},
        "until_step": STEPS[-1],
        "snapshot_steps": list(STEPS),
        "batch_size": BATCH_SIZE,
        "flops_per_step": FLOPS_PER_STEP,
        "num_parameters": 1_234_567,
        "paradigm": "dfm",
    }


def _evaluate_task(row: str, step: int, seed: int) -> dict[str, Any]:
    return {
        "kind": "evaluate",
        "title": f"{row} @ {step}",
        "inputs": [train_digest(row, seed), "reference", "probe"],
        "payload": {"evaluation": {"metrics": [card["name"] for card in METRICS]}},
        "step": step,
        "train": train_digest(row, seed),
        "floor": "floor",
        "protocols": protocols(),
        "sampling": dict(SAMPLING),
        "training_flops": step * FLOPS_PER_STEP,
        "training_images": step * BATCH_SIZE,
        "num_evaluations": 40,
        "num_samples": 500,
        "sampling_flops": 70_000_000_000,
    }


def change_protocols(document: dict[str, Any], row: str, **changes: Any) -> None:
    """Change fields of the protocols of a row's evaluations."""
    for task in document["tasks"].values():
        if task["kind"] == "evaluate" and task["title"].startswith(f"{row} @ "):
            task["protocols"] = {name: {**entry, **changes} for name, entry in task["protocols"].items()}


AS_IN_TABLE_2 = {"network": "Inception-v3 pool3", "num_samples": 50_000, "guidance": 1.5}
"""The paper's protocol of the part that `beside_table2` stands beside."""


def beside_table2(
    *,
    seeds: Sequence[int] = (0,),
    same_setting: bool = False,
    measured: Mapping[str, Mapping[str, Any]] = MappingProxyType({}),
    **changes: Any,
) -> PublishedPlan:
    """A plan whose one part stands beside Table 2, ImageNet 512 px, guidance 1.5.

    Args: measured: fields of the protocols of some rows that are other than the paper's, if it is the same setting.
    """
    document = plan_document(
        parts={"main": ("flow_matching", "cascaded", "pyramidal_flow", "dfm", "ours")},
        seeds=seeds,
        published={
            "table": "table2",
            "metrics": {"accuracy": "is", "fd": "fid_50k"},
            "same_setting": same_setting,
        },
        counterparts={"main": {"part": "imagenet_512", "guidance": 1.5}},
    )
    if same_setting:
        train_as_long_as_table2(document)
    for row in document["parts"][0]["rows"] if same_setting else ():
        change_protocols(document, row["label"], **{**AS_IN_TABLE_2, **measured.get(row["label"], {})})
    return parse_plan(json.dumps({**document, **changes}))


def train_as_long_as_table2(document: dict[str, Any]) -> None:
    """Let all trainings take as many steps as the paper's; digests keep the small plan's steps."""
    entries = [entry for trial in document["trials"] for entry in trial["evaluations"]]
    for entry in [*entries, *(task for task in document["tasks"].values() if task["kind"] == "evaluate")]:
        entry["step"] *= 500_000 // STEPS[-1]


def make_plan(**changes: Any) -> PublishedPlan:
    return parse_plan(json.dumps(plan_document(**changes)))


def png(shade: int = 128, size: int = 8) -> bytes:
    """A grey square, a valid PNG file."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\0" + bytes([shade]) * size for _ in range(size))
    header = struct.pack(">IIBBBBB", size, size, 8, 0, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


class Database:
    """An MLflow sqlite database with the experiment of the small plan."""

    def __init__(self, path: Path) -> None:
        self.uri = f"sqlite:///{path}"
        self.client = MlflowClient(tracking_uri=self.uri)
        self._clock = 1_700_000_000_000
        self._experiment = self.client.create_experiment("small", artifact_location=str(path.parent / "artifacts"))

    def tick(self) -> int:
        """A later millisecond."""
        self._clock += 1000
        return self._clock

    def run(
        self,
        digest: str,
        metrics: Mapping[str, float] | None = None,
        *,
        status: str = "done",
        step: int = 0,
        files: Mapping[str, bytes] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> str:
        """One run of a task; later calls are later attempts. Returns its id."""
        named = {"dfm.digest": digest, "dfm.kind": digest.split()[0], "dfm.status": status, **(tags or {})}
        run_id = str(self.client.create_run(self._experiment, start_time=self.tick(), tags=named).info.run_id)
        for name, value in (metrics or {}).items():
            self.client.log_metric(run_id, name, value, timestamp=self.tick(), step=step)
        if status in {"done", "failed"}:
            ended = {"done": "FINISHED", "failed": "FAILED"}[status]
            self.client.set_terminated(run_id, ended, end_time=self.tick())
        for name, data in (files or {}).items():
            self.client.log_text(run_id, data.decode(), name) if name.endswith("json") else self._image(
                run_id, name, data
            )
        return run_id

    def curve(self, run_id: str, name: str, points: Sequence[tuple[int, float]]) -> None:
        """Points of a history, each later than all before."""
        batch = [Metric(name, value, self.tick(), step) for step, value in points]
        self.client.log_batch(run_id, metrics=batch)

    def _image(self, run_id: str, name: str, data: bytes) -> None:
        root = self.client.get_run(run_id).info.artifact_uri.removeprefix("file://")
        Path(root).mkdir(parents=True, exist_ok=True)
        (Path(root) / name).write_bytes(data)

    def fill(self, plan: PublishedPlan, values: Mapping[str, float]) -> None:
        """A finished sweep: `fd` of a row's last step from `values`, twice that at the first; accuracy is fd / 100.

        The standard error of `fd` is 2%; accuracy has none.
        """
        where = {"python": "3.11", "source": {"git_commit": "abc1234"}, "packages": {"torch": "2.13"}}
        provenance = json.dumps(where).encode()
        self.run("reference", {"accelerator_seconds": 7.5}, files={"real.png": png(200), "provenance.json": provenance})
        self.run("probe", {"accelerator_seconds": 1.5})
        floors = {"fd": 1.25, "fd_standard_error": 0.05, "accuracy": 0.97}
        for digest, floor in plan.floors.items():
            self.run(digest, floors, files={"about.json": as_planned(floor)})
        for digest in plan.trainings:
            run_id = self.run(digest, {"seconds": 61.0}, files={"provenance.json": provenance})
            for name in ("loss", "loss_stage_0"):
                self.curve(run_id, name, [(step, 1.0 / step) for step in range(20, 201, 20)])
        for digest, task in plan.evaluations.items():
            value = values[task.title.partition(" @ ")[0]] * (1 if task.step == STEPS[-1] else 2)
            metrics = {"fd": value, "accuracy": value / 100, "seconds": 5.0, "images_per_second": 100.0}
            metrics |= {"fd_standard_error": value / 50}
            files = {"samples.png": png(task.step % 256), "about.json": as_planned(task)}
            self.run(digest, metrics, step=task.step, files=files)
