"""Files into latents: every sample in its place, flips encoded for themselves, and nothing lost without a name."""

from __future__ import annotations

from pathlib import Path
from queue import Queue

import numpy as np
import pytest
import torch
from torch import Tensor

from dfm_core.autoencoders.base import Autoencoder, Posterior
from dfm_core.autoencoders.pixels import Pixels
from dfm_core.autoencoders.registry import load_autoencoder
from dfm_core.data.encoding.encode import EncodedUnits, EncodingSpec, encode_units
from dfm_core.data.encoding.square_pixels import image_square
from dfm_core.data.files.class_folders import open_class_folders
from dfm_core.data.files.image_files import EXTENSIONS
from dfm_core.data.files.other_layouts import CLIP_EXTENSIONS
from dfm_core.data.files.raw_samples import RawDataset
from dfm_core.data.image_dataset import to_pixels
from tests.support.dataset_files import MemoryFiles, clip, png
from tests.support.tiny_autoencoders import save_cogvideox, save_flux

CONTENTS = {f"{name}/{at}.png": png(at + 10 * (name == "bee"), side=20) for at in range(5) for name in ("ant", "bee")}


def images(extra: dict[str, bytes] | None = None) -> RawDataset:
    return open_class_folders(MemoryFiles({**CONTENTS, **(extra or {})}), EXTENSIONS)


def encoded(
    dataset: RawDataset, spec: EncodingSpec, own: Autoencoder | None = None, batch: int = 3, num_threads: int = 1
) -> EncodedUnits:
    return encode_units(
        dataset,
        dataset.units,
        own or Pixels(),
        spec,
        batch_samples=batch,
        device=torch.device("cpu"),
        num_threads=num_threads,
    )


@pytest.mark.parametrize("num_threads", [1, 4])
@pytest.mark.parametrize("batch", [1, 3, 100])
def test_every_sample_is_encoded_in_the_order_of_the_units(batch: int, num_threads: int) -> None:
    dataset = images()
    found = encoded(dataset, EncodingSpec(side=16), batch=batch, num_threads=num_threads)
    wanted = torch.stack([image_square(CONTENTS[unit.name], 16) for unit in dataset.units])
    assert torch.equal(to_pixels(found.tensors["mean"].float()), wanted)
    assert found.labels.tolist() == [int(unit.name.startswith("bee")) for unit in dataset.units]
    assert (len(found.labels), found.num_left_out, found.left_out) == (10, 0, ())


def test_the_next_samples_are_decoded_while_some_are_encoded(monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: Queue[int] = Queue()

    class Waiting(Pixels):
        """Encodes the first of two batches when the second is decoded, too."""

        def encode(self, pixels: Tensor) -> Posterior:
            while len(seen) < 10:
                seen.append(decoded.get(timeout=30))
            return super().encode(pixels)

    seen: list[int] = []

    def square(content: bytes, side: int) -> Tensor:
        decoded.put(1)
        return image_square(content, side)

    monkeypatch.setattr("dfm_core.data.encoding.encode.image_square", square)
    assert len(encoded(images(), EncodingSpec(side=16), Waiting(), batch=5).labels) == 10


def test_flips_follow_their_samples_and_are_encoded_for_themselves(tmp_path: Path) -> None:
    own, dataset = load_autoencoder("flux", save_flux(tmp_path)), images()
    plain, both = (encoded(dataset, EncodingSpec(16, mirrored=mirrored), own) for mirrored in (False, True))
    torch.testing.assert_close(both.tensors["mean"][0::2].float(), plain.tensors["mean"].float(), rtol=0.02, atol=1e-3)
    flipped = torch.stack([image_square(CONTENTS[unit.name], 16).flip(-1) for unit in dataset.units])
    with torch.no_grad():
        wanted = own.encode(flipped.float() / 127.5 - 1).stored()
    torch.testing.assert_close(both.tensors["mean"][1::2].float(), wanted["mean"].float(), rtol=0.02, atol=1e-3)
    assert not torch.allclose(both.tensors["mean"][1::2].float(), plain.tensors["mean"].flip(-1).float(), atol=1e-2)
    assert both.labels.tolist() == [label for label in plain.labels.tolist() for _ in range(2)]
    assert (len(plain.labels), len(both.labels)) == (10, 20)


def test_what_cannot_be_encoded_is_named_and_the_rest_stays_in_place() -> None:
    dataset = images({"ant/cut.png": png(3)[:-30], "bee/none.png": b"none"})
    found = encoded(dataset, EncodingSpec(side=16, mirrored=True))
    assert {bad.file: bad.fault for bad in found.left_out} == {"ant/cut.png": "damaged", "bee/none.png": "no image"}
    sound = [unit.name for unit in dataset.units if unit.name in CONTENTS]
    wanted = torch.stack([image_square(CONTENTS[name], 16) for name in sound])
    assert torch.equal(to_pixels(found.tensors["mean"][0::2].float()), wanted)
    assert (len(found.labels), found.num_left_out) == (20, 4)


def test_nothing_that_can_be_encoded_is_an_empty_part() -> None:
    dataset = open_class_folders(MemoryFiles({"ant/a.png": b"no image"}), EXTENSIONS)
    found = encoded(dataset, EncodingSpec(side=16))
    assert (dict(found.tensors), len(found.labels), found.num_left_out) == ({}, 0, 1)


def test_clips_become_latents_of_fewer_frames(tmp_path: Path) -> None:
    moving = [np.full((24, 32, 3), level, np.uint8) for level in range(0, 90, 10)]
    contents = {"run/a.mp4": clip(moving), "walk/b.mp4": clip(moving[::-1]), "walk/short.mp4": clip(moving[:3])}
    dataset = open_class_folders(MemoryFiles(contents), CLIP_EXTENSIONS)
    found = encoded(dataset, EncodingSpec(8, frames=9), load_autoencoder("cogvideox", save_cogvideox(tmp_path)))
    assert found.tensors["mean"].shape == (2, 16, 3, 1, 1)
    assert [(bad.file, bad.fault) for bad in found.left_out] == [("walk/short.mp4", "too short")]


class _Brittle:
    """An autoencoder whose card fits nothing that is given."""

    card, identity, scale, shift = Pixels.card, "brittle", 1.0, 0.0

    def encode(self, pixels: Tensor) -> Posterior:
        raise ValueError(f"not {list(pixels.shape)}")

    def decode(self, latents: Tensor) -> Tensor:
        return latents


def test_a_fault_of_the_autoencoder_is_none_of_the_files() -> None:
    with pytest.raises(ValueError, match=r"not \[3, 3, 16, 16\]"):
        encoded(images(), EncodingSpec(side=16), _Brittle())
