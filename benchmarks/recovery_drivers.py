"""The two drivers that `recovery.py` disturbs: a training of ours, and one on plain Ray Train. Processes of their own.

Both have two workers, write a checkpoint every so many steps, are tried again three times, and append a line
"seconds since 1970, step" to `steps` when a step is done. At the end `weights.json` has the weights' digest.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

HUNG_AFTER_SECONDS = 10.0
"""Time limit of our step; the default is 60, for steps that take longer than these."""
_MAX_FAILURES = 3
_WIDTH = 256


def ours(folder: Path, num_steps: int, every: int) -> None:
    """Run a training task as a sweep does, without the tasks around it. The fault is in `DFM_FAULT`."""
    import ray

    from orchestration.artifacts.snapshot_loader import read_snapshot
    from orchestration.cluster.connection import cluster
    from orchestration.config.workers import WorkersConfig
    from orchestration.control.progress_board import start_progress_board
    from orchestration.plan.plan import make_plan
    from orchestration.spec.load import load_sweep
    from orchestration.storage.store import Store
    from orchestration.tasks.task import TrainTask
    from orchestration.training.train_request import request_of
    from orchestration.training.worker_group import WorkerGroup
    from orchestration.training.worker_group_pool import WorkerGroupPool

    workers = WorkersConfig(
        checkpoint_every=every, log_every=1, max_failures=_MAX_FAILURES, hung_after_seconds=HUNG_AFTER_SECONDS
    )
    store = Store(str(folder / "store"))
    # Steps of a third of a second: Ray Train hears of a reported checkpoint up to two seconds late.
    small = ["model.size=nano", "training.batch_size=512", "training.warmup_steps=3", f"training.steps={num_steps}"]
    one = ["parts={p: {rows: {DFM: {}}}}", f"evaluation.at_steps=[{num_steps}]", f"storage.root={store.root}"]
    plan = make_plan(load_sweep(ROOT / "sweeps" / "quickstart.yaml", [*small, *one]))
    (task,) = plan.of_kind(TrainTask)
    with cluster(workers):
        name, board = start_progress_board()
        groups = WorkerGroupPool(
            workers,
            lambda task: request_of(task, store, workers, name),
            lambda only: WorkerGroup(store, workers, only),
            is_short=lambda _task: False,
        )
        training = groups.submit(task)
        is_over = False
        while not is_over:
            is_over = training.done()  # before the last look
            _note(
                folder, (int(row["step"]) for rows in ray.get(board.take_update.remote()).rows.values() for row in rows)
            )
            time.sleep(0.02)
        training.result()
        groups.close_idle()
    averaged = read_snapshot(store, (task.digest, num_steps)).model.state_dict()
    _end(folder, (weight.numpy() for _, weight in sorted(averaged.items())))


def stock(folder: Path, num_steps: int, every: int, step_seconds: float, fault: str) -> None:
    """Train as Ray Train's guide does: torch's DDP, reported checkpoints, `FailureConfig`, the same name again."""
    import ray
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchTrainer

    ray.init(address="local", log_to_driver=False, logging_level="ERROR", include_dashboard=False)
    told = {"folder": str(folder), "steps": num_steps, "every": every, "step_seconds": step_seconds, "fault": fault}
    try:
        TorchTrainer(
            stock_worker,
            train_loop_config=told,
            scaling_config=ScalingConfig(num_workers=2),
            run_config=RunConfig(
                name="stock", storage_path=str(folder), failure_config=FailureConfig(max_failures=_MAX_FAILURES)
            ),
        ).fit()
    finally:
        ray.shutdown()


def stock_worker(told: Mapping[str, Any]) -> None:
    """Train a small network to copy noise, in steps as long as ours."""
    import ray.train
    from ray.train import Checkpoint
    from ray.train.torch import prepare_model

    torch.set_num_threads(1)
    torch.manual_seed(0)
    rank, folder = ray.train.get_context().get_world_rank(), Path(told["folder"])
    net = torch.nn.Sequential(torch.nn.Linear(_WIDTH, _WIDTH), torch.nn.ReLU(), torch.nn.Linear(_WIDTH, _WIDTH))
    model = prepare_model(net)
    optimizer, start = torch.optim.AdamW(net.parameters(), lr=1e-3), 0
    checkpoint = ray.train.get_checkpoint()
    if checkpoint is not None:
        with checkpoint.as_directory() as there:
            state = torch.load(Path(there) / "state.pt", weights_only=True)
        net.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        start = state["step"]
    for step in range(start + 1, told["steps"] + 1):
        began = time.monotonic()
        noise = torch.randn(8, _WIDTH, generator=torch.Generator().manual_seed(2 * step + rank))
        loss = (model(noise) - noise).square().mean()
        loss = _disturbed(loss, told["fault"], rank, step, folder)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        time.sleep(max(0.0, told["step_seconds"] - (time.monotonic() - began)))
        if rank == 0:
            _note(folder, [step])
        if step % told["every"] == 0:
            with tempfile.TemporaryDirectory() as made:
                if rank == 0:
                    whole = {"model": net.state_dict(), "optimizer": optimizer.state_dict(), "step": step}
                    torch.save(whole, Path(made) / "state.pt")
                ray.train.report({"step": step}, checkpoint=Checkpoint.from_directory(made) if rank == 0 else None)
    if rank == 0:
        _end(folder, (weight.detach().numpy() for _, weight in sorted(net.state_dict().items())))


def _disturbed(loss: torch.Tensor, fault: str, rank: int, step: int, folder: Path) -> torch.Tensor:
    """Inject the fault once, in its worker and step, as ours does."""
    at_rank, _, rest = fault.partition(":")
    at_step, _, action = rest.partition(":")
    if not fault or (rank, step) != (int(at_rank), int(at_step)) or (folder / "fired").exists():
        return loss
    (folder / "fired").touch()
    if action == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif action == "hang":
        time.sleep(3600)
    assert action == "nan", f"no such fault: {action}"
    return loss * float("nan")


def _note(folder: Path, steps: Iterable[int]) -> None:
    lines = "".join(f"{time.time():.3f} {step}\n" for step in steps)
    if lines:
        with (folder / "steps").open("a", encoding="utf-8") as file:
            file.write(lines)


def _end(folder: Path, weights: Iterable[NDArray[np.float32]]) -> None:
    digest, finite = hashlib.sha256(), True
    for weight in weights:
        digest.update(np.ascontiguousarray(weight).tobytes())
        finite = finite and bool(np.isfinite(weight).all())
    (folder / "weights.json").write_text(json.dumps({"digest": digest.hexdigest(), "finite": finite}), encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("whose", choices=("ours", "stock"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--every", type=int, required=True, help="steps between checkpoints")
    parser.add_argument("--step-seconds", type=float, default=0.0, help="of the stock training")
    given = parser.parse_args()
    if given.whose == "ours":
        ours(given.folder, given.steps, given.every)
    else:
        stock(given.folder, given.steps, given.every, given.step_seconds, os.environ.get("DFM_FAULT", ""))


if __name__ == "__main__":
    main()
