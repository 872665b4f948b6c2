"""Pretrained weights are read slice by slice, whatever their precision and number of files; bad files are named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from dfm_core.models.flux.pretrained_files import CONFIG, PretrainedFiles, open_pretrained
from tests.support.flux import pretrained

SINGLE = "diffusion_pytorch_model.safetensors"
INDEX = f"{SINGLE}.index.json"


def write(folder: Path, tensors: dict[str, Tensor]) -> Path:
    (folder / CONFIG).write_text(json.dumps({"_class_name": "FluxTransformer2DModel"}))
    save_file(tensors, folder / SINGLE)
    return folder


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("shard", ["10GB", "20KB"])
def test_what_diffusers_saves_is_read_tensor_by_tensor(tmp_path: Path, dtype: torch.dtype, shard: str) -> None:
    network = pretrained().to(dtype)
    network.save_pretrained(tmp_path, max_shard_size=shard)
    assert (tmp_path / INDEX).is_file() == (shard == "20KB")
    files = open_pretrained(tmp_path)
    weights = dict(network.named_parameters())
    assert set(files.places) == set(weights)
    for name, weight in weights.items():
        assert torch.equal(files.tensor(name), weight.float())
    assert not list(files.problems({name: tuple(weight.shape) for name, weight in weights.items()}))


def test_a_slice_reads_no_more_than_its_own_bytes(tmp_path: Path) -> None:
    write(tmp_path, {"a": torch.arange(100.0), "b": torch.arange(50.0, dtype=torch.bfloat16)})
    read: list[int] = []

    def counting(name: str, begin: int, end: int) -> bytes:
        content = (tmp_path / name).read_bytes()[begin:end]
        read.append(len(content))
        return content

    files = PretrainedFiles(counting)
    read.clear()
    out = torch.empty(7)
    files.fill(out, "weight", "b", 20)
    assert torch.equal(out, torch.arange(20.0, 27.0))
    assert read == [14]


def test_differences_to_a_network_are_told(tmp_path: Path) -> None:
    files = open_pretrained(write(tmp_path, {"a": torch.zeros(2, 3), "c": torch.zeros(1)}))
    told = list(files.problems({"a": (3, 2), "b": (1,)}))
    assert told == [
        "1 tensors are missing, such as b",
        "1 tensors are unknown, such as c",
        "a is [2, 3], not [3, 2]",
    ]


def test_the_fingerprint_sees_every_tensor_the_settings_and_nothing_else(tmp_path: Path) -> None:
    folders, tensors = [tmp_path / name for name in "abcd"], {"a": torch.zeros(9), "b": torch.zeros(9)}
    for folder in folders:
        folder.mkdir()
    first, same, other, settings = (write(folder, tensors) for folder in folders)
    write(other, {**tensors, "b": torch.ones(9)})
    (settings / CONFIG).write_text(json.dumps({"_class_name": "FluxTransformer2DModel", "num_layers": 3}))
    prints = [open_pretrained(folder).fingerprint() for folder in (first, same, other, settings)]
    assert prints[0] == prints[1]
    assert len(set(prints)) == 3


def damaged(folder: Path, how: str) -> None:
    path = folder / SINGLE
    if how == "cut off":
        path.write_bytes(path.read_bytes()[:-8])
    elif how == "pickle":
        path.write_bytes(b"\x80\x02}q\x00." + bytes(100))
    elif how == "half a header":
        path.write_bytes(path.read_bytes()[:40])
    elif how == "no config":
        (folder / CONFIG).write_text("[]")
    elif how == "other integers":
        save_file({"a": torch.zeros(3, dtype=torch.int64)}, path)
    elif how == "leads out":
        (folder / INDEX).write_text(json.dumps({"weight_map": {"a": "../../secret.safetensors"}}))
    elif how == "empty map":
        (folder / INDEX).write_text(json.dumps({"weight_map": {}}))


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("cut off", "is cut off in a"),
        ("pickle", "weights in other formats can run code"),
        ("half a header", "its header is none of safetensors"),
        ("no config", "config.json: is no JSON object"),
        ("other integers", "a is described as no tensor of F32, F16, BF16"),
        ("leads out", "leads out of its folder"),
        ("empty map", "has no weight_map"),
    ],
)
def test_damaged_files_are_named(tmp_path: Path, how: str, message: str) -> None:
    write(tmp_path, {"a": torch.zeros(40)})
    damaged(tmp_path, how)
    with pytest.raises(ValueError, match=message):
        open_pretrained(tmp_path).tensor("a")


def test_a_folder_without_files_says_which_is_missing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=CONFIG):
        open_pretrained(tmp_path)


def test_a_header_that_lies_about_sizes_is_refused(tmp_path: Path) -> None:
    header: dict[str, Any] = {"a": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 8]}}
    content = json.dumps(header).encode()
    (tmp_path / CONFIG).write_text("{}")
    (tmp_path / SINGLE).write_bytes(len(content).to_bytes(8, "little") + content + bytes(8))
    with pytest.raises(ValueError, match="is described as no tensor"):
        open_pretrained(tmp_path)
