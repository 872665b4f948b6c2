"""TF32, which a container may have turned on, is off wherever numbers are made."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from orchestration.config.runtime import RuntimeConfig
from orchestration.evaluation.worker import Evaluator
from orchestration.storage.store import Store
from orchestration.training.worker_setup import use_kernels


@pytest.fixture(autouse=True)
def container() -> Iterator[None]:
    """PyTorch as TORCH_ALLOW_TF32_CUBLAS_OVERRIDE=1 starts it."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    yield
    torch.set_float32_matmul_precision(before)


def test_an_evaluator_multiplies_in_fp32(store: Store) -> None:
    Evaluator(store.root, {}, RuntimeConfig(), "")
    assert not torch.backends.cuda.matmul.allow_tf32


@pytest.mark.parametrize("deterministic", [False, True])
def test_a_training_multiplies_in_fp32(deterministic: bool) -> None:
    use_kernels(deterministic=deterministic)
    torch.use_deterministic_algorithms(False)
    assert not torch.backends.cuda.matmul.allow_tf32
