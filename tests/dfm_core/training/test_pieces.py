"""Pieces of a state: written by some, read by any, and never taken for what they are not."""

from __future__ import annotations

import hashlib
import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from dfm_core.config import TrainingConfig
from dfm_core.training import pieces as pieces_module
from dfm_core.training.engine import OwnedPiece, PlainEngine
from dfm_core.training.host_copy import HostCopy
from dfm_core.training.piece_index import DamagedStateError, index_from_plain, index_whole_tensors, merge_indexes
from dfm_core.training.pieces import PieceState, read_local, write_pieces
from tests.support.models import random_model, tiny_dfm

WHOLE = torch.arange(23, dtype=torch.float32)
CUTS = (0, 4, 4, 11, 23)
"""Owners of [0, 4), nothing, [4, 11) and [11, 23)."""


def written(folder: Path, cuts: tuple[int, ...] = CUTS) -> PieceState:
    """The state of several workers that own a run of WHOLE each."""
    indexes = []
    for rank, (begin, end) in enumerate(pairwise(cuts)):
        owned = [OwnedPiece("a.weight", begin, WHOLE[begin:end])] if begin < end else []
        plain = json.dumps(write_pieces({"ema": owned}, folder / f"ema-{rank}.safetensors"))
        indexes.append(index_from_plain(json.loads(plain)))
    return PieceState(merge_indexes(reversed(indexes)), read_local(folder))


def filled(state: PieceState, begin: int, end: int, name: str = "a.weight") -> Tensor:
    out = torch.full((end - begin,), -1.0)
    state.fill(out, "ema", name, begin)
    return out


@pytest.mark.parametrize("most_elements", [2**22, 3])
def test_every_slice_is_read_whoever_wrote_its_pieces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most_elements: int
) -> None:
    monkeypatch.setattr(pieces_module, "MOST_ELEMENTS", most_elements)
    state = written(tmp_path)
    assert state.sizes("ema") == {"a.weight": 23}
    for begin in range(24):
        for end in range(begin, 24):
            assert torch.equal(filled(state, begin, end), WHOLE[begin:end]), (begin, end)


def test_a_file_of_pieces_is_plain_safetensors_with_kind_name_and_offset(tmp_path: Path) -> None:
    written(tmp_path)
    tensors = load_file(tmp_path / "ema-3.safetensors")
    assert {key: tensor.tolist() for key, tensor in tensors.items()} == {"ema/a.weight@11": WHOLE[11:].tolist()}


def test_the_index_says_place_and_digest_of_each_piece(tmp_path: Path) -> None:
    index = write_pieces({"ema": [OwnedPiece("a", 7, WHOLE)]}, tmp_path / "f.safetensors")
    (entry,) = index["ema"]["a"]
    content = (tmp_path / "f.safetensors").read_bytes()[entry.begin :]
    assert content == WHOLE.numpy().tobytes()
    assert entry[:4] == ("f.safetensors", 7, 23, entry.begin)
    assert entry.sha256 == hashlib.sha256(content).hexdigest()


def test_only_what_is_under_a_slice_is_read_and_verified(tmp_path: Path) -> None:
    state, path = written(tmp_path), tmp_path / "ema-2.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert torch.equal(filled(state, 0, 4), WHOLE[:4])
    assert torch.equal(filled(state, 11, 23), WHOLE[11:])
    for begin, end in ((0, 5), (4, 5), (10, 23)):
        with pytest.raises(DamagedStateError, match=r"ema-2\.safetensors: bytes from \d+ on are not what"):
            filled(state, begin, end)


def test_a_file_that_is_cut_off_is_noticed(tmp_path: Path) -> None:
    state, path = written(tmp_path), tmp_path / "ema-3.safetensors"
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(DamagedStateError, match="not what its index says"):
        filled(state, 11, 12)


def test_elements_that_nobody_wrote_are_named(tmp_path: Path) -> None:
    indexes = [
        write_pieces({"ema": [OwnedPiece("a.weight", begin, WHOLE[begin:end])]}, tmp_path / f"{begin}.safetensors")
        for begin, end in ((0, 4), (11, 23))
    ]
    state = PieceState(merge_indexes(indexes), read_local(tmp_path))
    with pytest.raises(DamagedStateError, match=r"ema of a\.weight: elements from 4 up to 23 are missing"):
        filled(state, 0, 23)
    with pytest.raises(DamagedStateError, match=r"ema of b: elements from 0 up to 1 are missing"):
        filled(state, 0, 1, "b")


@pytest.mark.parametrize(
    "plain",
    [
        None,
        [],
        {"ema": []},
        {"ema": {"a": [1]}},
        {"ema": {"a": [["f", 0, 1, 0]]}},
        {"ema": {"a": [["f", -1, 1, 0, ""]]}},
        {"ema": {"a": [["f", "0", 1, 0, ""]]}},
        {"ema": {"a": [["f", 0, 2**40, 0, ""]]}},
        {"gradient": {"a": [["f", 0, 1, 0, ""]]}},
    ],
    ids=str,
)
def test_an_index_that_is_none_is_refused(plain: Any) -> None:
    with pytest.raises(DamagedStateError, match="its index of pieces cannot be read"):
        index_from_plain(plain)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x80\x04K\x01.",
        (2**62).to_bytes(8, "little") + b"{}",
        (2).to_bytes(8, "little") + b"[]",
        (1).to_bytes(8, "little") + b"{",
        (4).to_bytes(8, "little") + b'{"weight/a": 1}',
    ],
    ids=str,
)
def test_a_file_that_is_no_safetensors_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "state-00000-of-00001.safetensors"
    path.write_bytes(content)
    with pytest.raises(DamagedStateError, match="its header is"):
        index_whole_tensors([path])


@pytest.mark.parametrize(("dtype", "offsets"), [("F32", [0, 8]), ("F32", [-8, 4]), ("F32", [4, 0]), ("F16", [0, 4])])
def test_a_header_that_leads_out_of_its_file_is_refused(tmp_path: Path, dtype: str, offsets: list[int]) -> None:
    header = json.dumps({"weight/a": {"dtype": dtype, "shape": [1], "data_offsets": offsets}}).encode()
    path = tmp_path / "state-00000-of-00001.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + b"\0\0\0\0")
    with pytest.raises(DamagedStateError, match="its header is none of safetensors"):
        index_whole_tensors([path])


def test_a_copy_on_the_host_stays_when_the_training_goes_on() -> None:
    engine, host = PlainEngine(random_model(tiny_dfm()), TrainingConfig()), HostCopy()
    first = host.take(engine, ("weight", "ema"))
    before = {piece.name: piece.values.clone() for piece in first["weight"]}
    with torch.no_grad():
        for weight in engine.model.parameters():
            weight.add_(1.0)
    assert all(torch.equal(piece.values, before[piece.name]) for piece in first["weight"])
    places = [piece.values.data_ptr() for piece in first["weight"]]
    second = host.take(engine, ("weight",))
    assert [piece.values.data_ptr() for piece in second["weight"]] == places, "the room is used again"
    assert all(torch.equal(piece.values, before[piece.name] + 1.0) for piece in second["weight"])
