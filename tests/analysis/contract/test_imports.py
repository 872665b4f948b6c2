"""The contract stays light: planning imports it, on machines that plot nothing and track nothing."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
MODULES = sorted(f"analysis.contract.{path.stem}" for path in (ROOT / "analysis" / "contract").glob("[!_]*.py"))
HEAVY = ("dfm_core", "matplotlib", "mlflow", "numpy", "orchestration", "pandas", "torch")


def test_the_contract_loads_no_heavy_library() -> None:
    script = f"import sys, {', '.join(MODULES)}\nprint(*(name for name in {HEAVY} if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_the_contract_imports_the_standard_library_yaml_and_errors_alone() -> None:
    imported = set()
    for path in (ROOT / "analysis" / "contract").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                imported |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                imported.add(node.module or "")
    others = {name for name in imported if name.partition(".")[0] not in sys.stdlib_module_names}
    assert {name for name in others if not name.startswith("analysis.contract")} == {"yaml", "analysis.errors"}
