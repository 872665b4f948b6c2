"""Differences of training or protocol that keep our values from being compared with the paper's. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from analysis.contract.published_numbers import PublishedPart, published_network
from analysis.plan.protocol import Protocol, shown
from analysis.results.cells import Cell

_ALIKE = 0.05
"""Share of the paper's training steps by which ours may differ: equal compute is not equal steps to the last one."""


def find_setting_difference(ours: Cell, published: PublishedPart, metric: str, longest_training: int) -> str:
    """Return how the paper's setting differs from a cell's, at any seed; empty if it does not, or without a number.

    Args: longest_training: steps of the longest training of our part. Rows of one part are trained at equal compute,
        so that a row may rightly have fewer steps than the paper says of the part.
    """
    if ours.status == "not planned":
        return ""
    steps = published.protocol.training_steps
    if steps is not None and abs(longest_training - steps) > _ALIKE * steps:
        return f"trained for {longest_training:,} steps, the paper's for {steps:,}"
    effective = [pair.effective for pair in ours.protocols]
    if not effective or None in effective:
        return "how it was measured is not known"
    if any(pair.deviations for pair in ours.protocols):
        return "it was not measured as planned"
    texts = (text for protocol in effective if protocol for text in _protocol_differences(protocol, published, metric))
    return " and ".join(dict.fromkeys(texts))


def _protocol_differences(protocol: Protocol, published: PublishedPart, metric: str) -> Iterator[str]:
    network, num_samples = published_network(metric), published.protocol.num_samples
    if network is not None and network not in protocol.network.lower():
        yield f"features of {shown(protocol.network)}, the paper's of {network}"
    if num_samples is not None and protocol.num_samples != num_samples:
        yield f"{shown(protocol.num_samples)} samples, the paper's {shown(num_samples)}"
    if published.guidance is not None and protocol.guidance != published.guidance:
        yield f"guidance {shown(protocol.guidance)}, the paper's {shown(published.guidance)}"
