"""Encoded captions as a velocity model reads them: a caption is a label, and a table has a row for each."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

NULL_CAPTION = int.from_bytes(hashlib.sha256(b"").digest()[:8]) >> 1
"""Label of the empty caption, in the place of a null class: the first 63 bits of the sha256 of its text, as of any."""


@dataclass(frozen=True)
class TextRows:
    """Encodings of a batch's captions."""

    tokens: Tensor
    """[B, L, D_text] floating."""
    pooled: Tensor
    """[B, D_pooled] floating."""


class TextTable(Protocol):
    """The frozen encodings of all captions of a training or an evaluation."""

    def rows(self, labels: Tensor) -> TextRows:
        """Return the encodings of captions, on the device of the labels.

        Args: labels: numbers of captions, [B] int64. Raises: KeyError naming one that is not there.
        """


class MemoryTextTable:
    """A `TextTable` of a few captions, in memory."""

    def __init__(self, rows: Mapping[int, tuple[Tensor, Tensor]]) -> None:
        """Args: rows: tokens [L, D_text] and pooled vector [D_pooled] of each caption, by its number."""
        self._numbers = {number: row for row, number in enumerate(rows)}
        self._tokens = torch.stack([tokens for tokens, _ in rows.values()])
        self._pooled = torch.stack([pooled for _, pooled in rows.values()])

    def rows(self, labels: Tensor) -> TextRows:
        """See `TextTable`."""
        if unknown := sorted({number for number in labels.tolist() if number not in self._numbers}):
            raise KeyError(f"{len(unknown)} captions are not in the table, such as {unknown[0]}")
        at = torch.tensor([self._numbers[number] for number in labels.tolist()])
        return TextRows(self._tokens[at].to(labels.device), self._pooled[at].to(labels.device))


@dataclass(frozen=True)
class ZeroTextTable:
    """A `TextTable` that has every caption, all zeros: for models that are only weighed, also on the meta device."""

    length: int
    token_width: int
    pooled_width: int

    def rows(self, labels: Tensor) -> TextRows:
        """See `TextTable`."""
        tokens = torch.zeros(len(labels), self.length, self.token_width, device=labels.device)
        return TextRows(tokens, torch.zeros(len(labels), self.pooled_width, device=labels.device))
