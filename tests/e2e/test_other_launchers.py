"""A sweep in the shell of another launcher: its ranks are not ours."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.sweeps import ONLY_DFM, Where, numbers, run

PRESET = {
    "OMPI_COMM_WORLD_RANK": "3",
    "OMPI_COMM_WORLD_SIZE": "8",
    "OMPI_COMM_WORLD_LOCAL_RANK": "3",
    "OMPI_COMM_WORLD_LOCAL_SIZE": "8",
    "PMI_RANK": "3",
    "PMI_SIZE": "8",
    "PMIX_RANK": "3",
    "SLURM_PROCID": "3",
    "SLURM_LOCALID": "3",
    "SLURM_NTASKS": "8",
    "SLURM_JOB_ID": "12345",
    "SLURM_NODELIST": "nowhere[1-8]",
    "AZUREML_EXPERIMENT_ID": "e",
    "AZ_BATCH_MASTER_NODE": "192.0.2.1:6105",
    "SM_TRAINING_ENV": "{}",
    "RANK": "3",  # torchrun's
    "WORLD_SIZE": "8",
    "LOCAL_RANK": "3",
    "MASTER_ADDR": "192.0.2.1",
    "MASTER_PORT": "29500",
    "TORCHELASTIC_RUN_ID": "none",
    "TORCHELASTIC_USE_AGENT_STORE": "True",
}


@pytest.mark.slow
def test_a_sweep_in_the_shell_of_another_launcher_trains_and_is_measured(tmp_path: Path) -> None:
    done = run(
        tmp_path / "runs", ONLY_DFM, "training.steps=20", "evaluation.at_steps=[20]", where=Where(environment=PRESET)
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert {step for _, step, _ in numbers(tmp_path / "runs", row="DFM")} == {"20"}
