"""The image of a node, by hadolint and by what it copies; no image is built here."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

from tests.orchestration.conftest import ROOT
from tests.support.tools import tool

DOCKERFILE = ROOT / "deploy" / "Dockerfile"
TEXT = DOCKERFILE.read_text()


def linted(text: str) -> subprocess.CompletedProcess[str]:
    command = [tool("hadolint"), "--no-color", "--failure-threshold=style", "-"]
    return subprocess.run(command, input=text, capture_output=True, text=True, check=False)


def test_hadolint_finds_nothing() -> None:
    assert linted(TEXT).stdout == ""


@pytest.mark.parametrize(
    ("old", "new", "rule"),
    [
        ("USER 1000\n", "USER root\n", "DL3002"),
        ("--no-install-recommends ", "", "DL3015"),
        ("--no-cache-dir 'pip>=26.3'", "'pip>=26.3'", "DL3042"),
        ("RUN apt-get", "RUN cd /tmp && apt-get", "DL3003"),
    ],
)
def test_hadolint_sees_what_is_wrong(old: str, new: str, rule: str) -> None:
    assert old in TEXT
    done = linted(TEXT.replace(old, new))
    assert (done.returncode, rule in done.stdout) == (1, True)


def test_what_is_copied_is_there_and_in_the_context() -> None:
    kept = {
        line.removeprefix("!")
        for line in Path(f"{DOCKERFILE}.dockerignore").read_text().splitlines()
        if line[:1] == "!"
    }
    copied = {source for line in re.findall(r"(?m)^COPY (.+) \S+$", TEXT) for source in line.split()}
    assert copied == kept
    assert [name for name in sorted(copied) if not (ROOT / name).exists()] == []


def test_both_builds_take_the_pinned_packages_with_all_extras_of_a_run() -> None:
    stages = set(re.findall(r"(?m)^FROM \S+ AS (\w+)$", TEXT))
    assert {"cuda", "cpu"} <= stages
    assert re.search(r"(?m)^ARG DEVICE=cuda$", TEXT)
    assert re.search(r"(?m)^FROM \$\{DEVICE\}$", TEXT)
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    (installed,) = re.findall(r"'\.\[([a-z,]+)\]'", TEXT)
    assert set(installed.split(",")) == set(extras) - {"test", "benchmark", "docs"}
    assert "--no-require-hashes --constraint hashes.txt --constraint constraints.txt" in TEXT


def test_an_image_without_cuda_says_what_it_needs() -> None:
    (check,) = re.findall(r"(?m)^RUN (test -n .*)$", TEXT)
    done = subprocess.run(["bash", "-c", check], env={"TORCH_INDEX": ""}, capture_output=True, text=True, check=False)
    assert (done.returncode, "TORCH_INDEX=" in done.stdout) == (1, True)
    assert subprocess.run(["bash", "-c", check], env={"TORCH_INDEX": "x"}, check=False).returncode == 0
