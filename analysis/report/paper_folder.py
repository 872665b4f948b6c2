"""The folder of tables for a paper: each part as Markdown, CSV and LaTeX, the paper's numbers, a guide. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from analysis.comparison.joined_sweep import JoinedSweep
from analysis.comparison.row_ranks import rank_rows
from analysis.contract.published_numbers import published_parts
from analysis.drawing.chart import slug
from analysis.plan.model import PublishedPlan
from analysis.report.cell_csv import cell_csv, published_csv
from analysis.report.latex import (
    latex_comparison,
    latex_plain,
    latex_table,
)
from analysis.report.latex_whole import latex_notes, latex_whole
from analysis.report.markdown import escape_markdown, markdown_of_part, markdown_published
from analysis.text.aggregate_tables import (
    ACROSS_COLUMNS,
    RANK_LEGEND,
    across_legend,
    across_lines,
    make_across_table,
    make_rank_table,
)
from analysis.text.comparison_text import TextComparison
from analysis.text.cost_tables import REACH_COLUMNS, REACH_LEGEND, make_reach_table, reach_lines
from analysis.text.csv_text import csv_text
from analysis.text.difference_tables import DIFFERENCE_LEGEND, make_difference_table
from analysis.text.text_tables import TextTable

FOLDER = "tables"
_ACROSS = "across-parts"


def paper_files(
    joined_sweep: JoinedSweep, tables: Sequence[TextTable], comparison: TextComparison | None
) -> dict[str, bytes]:
    """Render the files by path; the same numbers give the same bytes.

    Args: tables: one per section. comparison: the sweep's comparisons in words, in the same order.
    """
    plan, comparisons = joined_sweep.plan, joined_sweep.comparisons
    files: dict[str, str] = {}
    guide = [*_guide(plan)]
    beside = {part.section.part.name: index for index, part in enumerate(comparisons)} if comparison else {}
    for number, (section, table) in enumerate(zip(joined_sweep.sections, tables, strict=True), 1):
        name, index = f"{number:02d}-{slug(section.part.name)}", beside.get(section.part.name)
        alone = None
        if comparison is not None and index is not None:
            alone = replace(comparison, tables=comparison.tables[index : index + 1])
            files[f"{name}-beside-paper.tex"] = latex_comparison(alone.tables[0], alone)
        difference = make_difference_table(section)
        if difference is not None:
            title = f"{table.title}, differences"
            files[f"{name}-differences.tex"] = latex_plain(title, difference, DIFFERENCE_LEGEND)
        ranks = rank_rows(section)
        ranked = make_rank_table(ranks)
        if ranked is not None:
            files[f"{name}-ranks.tex"] = latex_plain(f"{table.title}, ranks", ranked, RANK_LEGEND)
        targets = [target for target, _ in joined_sweep.targets[section.part.name] if target is not None]
        reached = make_reach_table(targets)
        if reached is not None:
            files[f"{name}-reach.tex"] = latex_plain(f"{table.title}, FLOPs to reach", reached, REACH_LEGEND)
            files[f"{name}-reach.csv"] = csv_text(REACH_COLUMNS, reach_lines(targets))
        files[f"{name}.md"] = markdown_of_part(plan, table, difference, ranked, reached, alone)
        files[f"{name}.csv"] = cell_csv(section, None if index is None else comparisons[index], ranks)
        files[f"{name}.tex"] = latex_table(plan, [table])
        guide.append(f"| {escape_markdown(section.part.title)} | {', '.join(_links(files, name))} |")
    if comparison is not None and plan.published is not None:
        files[f"{plan.published.table}.tex"] = latex_whole(comparison)
        files[f"{plan.published.table}-notes.tex"] = latex_notes(comparison)
    across = joined_sweep.across_parts
    overall = make_across_table(across)
    if overall is not None and across is not None:
        files[f"{_ACROSS}.tex"] = latex_plain("over all parts", overall, across_legend(across, len(plan.seeds)))
        files[f"{_ACROSS}.csv"] = csv_text(ACROSS_COLUMNS, across_lines(across))
        guide.append(f"| over all parts | {', '.join(_links(files, _ACROSS))} |")
    files["published.md"] = markdown_published(published_parts())
    files["published.csv"] = published_csv()
    files["README.md"] = "\n".join([*guide, _REMARKS])
    return {f"{FOLDER}/{name}": text.encode() for name, text in sorted(files.items())}


def _guide(plan: PublishedPlan) -> Iterator[str]:
    yield from (f"# Tables of {escape_markdown(plan.title)}", "")
    yield from (f"Sweep `{plan.sweep}` ({escape_markdown(plan.file)}), one file a part and format.", "")
    yield from ("| part | files |", "| :-- | :-- |")


def _links(files: dict[str, str], name: str) -> list[str]:
    endings = (".md", ".csv", ".tex", "-differences.tex", "-ranks.tex", "-reach.tex", "-reach.csv", "-beside-paper.tex")
    return [f"[{name}{ending}]({name}{ending})" for ending in endings if f"{name}{ending}" in files]


_REMARKS = r"""| all that the paper prints | [published.md](published.md), [published.csv](published.csv) |

- `.md`: ours and, if the paper has the part, ours beside it with verdicts, order and Kendall's tau.
- `.csv`: a line for each cell: mean, 95% interval and what it is of, seeds, whether claims are made by it, difference
  from the best row with its corrected p, difference from the reference row with its interval, the paper's number,
  verdict and reason; mean rank over the seeds that all rows have. `sources`: pages or ids of the MLflow runs;
  `evaluate_digests`: their tag `dfm.digest`, whose first digits the other tables show. Rows with the status
  `not in the sweep` are the paper's alone.
- `.tex`: for `\input`, needs `\usepackage{booktabs}`; best in bold, runs in comments.
- `table1.tex` and the like, beside the paper's table of that name: all parts in one table of a page, verdicts as marks
  on our numbers; its notes apart in `table1-notes.tex`, with the verdicts in words.
- `-reach`: training FLOPs until a row is as good as the best baseline, or as a declared target.
- `across-parts`: rows that stand in several parts, over all of them.
- `../table.csv`: every measurement at every step and seed.
- Cells that are `missing`, `running` or `failed` have no number yet.
"""
