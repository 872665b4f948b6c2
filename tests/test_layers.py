"""The order of the packages (docs/architecture.md): a package imports only those below it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LAYERS = {
    "dfm_core": (
        "catalog",
        "config",
        "seeding",
        "fitting_batches",
        "wiring",
        "flow",
        "compute",
        "models",
        "autoencoders",
        "data",
        "decompositions",
        "paradigms",
        "training",
        "metrics",
        "autoencoder_training",
        "sweep_rows",
        "video_files",
        "pipeline",
    ),
    "orchestration": (
        "common",
        "startup",
        "parsing",
        "private",
        "storage",
        "config",
        "data",
        "artifacts",
        "control",
        "cluster",
        "diagnosis",
        "tasks",
        "spec",
        "plan",
        "tracking",
        "training",
        "encoding",
        "evaluation",
        "exploration",
        "search",
        "launch",
        "commands",
    ),
    "analysis": (
        "errors",
        "contract",
        "plan",
        "tracking",
        "records",
        "results",
        "comparison",
        "text",
        "drawing",
        "figures",
        "report",
        "frame_columns",
        "frames",
        "__main__",
    ),
}
"""Lowest first. Not in it: `__init__`, and the entry points at the top of `orchestration`, which nothing imports."""
ENTRY_POINTS = {"auth_token", "cli", "demo", "doctor", "export", "measure", "reproduce", "sweep"}
ENTRY_POINTS_FROM_ENTRY_POINTS = {("reproduce", "sweep")}  # it runs sweeps
ANALYSIS_FOR = {
    "launch": {"errors", "plan", "records", "report", "results", "text"},
    "reproduce": {"errors", "plan", "records", "report"},
    "common": {"contract"},
    "startup": {"contract"},
    "config": {"contract"},
    "storage": {"contract"},
    "artifacts": {"contract"},
    "spec": {"contract"},
    "plan": {"contract"},
    "tracking": {"contract"},
    "encoding": {"contract"},
    "evaluation": {"contract"},
}
"""Which packages of `analysis` a package of `orchestration` may import; the others none."""


def imported_modules(source: str, package: str) -> Iterator[tuple[int, str]]:
    """(line, dotted name) of everything that a source imports, lazily and for typing too; names of modules whole."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*above, *([base] if base else [])])
            yield from ((node.lineno, f"{base}.{alias.name}") for alias in node.names)


def edges(top: str) -> Iterator[tuple[str, str, str]]:
    """(place, importing package, imported dotted name) of every import in a top-level package."""
    for path in sorted((ROOT / top).rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        for line, name in imported_modules(path.read_text(), ".".join(parts[:-1])):
            yield f"{path.relative_to(ROOT)}:{line}", parts[1], name


def upward(top: str) -> list[str]:
    """Imports of a package above, or of an entry point."""
    order = LAYERS[top]
    broken = []
    for place, here, name in edges(top):
        there = name.split(".")[1] if name.startswith(f"{top}.") else ""
        if there in ENTRY_POINTS and top == "orchestration":
            broken += [f"{place}: {name}"] if (here, there) not in ENTRY_POINTS_FROM_ENTRY_POINTS else []
        elif there in order and here in order and order.index(there) > order.index(here):
            broken.append(f"{place}: {name}")
    return broken


@pytest.mark.parametrize("top", LAYERS)
def test_no_package_imports_one_above_it(top: str) -> None:
    assert upward(top) == []


@pytest.mark.parametrize("top", LAYERS)
def test_the_list_names_all_packages_that_there_are(top: str) -> None:
    there = {path.stem for path in (ROOT / top).iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    assert there - {"__init__"} == set(LAYERS[top]) | (ENTRY_POINTS if top == "orchestration" else set())


def test_orchestration_imports_analysis_contract_and_at_its_end_the_report_alone() -> None:
    taken = {(here, name.split(".")[1]) for _, here, name in edges("orchestration") if name.startswith("analysis.")}
    assert {(here, there) for here, there in taken if there not in ANALYSIS_FOR.get(here, ())} == set()


@pytest.mark.parametrize(
    ("source", "package", "expected"),
    [
        ("from orchestration.plan import plan", "orchestration.spec", "orchestration.plan.plan"),
        (
            "def f():\n    from orchestration.launch.session import run",
            "orchestration",
            "orchestration.launch.session.run",
        ),
        ("if TYPE_CHECKING:\n    import orchestration.search", "orchestration", "orchestration.search"),
        ("from ..launch import session", "orchestration.spec", "orchestration.launch.session"),
        ("from . import x", "orchestration.spec", "orchestration.spec.x"),
    ],
)
def test_the_reader_sees_every_form_of_import(source: str, package: str, expected: str) -> None:
    assert [name for _, name in imported_modules(source, package)] == [expected]


@pytest.mark.parametrize("top", LAYERS)
def test_no_modules_import_each_other_in_a_circle(top: str) -> None:
    modules = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for path in (ROOT / top).rglob("*.py")
    }
    imports: dict[str, set[str]] = {name: set() for name in modules}
    for path in sorted((ROOT / top).rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        own = ".".join(parts).removesuffix(".__init__")
        for _, name in imported_modules(path.read_text(), ".".join(parts[:-1])):
            there = name if name in modules else name.rpartition(".")[0]
            imports[own] |= {there} & modules - {own}
    while imports:
        leaves = {name for name, targets in imports.items() if not targets & imports.keys()}
        assert leaves, f"a circle among {sorted(imports)}"
        for name in leaves:
            del imports[name]
