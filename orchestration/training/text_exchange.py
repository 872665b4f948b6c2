"""Texts that workers tell each other: as bytes, since torch's own calls for objects unpickle what arrives."""

from __future__ import annotations

import torch
import torch.distributed as dist


def gather_texts(text: str, device: torch.device) -> list[str]:
    """Return the texts of all workers, by rank. Collective. Args: device: one that the group's backend sends from."""
    own = torch.tensor(list(text.encode()), dtype=torch.uint8, device=device)
    lengths = [torch.zeros(1, dtype=torch.int64, device=device) for _ in range(dist.get_world_size())]
    dist.all_gather(lengths, torch.tensor([own.numel()], dtype=torch.int64, device=device))
    longest = max(int(length) for length in lengths)
    padded = torch.nn.functional.pad(own, (0, longest - own.numel()))
    gathered = [torch.empty_like(padded) for _ in lengths]
    dist.all_gather(gathered, padded)
    return [bytes(one[: int(length)].tolist()).decode() for one, length in zip(gathered, lengths, strict=True)]
