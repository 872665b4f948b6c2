"""Captions by number, in a store of latents whose samples are captions: their encodings, or tokens to be encoded."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from dfm_core.data.latents.latent_dataset import LatentDataset
from dfm_core.models.text_tables import TextRows

TOKENS, POOLED = "tokens", "pooled"
"""Encodings of a caption's tokens, and its one vector."""
NUMBERS = "token_numbers"
"""In the place of the first: the tokens themselves, [L] int32."""
_KEPT_ROWS = 64
"""Encodings that are kept of captions that were read last: a solver asks for the same ones at every step."""


class TextStore:
    """`TextTable`."""

    def __init__(self, store: LatentDataset, numbers: np.ndarray) -> None:
        """Args: numbers: of the captions in the order of the store's samples, ascending, [N] int64."""
        assert len(numbers) == len(store), f"{len(numbers)} numbers of {len(store)} captions"
        assert bool((np.diff(numbers) > 0).all()), "the captions of a store are sorted by number, each given once"
        self._store, self._numbers = store, numbers

    def __len__(self) -> int:
        return len(self._store)

    def holds(self, name: str) -> bool:
        """Return whether a tensor is stored of each caption."""
        return name in self._store.manifest.tensors

    def rows(self, labels: Tensor) -> TextRows:
        """See `TextTable`.

        Raises: KeyError naming a number that was not encoded; as `LatentDataset.read`.
        """
        # A batch often has a caption twice, and the one that stands for none many times.
        own, back = _distinct(labels)
        batch = self.stored(own)
        return TextRows(*(batch[name][back].to(labels.device) for name in (TOKENS, POOLED)))

    def stored(self, labels: Tensor) -> dict[str, Tensor]:
        """Return what is stored of captions, by name, on the CPU.

        Args: labels: [B] int64. Raises: as `rows`.
        """
        wanted = labels.numpy()
        places = np.searchsorted(self._numbers, wanted).clip(max=len(self._numbers) - 1)
        if (missing := self._numbers[places] != wanted).any():
            raise KeyError(f"the caption of number {int(wanted[missing][0])} was not encoded")
        return dict(self._store.read(places).tensors)


class LiveTexts:
    """`TextTable` that encodes captions as they are read: bitwise the rows that a `TextStore` of the same encoder has.

    Used by one thread at a time.
    """

    def __init__(self, store: TextStore, encode: Callable[[Tensor], Tensor]) -> None:
        """Args: store: of tokens. encode: function from tokens, [B, L] int, to their encodings, [B, L, D], of which
        each is a function of its own tokens alone."""
        self._store, self._encode = store, encode
        self._kept: OrderedDict[int, TextRows] = OrderedDict()
        """Rows by number of the caption, those read last at the end; of one caption each."""

    def rows(self, labels: Tensor) -> TextRows:
        """See `TextTable`. Raises: as `TextStore.rows`."""
        own, back = _distinct(labels)
        for number in own.tolist():
            if number in self._kept:
                self._kept.move_to_end(number)
        if missing := [number for number in own.tolist() if number not in self._kept]:
            self._read(torch.tensor(missing))
        rows = [self._kept[number] for number in own.tolist()]
        tokens, pooled = torch.cat([row.tokens for row in rows]), torch.cat([row.pooled for row in rows])
        while len(self._kept) > _KEPT_ROWS:
            self._kept.popitem(last=False)
        return TextRows(tokens.to(labels.device)[back], pooled.to(labels.device)[back])

    def _read(self, numbers: Tensor) -> None:
        stored = self._store.stored(numbers)
        encodings = self._encode(stored[NUMBERS])
        pooled = stored[POOLED].to(encodings.device)
        for at, number in enumerate(numbers.tolist()):
            # Copies: the memory of what was read is used again.
            self._kept[number] = TextRows(encodings[at : at + 1].clone(), pooled[at : at + 1].clone())


def _distinct(labels: Tensor) -> tuple[Tensor, Tensor]:
    """Return the different labels, on the CPU, and the place of each label among them."""
    own, back = np.unique(labels.cpu().numpy(), return_inverse=True)
    return torch.from_numpy(own), torch.from_numpy(back)
