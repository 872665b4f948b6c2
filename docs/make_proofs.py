"""Writes docs/reliability_proofs.md: for each fault of docs/reliability.md the tests that are marked to prove it.

    python docs/make_proofs.py

A test says by `@pytest.mark.proves(NUMBER)` what it proves. Another test fails while the page differs from what this
prints.
"""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "reliability_proofs.md"
FAULTS = ROOT / "docs" / "reliability.md"
_TARGETS = {
    "slow": "make test-slow",
    "multihost": "make test-multihost",
    "gpu": "make test-gpu",
    "tex": "make test-tex",
}


@dataclass(frozen=True, order=True)
class Proof:
    """A test that is marked."""

    path: str
    name: str
    target: str
    """The make target that runs it; "make test" for most."""

    @property
    def in_words(self) -> str:
        return self.name.removeprefix("test_").replace("_", " ")


def faults() -> dict[int, str]:
    """Return the faults of the page by number."""
    rows = re.findall(r"^\| (\d+) \| (.*?) \|", FAULTS.read_text(encoding="utf-8"), re.MULTILINE)
    return {int(number): fault for number, fault in rows}


def proofs() -> dict[int, list[Proof]]:
    """Return the marked tests by the number of the fault, in the order of their files."""
    found = defaultdict(list)
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        source = path.read_text(encoding="utf-8")
        if "mark.proves(" in source:
            for number, proof in _marked(path.relative_to(ROOT).as_posix(), ast.parse(source)):
                found[number].append(proof)
    return dict(found)


def _marked(path: str, module: ast.Module) -> Iterator[tuple[int, Proof]]:
    whole_file = [
        node.value
        for node in module.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "pytestmark"
    ]
    for test in module.body:
        if isinstance(test, ast.FunctionDef):
            marks = [ast.unparse(mark) for mark in (*test.decorator_list, *whole_file)]
            target = next(
                (_TARGETS[kind] for kind in _TARGETS if any(f"mark.{kind}" in mark for mark in marks)), "make test"
            )
            for mark in test.decorator_list:
                if isinstance(mark, ast.Call) and ast.unparse(mark.func) == "pytest.mark.proves":
                    yield from ((int(ast.literal_eval(number)), Proof(path, test.name, target)) for number in mark.args)


def page() -> str:
    """Return the page."""
    lines = [
        "# Proofs of what a sweep survives",
        "",
        "Each fault of [what a sweep survives](reliability.md), and the tests that prove it, in words. Made by",
        "`python docs/make_proofs.py` from the marks of the tests.",
    ]
    marked = proofs()
    for number, fault in faults().items():
        lines += ["", f"## {number}. {fault}", "", "| test | file | run by |", "| :-- | :-- | :-- |"]
        lines += [
            f"| {one.in_words} | `{one.path.removeprefix('tests/')}` | `{one.target}` |"
            for one in marked.get(number, [])
        ]
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(PAGE)
