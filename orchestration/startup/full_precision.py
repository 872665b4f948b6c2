"""Products in fp32 stay in fp32, whatever a shell or a container asks of the libraries that compute them."""

from __future__ import annotations

ONEDNN_STRICT = {"ONEDNN_DEFAULT_FPMATH_MODE": "STRICT", "DNNL_DEFAULT_FPMATH_MODE": "STRICT"}
"""Variables of oneDNN, which reads them once, when torch is imported. BF16, which guides to CPUs recommend, would give
convolutions two digits."""


def multiply_in_fp32() -> None:
    """Keep products of matrices off TF32, which NVIDIA's containers turn on by TORCH_ALLOW_TF32_CUBLAS_OVERRIDE."""
    import torch  # late: programs need the variables alone, before torch is imported

    torch.set_float32_matmul_precision("highest")
