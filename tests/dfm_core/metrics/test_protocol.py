"""The record of a number's protocol."""

from __future__ import annotations

import json
from dataclasses import asdict

from dfm_core.metrics.protocol import Protocol

PROTOCOL = Protocol(
    metric="fid",
    network="inception pool3",
    weights_sha256="6726825d",
    preprocessing="bilinear to 299",
    num_samples=50_000,
    reference="4f1a",
    guidance=1.0,
    ema_decay=0.9999,
    label_sampling="uniform",
)


def test_a_record_brings_the_same_protocol_back() -> None:
    assert Protocol(**json.loads(json.dumps(asdict(PROTOCOL)))) == PROTOCOL
