"""Who may import whom (docs/architecture): read from the source, so that a lazy import counts as well."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FORBIDDEN = {
    "dfm_core": {"ray", "deepspeed", "mlflow", "optuna", "pandas", "orchestration", "analysis"},
    "analysis": {"torch", "ray", "deepspeed", "orchestration", "dfm_core"},
    "orchestration": set[str](),
    "tests": set[str](),
    "benchmarks": set[str](),
    "examples": set[str](),
}
FORBIDDEN_EVERYWHERE = {"torchvision", "timm"}
OWNERS = {
    "deepspeed": ("orchestration/private/", "orchestration/training/"),
    "optuna": ("orchestration/private/", "orchestration/search/", "analysis/figures/importances.py"),
    "mlflow": ("orchestration/tracking/", "analysis/tracking/"),
    "ray": (
        "orchestration/private/",
        "orchestration/control/",
        "orchestration/cluster/",
        "orchestration/diagnosis/",
        "orchestration/training/",
        "orchestration/evaluation/",
        "orchestration/exploration/",
        "orchestration/launch/",
    ),
}
"""The packages and modules that may import a heavy library, lazily or not."""
PRIVATE_NAMES = re.compile(
    r"\b(ray|deepspeed|optuna|mlflow)(\.\w+)*\._[a-z]\w*"
    r"|\bray\.core\.generated\b"
    r"|\b(__compatible_ops__|_hp_mapping|_hp_optimizer_states_linked|_lazy_init_hp_params_optimizer_state"
    r"|ds_tensor|fp32_partitioned_groups_flat|single_partition_of_fp32_groups)\b"
)
"""Private names of libraries: their underscore modules and attributes, and DeepSpeed's undocumented ones."""
HUGGING_FACE_HOMES = ("dfm_core/autoencoders/", "dfm_core/metrics/features/", "dfm_core/models/flux/")


def imported_packages(source: str) -> set[str]:
    """Top-level names of everything that a source imports absolutely, wherever in the file it does so."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found.add(node.module.split(".")[0])
        elif isinstance(node, ast.Call) and _called_name(node) in {"import_module", "__import__"} and node.args:
            argument = node.args[0]
            if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                found.add(argument.value.split(".")[0])
    return found


def _called_name(call: ast.Call) -> str:
    function = call.func
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def sources(package: str) -> Iterator[tuple[str, set[str]]]:
    """(path relative to the root, imported packages) of every module of a package."""
    for path in sorted((ROOT / package).rglob("*.py")):
        yield path.relative_to(ROOT).as_posix(), imported_packages(path.read_text())


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import ray.train as rt", {"ray"}),
        ("import torch, mlflow", {"torch", "mlflow"}),
        ("from ray.tune import Tuner", {"ray"}),
        ("def f():\n    import deepspeed", {"deepspeed"}),
        ("if TYPE_CHECKING:\n    from pandas import DataFrame", {"pandas"}),
        ("import importlib\nimportlib.import_module('timm.models')", {"importlib", "timm"}),
        ("__import__('optuna')", {"optuna"}),
        ("from . import plan\nfrom .ray import x", set()),
        ("text = 'import ray'", set()),
    ],
)
def test_the_reader_sees_every_form_of_import(source: str, expected: set[str]) -> None:
    assert imported_packages(source) == expected


def test_the_reader_finds_the_sources() -> None:
    assert "dfm_core/paradigms/dfm.py" in dict(sources("dfm_core"))


@pytest.mark.parametrize("package", FORBIDDEN)
def test_no_module_imports_what_its_package_must_not(package: str) -> None:
    forbidden = FORBIDDEN[package] | FORBIDDEN_EVERYWHERE
    broken = {path: sorted(names & forbidden) for path, names in sources(package) if names & forbidden}
    assert not broken


@pytest.mark.parametrize("library", OWNERS)
def test_a_heavy_library_is_imported_by_its_owner_only(library: str) -> None:
    importers = {
        path
        for package in ("dfm_core", "orchestration", "analysis")
        for path, names in sources(package)
        if library in names
    }
    assert not {path for path in importers if not path.startswith(OWNERS[library])}


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("from ray.train.v2._internal.execution.context import get_train_context", "ray.train.v2._internal"),
        ("ray._private.state.state.get_draining_nodes()", "ray._private"),
        ("zero.optimizer, parameter._hp_mapping", "_hp_mapping"),
        ("optuna.storages._heartbeat", "optuna.storages._heartbeat"),
        ("array._private", None),
        ("self._ray.nodes()", None),
        ("import ray.train.torch", None),
    ],
)
def test_private_names_are_recognised(source: str, expected: str | None) -> None:
    match = PRIVATE_NAMES.search(source)
    assert (match and match[0]) == expected


def test_private_names_of_libraries_stand_in_one_package() -> None:
    places = [
        f"{path.relative_to(ROOT)}: {match[0]}"
        for package in ("dfm_core", "orchestration", "analysis")
        for path in sorted((ROOT / package).rglob("*.py"))
        if path.parent != ROOT / "orchestration/private"
        for match in PRIVATE_NAMES.finditer(path.read_text())
    ]
    assert places == []


def test_diffusers_and_transformers_stay_in_their_folders() -> None:
    importers = {path for path, names in sources("dfm_core") if names & {"diffusers", "transformers"}}
    assert not {path for path in importers if not path.startswith(HUGGING_FACE_HOMES)}


def test_no_module_in_orchestration_has_a_standard_library_name() -> None:
    names = {path.stem for path in (ROOT / "orchestration").glob("*.py")}
    names |= {path.parent.name for path in (ROOT / "orchestration").glob("*/__init__.py")}
    assert not (names - {"__init__"}) & sys.stdlib_module_names


def test_product_code_names_the_encoding_of_every_text_file() -> None:
    command = [sys.executable, "-m", "ruff", "check", "--isolated", "--preview", "--select", "PLW1514"]
    done = subprocess.run(
        [*command, "dfm_core", "orchestration", "analysis"], cwd=ROOT, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stdout.decode()
