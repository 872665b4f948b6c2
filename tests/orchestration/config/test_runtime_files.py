"""Naming files in a sweep: every mistake is told once, with its place, what was given and what is allowed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from dfm_core.config import ExperimentConfig
from dfm_core.config.plain import as_plain
from orchestration.common.errors import UserError
from orchestration.common.redaction import without_credentials
from orchestration.config.files import FileConfig
from orchestration.config.runtime import RuntimeConfig
from orchestration.parsing.validation import revive
from orchestration.spec.load import load_sweep
from tests.orchestration.conftest import QUICKSTART, ROOT

SHA256 = "ab" * 32
GOOD = f"""
name: small
networks:
  inception: {{weights: {{path: s3://bucket/inception.pt, sha256: {SHA256}}}}}
  clip:
    weights: {{path: clip/model.safetensors, sha256: {SHA256.upper()}}}
references:
  fashion_mnist: {{inception: {{path: ~/statistics.npz, sha256: {SHA256}}}}}
"""


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "sweep.yaml"
    path.write_text(text)
    return path


def mistakes(path: Path, *overrides: str) -> list[str]:
    with pytest.raises(UserError) as caught:
        load_sweep(path, overrides)
    return [str(problem).removeprefix(f"{path.parent}/") for problem in caught.value.problems]


def test_files_are_named_by_network_and_role_and_by_dataset_and_network(tmp_path: Path) -> None:
    runtime = load_sweep(write(tmp_path, GOOD)).runtime
    assert runtime.networks == {
        "inception": {"weights": FileConfig("s3://bucket/inception.pt", SHA256)},
        "clip": {"weights": FileConfig("clip/model.safetensors", SHA256)},
    }
    assert runtime.references == {"fashion_mnist": {"inception": FileConfig("~/statistics.npz", SHA256)}}
    assert load_sweep(QUICKSTART).runtime.networks == {}


def test_the_command_line_names_a_file_and_moves_one(tmp_path: Path) -> None:
    moved = load_sweep(write(tmp_path, GOOD), ["networks.inception.weights.path=/x.pt"]).runtime
    assert moved.networks["inception"]["weights"] == FileConfig("/x.pt", SHA256)
    assert moved.networks["clip"] == load_sweep(write(tmp_path, GOOD)).runtime.networks["clip"]
    overrides = ["networks.i3d.weights.path=/data/i3d.pt", f"networks.i3d.weights.sha256={SHA256}"]
    assert load_sweep(QUICKSTART, overrides).runtime.networks == {
        "i3d": {"weights": FileConfig("/data/i3d.pt", SHA256)}
    }


def test_a_base_file_may_name_files(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text(GOOD.replace("name: small\n", ""))
    sweep = write(tmp_path, "name: a\nbase: base.yaml\nnetworks: {clip: {weights: {path: /mine.safetensors}}}\n")
    runtime = load_sweep(sweep).runtime
    assert runtime.networks["clip"]["weights"] == FileConfig("/mine.safetensors", SHA256)
    assert "fashion_mnist" in runtime.references


def test_files_change_no_config_of_a_trial(tmp_path: Path) -> None:
    def configs(text: str) -> list[ExperimentConfig]:
        return list(load_sweep(write(tmp_path, text)).configs)

    assert configs(GOOD) == configs("name: small\n")


FILE = f"path: /x.pt, sha256: {SHA256}"


@pytest.mark.parametrize(
    ("section", "expected"),
    [
        (
            f"networks: {{incepton: {{weights: {{{FILE}}}}}}}",
            "networks.incepton: 'incepton' is not a feature network; did you mean 'inception'? known: lite0, ",
        ),
        (
            f"networks: {{clip: {{weigths: {{{FILE}}}}}}}",
            "networks.clip.weigths: 'weigths' is not a file that clip is made from; did you mean 'weights'? known: w",
        ),
        (
            f"networks: {{lite0: {{weights: {{{FILE}}}}}}}",
            "networks.lite0.weights: 'weights' is not a file that lite0 is made from; known: none",
        ),
        (
            f"references: {{imagenet512flux: {{inception: {{{FILE}}}}}}}",
            "references.imagenet512flux: 'imagenet512flux' is not a dataset; did you mean 'imagenet512_flux'? known: ",
        ),
        (
            f"references: {{fashion_mnist: {{clip: {{{FILE}}}}}}}",
            "references.fashion_mnist.clip: 'clip' is not a network whose statistics can be imported; known: inception",
        ),
        (
            "networks: {inception: {weights: {path: /x.pt}}}",
            "networks.inception.weights.path: is given without sha256; both are needed",
        ),
        (
            f"networks: {{inception: {{weights: {{sha256: {SHA256}}}}}}}",
            "networks.inception.weights.sha256: is given without path; both are needed",
        ),
        (
            f"networks: {{inception: {{weights: {{path: /x.pt, sha265: {SHA256}}}}}}}",
            "networks.inception.weights.sha265: unknown key; did you mean 'sha256'?; known here: path, sha256",
        ),
        (
            f"networks: {{inception: {{weights: {{{FILE}, md5: abc}}}}}}",
            "networks.inception.weights.md5: unknown key; known here: path, sha256",
        ),
        (
            f"references: {{fashion_mnist: {{inception: {{{FILE}, md5: abc}}}}}}",
            "references.fashion_mnist.inception.md5: unknown key; known here: path, sha256",
        ),
        (
            "networks: {inception: {weights: {path: /x.pt, sha256: abc}}}",
            "networks.inception.weights.sha256: 'abc' should be a sha256: 64 hexadecimal digits",
        ),
        (
            f"networks: {{inception: {{weights: {{path: /x.pt, sha256: {'g' * 64}}}}}}}",
            f"networks.inception.weights.sha256: '{'g' * 64}' should be a sha256: 64 hexadecimal digits",
        ),
        (
            f"networks: {{inception: {{weights: {{path: 5, sha256: {SHA256}}}}}}}",
            "networks.inception.weights.path: 5 should be a valid string",
        ),
        (
            "networks: {inception: {weights: /x.pt}}",
            "networks.inception.weights: '/x.pt' should be a mapping with path, sha256",
        ),
        ("storage: {optoins: {key: value}}", "storage.optoins: unknown key; did you mean 'options'?"),
        ("networks: {inception: /x.pt}", "networks.inception: '/x.pt' should be a mapping"),
        ("networks: [inception]", "networks: ['inception'] should be a mapping"),
        ("references:", "references: None should be a mapping"),
        (
            f"networks: {{i3d: {{weights: {{path: '', sha256: {SHA256}}}}}}}",
            "networks.i3d.weights.path: '' should be the path or the URL of a file",
        ),
        (
            f"networks: {{i3d: {{weights: {{path: s3://bucket/folder/, sha256: {SHA256}}}}}}}",
            "networks.i3d.weights.path: 's3://bucket/folder/' should be the path or the URL of a file",
        ),
        (
            f"networks: {{i3d: {{weights: {{path: s3://bucket, sha256: {SHA256}}}}}}}",
            "networks.i3d.weights.path: 's3://bucket' should name a file at the end, as s3://bucket/weights.pt does",
        ),
        (
            f"networks: {{i3d: {{weights: {{path: 'http://[x/y.pt', sha256: {SHA256}}}}}}}",
            "networks.i3d.weights.path: 'http://[x/y.pt' should be a path, or a URL such as s3://bucket/weights.pt",
        ),
        (
            f"networks: {{i3d: {{weights: {{path: 'https://me:hush@host/x.pt?key=hush', sha256: {SHA256}}}}}}}",
            "networks.i3d.weights.path: 'https://***@host/x.pt?***' should hold no password: credentials belong into ",
        ),
        (
            "networks: {i3d: {weights: 'https://me:hush@host/x.pt'}}",
            "networks.i3d.weights: 'https://***@host/x.pt' should be a mapping with path, sha256",
        ),
    ],
)
def test_a_mistake_is_told_once_with_place_and_what_is_allowed(tmp_path: Path, section: str, expected: str) -> None:
    (mistake,) = mistakes(write(tmp_path, f"name: small\n{section}\n"), "training.steps=100")
    assert mistake.startswith(f"sweep.yaml: {expected}")
    assert "hush" not in mistake


def test_mistakes_in_files_are_told_together_with_all_others(tmp_path: Path) -> None:
    text = f"""
name: small
training: {{stepz: 1}}
networks:
  incepton: {{weights: {{path: /x.pt, sha256: abc}}}}
  clip: {{weights: {{path: /x.pt}}, vocab: {{{FILE}}}}}
references: {{fashion_mnst: {{inceptoin: {{paht: /x.npz, sha256: {SHA256}}}}}}}
"""
    lines = mistakes(write(tmp_path, text))
    assert [line.removeprefix("sweep.yaml: ").split(": ")[0] for line in lines] == [
        "networks.incepton",
        "networks.clip.vocab",
        "references.fashion_mnst",
        "references.fashion_mnst.inceptoin",
        "references.fashion_mnst.inceptoin.paht",
        "networks.incepton.weights.sha256",
        "networks.clip.weights.path",
        "training.stepz",
    ]


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("networks.inception.weights.path=/x", "networks.inception.weights.path: is given without sha256"),
        ("networks.inception.weight.path=/x", "networks.inception.weight: 'weight' is not a file that inception is"),
        ("networks.inception.weights=/x", "networks.inception.weights: '/x' should be a mapping with path, sha256"),
        ("networs.inception.weights.path=/x", "unknown key 'networs.inception.weights.path'; did you mean 'networks'?"),
        ("networks.inception.weights.sha256=5", "networks.inception.weights.sha256: 5 should be a valid string"),
    ],
)
def test_a_mistake_on_the_command_line_is_placed_there(override: str, expected: str) -> None:
    assert any(line.startswith(f"command line: {expected}") for line in mistakes(QUICKSTART, override))


def test_files_survive_a_journey_between_processes(tmp_path: Path) -> None:
    files = load_sweep(write(tmp_path, GOOD)).runtime.networks["clip"]["weights"]
    assert revive(FileConfig, as_plain(files)) == files
    assert revive(RuntimeConfig, {"networks": {"clip": {"weights": vars(files)}}}).networks["clip"]["weights"] == files


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("at s3://key:secret@bucket/a@b.pt now", "at s3://***@bucket/a@b.pt now"),
        ("url='https://host/x?sign=1&y=2', 403", "url='https://host/x?***', 403"),
        ("who? /a/b@c", "who? /a/b@c"),
        ("https://host/x.pt", "https://host/x.pt"),
    ],
)
def test_what_is_shown_of_a_url_holds_no_credentials(text: str, shown: str) -> None:
    assert without_credentials(text) == shown


def test_the_documented_example_is_a_valid_sweep(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "metrics.md").read_text()
    (example,) = (text for text in re.findall(r"```yaml\n(.*?)```", page, re.DOTALL) if "networks:" in text)
    runtime = load_sweep(write(tmp_path, "name: a\n" + example.replace("<64 hexadecimal digits>", SHA256))).runtime
    assert set(runtime.networks) == {"inception", "clip"}
    assert runtime.references
