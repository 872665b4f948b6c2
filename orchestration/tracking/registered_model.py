"""The script that MLflow runs when it loads a registered snapshot: it lies beside safetensors and JSON, not pickle."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel

from dfm_core.pipeline import DFMPipeline


class SnapshotModel(PythonModel):  # type: ignore[misc]
    """Images of classes, sampled as the evaluation sampled that the snapshot is registered for."""

    def load_context(self, context: Any) -> None:
        """Raises: ValueError if a file is damaged or of another numerics version."""
        self._pipeline = DFMPipeline.from_pretrained(context.artifacts["snapshot"])
        self._pipeline.set_progress_bar_config(disable=True)

    def predict(self, context: Any, model_input: np.ndarray, params: Mapping[str, Any] | None = None) -> np.ndarray:  # noqa: ARG002
        """Return samples.

        Args: model_input: class of each image, [B] int64. params: seed: of the noise; image i depends on it and on i.
        Returns: [B, C, (T,) H, W] float32 in [-1, 1].
        """
        noise = torch.Generator().manual_seed(int((params or {}).get("seed", 0)))
        images = self._pipeline(np.asarray(model_input).tolist(), generator=noise, output_type="np").images
        return np.asarray(images, np.float32)


set_model(SnapshotModel())
