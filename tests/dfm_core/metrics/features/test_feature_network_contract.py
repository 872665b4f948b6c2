"""What every feature network keeps, run over the registry with small stand-ins for the files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from dfm_core.catalog.feature_networks import FEATURE_NETWORKS, FeatureNetworkName
from dfm_core.metrics.features.base import FeatureNetwork, checked_features
from dfm_core.metrics.features.i3d import load_i3d
from dfm_core.metrics.features.inception import load_inception
from dfm_core.metrics.features.lite0 import load_lite0, load_lite0_network
from dfm_core.metrics.features.loaders import LOADERS, load_feature_network
from tests.support.feature_standins import (
    I3DStandIn,
    InceptionStandIn,
    given,
    scripted,
    tiny_clip,
    tiny_dinov2,
)

pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
STAND_INS: dict[FeatureNetworkName, Callable[[Path], FeatureNetwork]] = {
    "lite0": lambda _: load_lite0_network({}),
    "inception": lambda directory: load_inception({"weights": scripted(InceptionStandIn(), directory / "a.pt")}),
    "dinov2": lambda _: tiny_dinov2(),
    "i3d": lambda directory: load_i3d({"weights": scripted(I3DStandIn(), directory / "a.pt")}),
    "clip": lambda _: tiny_clip(),
}


@pytest.fixture(params=LOADERS)
def network(request: pytest.FixtureRequest, tmp_path: Path) -> FeatureNetwork:
    return STAND_INS[request.param](tmp_path)


def some_pixels(network: FeatureNetwork, num_samples: int = 3, channels: int = 3) -> Tensor:
    shape = (18, 26) if network.card.takes == "images" else (10, 18, 26)
    return torch.randint(0, 256, (num_samples, channels, *shape), dtype=torch.uint8)


def test_outputs_are_those_of_the_card(network: FeatureNetwork) -> None:
    features = network(some_pixels(network))
    assert {name: (tuple(value.shape), value.dtype) for name, value in features.items()} == {
        name: ((3, dimension), torch.float32) for name, dimension in network.card.outputs.items()
    }
    assert not any(value.requires_grad for value in features.values())


def test_the_same_pixels_have_the_same_features_and_others_have_others(network: FeatureNetwork) -> None:
    pixels = some_pixels(network)
    first, again = network(pixels), network(pixels.clone())
    for name, value in first.items():
        assert torch.equal(value, again[name])
        assert (value[0] - value[1]).abs().max() > 1e-4


def test_a_samples_features_depend_on_it_alone(network: FeatureNetwork) -> None:
    pixels = some_pixels(network)
    together, alone = network(pixels), network(pixels[1:2])
    for name, value in together.items():
        torch.testing.assert_close(value[1:2], alone[name], rtol=1e-4, atol=1e-4)


def test_grey_counts_as_three_equal_channels(network: FeatureNetwork) -> None:
    grey = some_pixels(network, channels=1)
    one, three = network(grey), network(grey.repeat_interleave(3, dim=1))
    for name, value in one.items():
        torch.testing.assert_close(value, three[name], rtol=1e-4, atol=1e-4)


def test_samples_that_are_not_8_bit_are_refused(network: FeatureNetwork) -> None:
    with pytest.raises(ValueError, match=r"take 8-bit values \(uint8\), got torch\.float32"):
        network(some_pixels(network).float())


def test_moving_gives_the_network_itself(network: FeatureNetwork) -> None:
    pixels = some_pixels(network)
    before = network(pixels)
    assert network.to(torch.device("cpu")) is network
    assert all(torch.equal(value, before[name]) for name, value in network(pixels).items())


def test_lite0_gives_what_it_gave_before_there_were_others() -> None:
    pixels = torch.randint(0, 256, (2, 1, 32, 32), dtype=torch.uint8)
    features, direct = load_lite0_network({})(pixels), load_lite0()(pixels)
    assert torch.equal(features["head"], direct["head"])
    assert torch.equal(features["block10"], direct["block10"])


@pytest.mark.parametrize("name", ["inception", "dinov2", "i3d", "clip"])
def test_loading_without_files_says_all_that_is_needed(name: FeatureNetworkName) -> None:
    with pytest.raises(ValueError, match=f"^{name} .*: no file is named: get ") as error:
        load_feature_network(name, {})
    assert str(error.value).splitlines() == FEATURE_NETWORKS[name].problems({})


def test_a_network_is_loaded_by_its_name(tmp_path: Path) -> None:
    file = scripted(InceptionStandIn(), tmp_path / "inception.pt")
    network = load_feature_network("inception", {"weights": file})
    assert network.card is FEATURE_NETWORKS["inception"]
    assert load_feature_network("lite0", {}).card.name == "lite0"


@pytest.mark.parametrize("name", ["dinov2", "clip"])
def test_a_checked_file_of_another_network_is_refused(name: FeatureNetworkName, tmp_path: Path) -> None:
    path = tmp_path / "weights.bin"
    torch.save({"some.weight": torch.zeros(2)}, path)
    files = {needed.role: given(path) for needed in FEATURE_NETWORKS[name].files}
    with pytest.raises(ValueError, match=r"weights\.bin: is not this network: \d+ tensors are missing"):
        load_feature_network(name, files)


def test_features_that_are_not_finite_name_their_samples() -> None:
    card = FEATURE_NETWORKS["dinov2"]
    features = torch.zeros(4, 1024)
    features[1, 5], features[3] = torch.nan, torch.inf
    with pytest.raises(ValueError, match=r"dinov2: 2 of 4 samples have NaN or infinite features in cls: \[1, 3\]"):
        checked_features(card, {"cls": features}, 4)


def test_features_of_another_width_are_refused() -> None:
    with pytest.raises(ValueError, match=r"cls has shape \[4, 768\] instead of \[4, 1024\]: its file is not DINOv2"):
        checked_features(FEATURE_NETWORKS["dinov2"], {"cls": torch.zeros(4, 768)}, 4)
