"""Snapshots are measured while their training goes on, where there is room for both."""

from __future__ import annotations

from pathlib import Path

from mlflow import MlflowClient

from tests.support.sweeps import ONLY_DFM, run

ROOM_FOR_BOTH = ("workers.num_workers=1", "workers.num_evaluators=1")
LONGER = ("training.steps=200", "evaluation.at_steps=[20, 100, 200]", "workers.checkpoint_every=100")

EARLY, LATE, TRAINED = "evaluate DFM @ 20: started", "evaluate DFM @ 200: started", "train dfm, seed=0: done"


def test_snapshots_are_measured_while_the_training_goes_on_and_its_curve_grows(with_reference: Path) -> None:
    done = run(with_reference, ONLY_DFM, *ROOM_FOR_BOTH, *LONGER)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    when = {what: next(n for n, line in enumerate(lines) if what in line) for what in (EARLY, LATE, TRAINED)}
    assert when[EARLY] < when[LATE]
    assert when[EARLY] < when[TRAINED]

    client = MlflowClient(tracking_uri=f"sqlite:///{with_reference}/mlflow.db")
    experiment = client.get_experiment_by_name("quickstart")
    assert experiment is not None
    (training,) = client.search_runs([experiment.experiment_id], "tags.`dfm.kind` = 'train'")
    (name,) = [key for key in training.data.metrics if key.startswith("fd_lite0_block10/")]
    assert name == "fd_lite0_block10/steps 3-1 tau 0.7 guidance 2"
    curve = {point.step: point.value for point in client.get_metric_history(training.info.run_id, name)}
    assert sorted(curve) == [20, 100, 200]
    evaluations = client.search_runs([experiment.experiment_id], "tags.`dfm.kind` = 'evaluate'")
    assert sorted(curve.values()) == sorted(found.data.metrics["fd_lite0_block10"] for found in evaluations)
