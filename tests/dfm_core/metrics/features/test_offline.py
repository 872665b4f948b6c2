"""Networks of transformers are made without asking anybody."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest

from dfm_core.metrics.features.clip import build_tokenizer
from dfm_core.metrics.features.pretrained import build_pretrained
from tests.support.feature_standins import (
    MERGES,
    VOCABULARY,
    tiny_clip,
    tiny_clip_config,
    tiny_dinov2,
    tiny_dinov2_config,
)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Every address that somebody wants to look up or connect to, in any thread."""
    addresses: list[Any] = []

    def refuse(*address: Any) -> None:
        addresses.append(address)
        raise OSError("no network in this test")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    return addresses


def test_no_hub_is_asked(asked: list[Any]) -> None:
    from transformers import CLIPModel, Dinov2Model

    dinov2, clip = tiny_dinov2()._model.state_dict(), tiny_clip()._model.state_dict()
    build_pretrained(Dinov2Model, tiny_dinov2_config(), dinov2, Path("dinov2.pth"))
    build_pretrained(CLIPModel, tiny_clip_config(), clip, Path("clip.bin"))
    build_tokenizer(VOCABULARY, MERGES)("low")
    assert asked == []


def test_whoever_asked_would_be_seen(asked: list[Any]) -> None:
    with pytest.raises(OSError, match="no network in this test"):
        socket.create_connection(("localhost", 9))
    assert asked
