"""Every LaTeX file of a report, compiled by TeX, and read back from the page; `make test-tex`."""

from __future__ import annotations

import random
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from analysis.comparison.joined_sweep import JoinedSweep
from analysis.plan.model import PublishedPlan
from analysis.plan.read import parse_plan
from analysis.records.record import Record
from analysis.report.paper_folder import paper_files
from analysis.text.comparison_text import make_text_comparison
from analysis.text.text_tables import make_text_tables
from tests.analysis.report.test_latex import hostile_plan

pytestmark = pytest.mark.tex
ROOT = Path(__file__).resolve().parents[3]
TABLES = {"table1": "table1", "table2_imagenet512": "table2", "table4": "table4"}
"""Sweep -> the paper's table beside which it stands."""


def plan_of(sweep: str) -> PublishedPlan:
    from orchestration.plan.plan import make_plan
    from orchestration.plan.plan_json import plan_json
    from orchestration.spec.load import load_sweep

    spec = load_sweep(ROOT / "sweeps" / f"{sweep}.yaml", ["seeds=[0, 1]"])
    return parse_plan(plan_json(make_plan(spec), "sqlite:///x"))


def tables_of(plan: PublishedPlan) -> Mapping[str, str]:
    """The LaTeX files of a report whose numbers are drawn by chance."""
    draw = random.Random(0)

    def record() -> Record:
        values = {metric.name: draw.uniform(40.0, 41.0) for metric in plan.metrics}
        return Record("done", {**values, **{f"{name}_standard_error": value / 100 for name, value in values.items()}})

    joined = JoinedSweep.of(plan, {digest: record() for digest in plan.evaluations})
    comparison = make_text_comparison(plan, joined.sections, joined.comparisons)
    files = paper_files(joined, make_text_tables(plan, joined.sections), comparison)
    return {Path(path).name: text.decode() for path, text in files.items() if path.endswith(".tex")}


def compiled(folder: Path, files: Mapping[str, str]) -> tuple[str, str]:
    """TeX's log and the text of the pages, of a document that reads the files as a paper of 5.5 inches would."""
    assert shutil.which("pdflatex"), "there is no TeX here: `make test-tex` installs Debian's"
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    lines = [
        r"\documentclass{article}",
        r"\usepackage{booktabs}",
        r"\setlength{\textwidth}{5.5in}",
        r"\begin{document}",
    ]
    lines += [rf"\noindent\input{{{name}}}\clearpage" for name in files]
    (folder / "paper.tex").write_text("\n".join([*lines, r"\end{document}", ""]), encoding="utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape", "paper.tex"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace", check=False)
    assert done.returncode == 0, done.stdout[-2000:]
    pages = subprocess.run(["pdftotext", "-layout", "paper.pdf", "-"], cwd=folder, capture_output=True, check=True)
    return done.stdout, pages.stdout.decode()


@pytest.mark.parametrize(("sweep", "published"), TABLES.items())
def test_every_table_of_a_report_is_read_by_tex(sweep: str, published: str, tmp_path: Path) -> None:
    files = tables_of(plan_of(sweep))
    assert {f"{published}.tex", f"{published}-notes.tex"} < set(files)
    _, pages = compiled(tmp_path, files)
    for row in re.findall(r"(?m)^[\w. $]+ & (\d[\d.]*) \$\\pm\$ (\d[\d.]*)", files[f"{published}.tex"]):
        assert re.search(rf"{re.escape(row[0])} ± {re.escape(row[1])}", pages), row


def test_table_1_fits_a_page_with_all_its_parts_and_its_notes_are_apart(tmp_path: Path) -> None:
    files = tables_of(plan_of("table1"))
    log, pages = compiled(tmp_path, {"table1.tex": files["table1.tex"]})
    assert "Overfull" not in log
    assert pages.count("\f") == 1
    for part in "abcdef":
        assert re.search(rf"\({part} ?\) ", pages)
    for printed in ("36.02", "55.49", "27.13", "26.63", "31.95", "41.06"):  # the paper's, a row of each part
        assert printed in pages
    assert "Kendall" not in pages
    _, notes = compiled(tmp_path, {"table1-notes.tex": files["table1-notes.tex"]})
    assert "Kendall" in notes
    assert re.search(r"(worse|within ±10%|cannot tell) \(×", " ".join(notes.split()))


def test_hostile_names_are_printed_as_they_are(tmp_path: Path) -> None:
    _, pages = compiled(tmp_path, tables_of(hostile_plan()))
    assert r"#1 $x$ {y} \end{tabular} \input{/etc/passwd}" in " ".join(pages.split())
