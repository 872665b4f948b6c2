"""Names of the paper's tables, parts and metrics, and their protocols, for people. Pure."""

from __future__ import annotations

import re

from analysis.contract.published_numbers import PublishedPart


def table_title(name: str) -> str:
    """Format table2 as "Table 2", and tables without a number as "table of decompositions"."""
    numbered = re.fullmatch(r"table(\d+)", name)
    return f"Table {numbered[1]}" if numbered else f"table of {name}"


def part_title(published: PublishedPart) -> str:
    """Format a part as "Table 2, imagenet_512, guidance 1.5, page 8, section 4.4"."""
    named = [table_title(published.table), published.part]
    named += [] if published.guidance is None else [f"guidance {published.guidance:g}"]
    return ", ".join(filter(None, [*named, published.protocol.place]))


def protocol_text(published: PublishedPart) -> str:
    """Say in a sentence how a part of the paper was trained and measured."""
    protocol = published.protocol
    measured = [] if protocol.num_samples is None else [f"{protocol.num_samples:,} samples"]
    sampled = ", ".join(filter(None, [*measured, protocol.sampling]))
    return f"{'; '.join(filter(None, [protocol.setting, protocol.remark, sampled]))}."


def metric_title(name: str) -> str:
    """Format a published metric for people: fid_50k as "FID 50K"."""
    return name.replace("_", " ").upper()
