"""The encodings of captions, by number of the caption: a store of latents whose samples are captions."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from dfm_core.data.latents.latent_dataset import LatentDataset
from dfm_core.models.text_tables import TextRows

TOKENS, POOLED = "tokens", "pooled"


class TextStore:
    """`TextTable`."""

    def __init__(self, store: LatentDataset, numbers: np.ndarray) -> None:
        """Args: numbers: of the captions in the order of the store's samples, ascending, [N] int64."""
        assert len(numbers) == len(store), f"{len(numbers)} numbers of {len(store)} captions"
        assert bool((np.diff(numbers) > 0).all()), "the captions of a store are sorted by number, each given once"
        self._store, self._numbers = store, numbers

    def __len__(self) -> int:
        return len(self._store)

    def rows(self, labels: Tensor) -> TextRows:
        """See `TextTable`.

        Raises: KeyError naming a number that was not encoded; as `LatentDataset.read`.
        """
        wanted = labels.cpu().numpy()
        places = np.searchsorted(self._numbers, wanted).clip(max=len(self._numbers) - 1)
        if (missing := self._numbers[places] != wanted).any():
            raise KeyError(f"the caption of number {int(wanted[missing][0])} was not encoded")
        # A batch often has a caption twice, and the one that stands for none many times.
        own, inverse = np.unique(places, return_inverse=True)
        batch = self._store.read(own)
        back = torch.from_numpy(inverse)
        tokens, pooled = (batch.tensors[name][back].to(labels.device) for name in (TOKENS, POOLED))
        return TextRows(tokens, pooled)
