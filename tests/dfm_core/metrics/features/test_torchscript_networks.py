"""Inception and I3D as TorchScript files: how they are called, and what is refused before it could run."""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from dfm_core.catalog.weight_files import GivenFile
from dfm_core.metrics.features.base import FeatureNetwork
from dfm_core.metrics.features.i3d import load_i3d
from dfm_core.metrics.features.inception import load_inception
from dfm_core.metrics.features.preprocessing import fvd_input
from dfm_core.metrics.features.torchscript import call_torchscript
from tests.support.feature_standins import I3DStandIn, InceptionStandIn, given, scripted

pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
LOADERS = [load_inception, load_i3d]


class Trap:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[[Path], None], tuple[Path]]:
        return Path.touch, (self.path,)


class BiasedInception(InceptionStandIn):
    """Its classes do not come from its last layer's weight alone."""

    def forward(self, img: Tensor, return_features: bool = False, no_output_bias: bool = False) -> Tensor:
        x = img.float().mean(dim=(1, 2, 3))[:, None].expand(-1, 2048) / 255
        return x if return_features else self.output(x + float(no_output_bias) * 0.001).softmax(dim=1)


class WideI3D(I3DStandIn):
    def __init__(self) -> None:
        super().__init__()
        self.logits = nn.Linear(8 * 2 * 2 * 2, 401)


class NoArguments(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x


def test_inception_gives_pool3_and_logits_without_bias(tmp_path: Path) -> None:
    module = InceptionStandIn().eval()
    network = load_inception({"weights": scripted(module, tmp_path / "inception.pt")})
    pixels = torch.randint(0, 256, (3, 3, 20, 24), dtype=torch.uint8)
    features = network(pixels)
    with torch.no_grad():
        torch.testing.assert_close(features["pool3"], module(pixels, return_features=True))
        probabilities = features["logits"].softmax(dim=1)
        torch.testing.assert_close(probabilities, module(pixels, no_output_bias=True))
        assert (probabilities - module(pixels)).abs().max() > 1e-4, "with bias they are others"


def test_i3d_gives_activations_of_preprocessed_clips(tmp_path: Path) -> None:
    module = I3DStandIn().eval()
    network = load_i3d({"weights": scripted(module, tmp_path / "i3d.pt")})
    clips = torch.randint(0, 256, (2, 3, 12, 9, 11), dtype=torch.uint8)
    with torch.no_grad():
        expected = module(fvd_input(clips), rescale=False, resize=False, return_features=True)
    torch.testing.assert_close(network(clips)["logits"], expected)


def test_torchscript_may_not_compile_other_code_after_some_calls() -> None:
    def spy(pixels: Tensor, return_features: bool) -> Tensor:
        seen.append((torch._C._get_graph_executor_optimize(), torch.is_grad_enabled(), return_features))
        return pixels

    seen: list[tuple[bool, bool, bool]] = []
    call_torchscript(spy, torch.zeros(1), {"return_features": True})  # type: ignore[arg-type]
    assert seen == [(False, False, True)]
    assert torch._C._get_graph_executor_optimize(), "only for that call"


@pytest.mark.parametrize("load", LOADERS)
def test_a_file_with_another_checksum_is_not_opened(
    load: Callable[[dict[str, GivenFile]], FeatureNetwork], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "network.pt"
    found = scripted(InceptionStandIn(), path).sha256
    monkeypatch.setattr(torch.jit, "load", lambda *_: pytest.fail("was opened"))
    message = f"weights: {path} is damaged, incomplete or another file: expected sha256 {'0' * 64}, found {found}"
    with pytest.raises(ValueError, match=re.escape(message)):
        load({"weights": GivenFile(path, "0" * 64)})


@pytest.mark.parametrize("load", LOADERS)
def test_a_pickle_is_refused_and_not_executed(
    load: Callable[[dict[str, GivenFile]], FeatureNetwork], tmp_path: Path
) -> None:
    path, sprung = tmp_path / "network.pkl", tmp_path / "sprung"
    path.write_bytes(pickle.dumps(Trap(sprung)))
    with pytest.raises(ValueError, match=r"network\.pkl has the sha256 given, but is no TorchScript file"):
        load({"weights": given(path)})
    torch.save(Trap(sprung), path)  # a torch file of the same: a zip archive with a pickle in it
    with pytest.raises(ValueError, match=r"network\.pkl has the sha256 given, but is no TorchScript file"):
        load({"weights": given(path)})
    assert not sprung.exists()
    pickle.loads(pickle.dumps(Trap(sprung)))
    assert sprung.exists(), "the trap works"


@pytest.mark.parametrize("load", LOADERS)
def test_a_truncated_file_is_refused_even_if_its_checksum_is_given(
    load: Callable[[dict[str, GivenFile]], FeatureNetwork], tmp_path: Path
) -> None:
    path = tmp_path / "network.pt"
    scripted(InceptionStandIn(), path)
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(ValueError, match="is no TorchScript file"):
        load({"weights": given(path)})


@pytest.mark.parametrize(
    ("load", "module", "message"),
    [
        (
            load_inception,
            NoArguments(),
            r"cannot be used as inception-2015-12-05\.pt is: .*expected at most 2 argument",
        ),
        (load_inception, I3DStandIn(), r"cannot be used as inception-2015-12-05\.pt is"),
        (load_inception, BiasedInception(), r"its classes differ from pool3 times its last layer by 0\.\d+"),
        (load_i3d, NoArguments(), r"cannot be used as i3d_torchscript\.pt is"),
        (load_i3d, WideI3D(), r"logits has shape \[1, 401\] instead of \[1, 400\]: its file is not I3D"),
    ],
)
def test_another_network_is_noticed_at_loading(
    load: Callable[[dict[str, GivenFile]], FeatureNetwork], module: nn.Module, message: str, tmp_path: Path
) -> None:
    file = scripted(module, tmp_path / "network.pt")
    with pytest.raises(ValueError, match=f"(?s){message}"):
        load({"weights": file})
