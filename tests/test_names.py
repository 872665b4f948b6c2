"""Names and docstrings that a reader meets first."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("dfm_core", "orchestration", "analysis")
MAX_TEST_NAME = 79
INVERTED = {"What", "Which", "Where", "Of", "For", "Whose", "Whether", "Whoever"}
"""First words after which the subject of a docstring is missing or comes last."""


def docstrings(source: str) -> Iterator[tuple[int, str]]:
    """(line, text) of the docstrings of a module, its classes, functions and attributes."""
    for node in ast.walk(ast.parse(source)):
        for statement in getattr(node, "body", []) if not isinstance(node, ast.Lambda | ast.IfExp) else []:
            value = statement.value if isinstance(statement, ast.Expr) else None
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                yield statement.lineno, value.value.strip()


def inverted(source: str) -> list[int]:
    """Lines of docstrings that begin with one of INVERTED."""
    return [line for line, text in docstrings(source) if text.split(maxsplit=1)[:1] and text.split()[0] in INVERTED]


def test_test_names_are_under_80_characters() -> None:
    too_long = [
        f"{path.relative_to(ROOT)}: {node.name}"
        for path in sorted((ROOT / "tests").rglob("test_*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        if node.name.startswith("test_") and len(node.name) > MAX_TEST_NAME
    ]
    assert too_long == []


@pytest.mark.parametrize("package", PACKAGES)
def test_docstrings_begin_with_their_subject_or_verb(package: str) -> None:
    places = [
        f"{path.relative_to(ROOT)}:{line}"
        for path in sorted((ROOT / package).rglob("*.py"))
        for line in inverted(path.read_text())
    ]
    assert places == []


@pytest.mark.parametrize("package", PACKAGES)
def test_every_package_has_a_docstring(package: str) -> None:
    bare = [
        str(path.relative_to(ROOT))
        for path in sorted((ROOT / package).rglob("__init__.py"))
        if not ast.get_docstring(ast.parse(path.read_text()))
    ]
    assert bare == []


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ('"""What it is."""', [1]),
        ('def f() -> None:\n    """Whether it is."""', [2]),
        ('class A:\n    x: int\n    """Of the box."""', [3]),
        ('"""The thing that is. What it is."""\nx = "What"', []),
        ('class A:\n    """Whatever."""', []),
    ],
)
def test_the_reader_sees_every_docstring(source: str, expected: list[int]) -> None:
    assert inverted(source) == expected
