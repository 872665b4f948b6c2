"""Variables that other launchers leave in the environment are dropped, and no others."""

from __future__ import annotations

from orchestration.startup.other_launchers import drop_other_launchers


def test_variables_of_other_launchers_go_and_rays_stay() -> None:
    kept = {"RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "0", "MASTER_ADDR": "127.0.0.1", "HOME": "/", "SM_": "x"}
    other = ("OMPI_COMM_WORLD_RANK", "PMI_RANK", "PMIX_RANK", "SLURM_PROCID", "AZUREML_RUN_ID", "AZ_BATCH_MASTER_NODE")
    torchrun = ("TORCHELASTIC_USE_AGENT_STORE", "TORCHELASTIC_RUN_ID", "SM_TRAINING_ENV")
    environment = kept | dict.fromkeys((*other, *torchrun), "7")
    drop_other_launchers(environment)
    assert environment == kept
