"""Variables that a shell of another launcher leaves to whatever is started in it, and that libraries would believe."""

from __future__ import annotations

from collections.abc import MutableMapping

_PREFIXES = (
    "OMPI_",  # mpirun and its kin, whose ranks DeepSpeed takes for ours
    "PMI_",
    "PMIX_",
    "MPI_LOCAL",
    "MV2_COMM_WORLD_",
    "I_MPI_",
    "HYDRA_",
    "SLURM_",
    "AZUREML_",  # without MPI's variables DeepSpeed fails there
    "AZ_",
    "SM_TRAINING_ENV",
    "TORCHELASTIC_",  # torchrun; with its agent's store no rank of ours would open one, and all would wait
)


def drop_other_launchers(environment: MutableMapping[str, str]) -> None:
    """Remove the variables: workers believe Ray alone. Those that Ray sets itself (RANK, MASTER_ADDR, ...) stay."""
    for name in [name for name in environment if name.startswith(_PREFIXES)]:
        del environment[name]
