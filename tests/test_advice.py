"""Messages that name a key, an option or a command to type: each exists, and works from another working directory."""

from __future__ import annotations

import ast
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

from dfm_core.config import ExperimentConfig
from orchestration.config.runtime import RuntimeConfig
from orchestration.diagnosis.check_access import MAKE_TOKEN
from orchestration.launch.run_sweep import ui_command
from orchestration.parsing.config_types import all_keys
from orchestration.spec.compute_budget import ComputeConfig

ROOT = Path(__file__).parents[1]
SOURCES = sorted(path for name in ("dfm_core", "orchestration", "analysis") for path in (ROOT / name).rglob("*.py"))
KEYS = {*all_keys(ExperimentConfig), *all_keys(RuntimeConfig), *all_keys(ComputeConfig, "compute.")}
SECTIONS = {key.partition(".")[0] for key in KEYS if "." in key}
FOREIGN = {"--backend-store-uri", "--artifacts-destination", "--force-reinstall", "--app-name"}
FOREIGN |= {"--concatenate", "--dereference", "--hard-dereference"}
"""Options of other programs."""


def texts(path: Path) -> Iterator[str]:
    """The string literals of a module that are no docstrings."""
    tree = ast.parse(path.read_text())
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            yield node.value


def test_every_key_that_a_message_names_exists() -> None:
    pattern = re.compile(rf"(?<![\w./`])(?:{'|'.join(sorted(SECTIONS))})\.[a-z_0-9]+(?:\.[a-z_]+)*(?![\w(/.])")
    named = {key for path in SOURCES for text in texts(path) if " " in text for key in pattern.findall(text)}
    assert len(named) > 25
    assert named - KEYS == {"model.safetensors"}, "a file's name"


def test_every_option_that_a_message_names_exists() -> None:
    everything = [text for path in SOURCES for text in texts(path)]
    offered = {text for text in everything if re.fullmatch(r"--[a-z-]+", text)} | FOREIGN
    offered |= {f"--{mode}" for mode in ("dry-run", "check", "status", "stop", "gc", "errors")}
    named = {option for text in everything if " " in text for option in re.findall(r"(?<![\w-])--[a-z][a-z-]+", text)}
    assert len(named) > 10
    assert named - offered == set()


def typed(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """A command typed as it is printed, in a folder of its own, by a user without settings."""
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(folder), "TMPDIR": os.environ.get("TMPDIR", "/tmp")}
    return subprocess.run(
        command, shell=True, cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False
    )


def test_the_command_that_shows_runs_works_as_it_is_printed(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path}/a folder?/mlflow.db"
    done = typed(f"{ui_command(uri)} --help", tmp_path)
    assert done.returncode == 0, done.stderr
    assert "--backend-store-uri" in done.stdout
    assert ui_command("https://tracking.example") == "https://tracking.example"


def test_the_command_that_makes_a_token_works_as_it_is_printed(tmp_path: Path) -> None:
    done = typed(MAKE_TOKEN, tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / ".ray" / "auth_token").read_text()
