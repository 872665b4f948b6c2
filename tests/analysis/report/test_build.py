"""The whole report out of a real MLflow database."""

from __future__ import annotations

import base64
import json
import math
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import fsspec
import pytest

from analysis.comparison.joined_sweep import JoinedSweep
from analysis.drawing.chart import Chart
from analysis.drawing.render import Drawing, draw, draw_svg
from analysis.errors import UserError
from analysis.figures import gallery
from analysis.plan.read import parse_plan
from analysis.records.about import About
from analysis.records.record import Record
from analysis.report.build import comparison_with_paper, render_report, write_report
from tests.support.plans import (
    Database,
    beside_table2,
    change_protocols,
    evaluate_digest,
    make_plan,
    plan_document,
    png,
    train_digest,
)


class Page(HTMLParser):
    """Tags, addresses, alternative texts and headings of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.alternatives: list[str | None] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        values = dict(attrs)
        self.addresses += [values[key] or "" for key in ("src", "srcset", "href") if key in values]
        if tag == "img":
            self.alternatives.append(values.get("alt"))


def files_in(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_finished_sweep_gives_the_whole_report(database: Database, tmp_path: Path) -> None:
    plan = make_plan(uri=database.uri)
    database.fill(plan, {"flow matching": 30.0, "DFM": 20.0})
    written = write_report(plan, str(tmp_path / "report"))
    files = files_in(tmp_path / "report")
    assert set(files) == {*written.names, "files.json"}
    assert (written.num_filled, written.num_cells) == (4, 4)
    assert written.html == str(tmp_path / "report/report.html")
    convergence = ("convergence-1-paradigm-fd", "convergence-1-paradigm-accuracy")
    assert {name for name in files if name.startswith("figures/")} == {
        f"figures/{name}.{ending}" for name in (*convergence, "training-loss") for ending in ("png", "svg", "csv")
    } | {f"figures/page/{name}-{at}.svg" for name in convergence for at in range(3)} | {"figures/drawings.json"}
    assert files[f"samples/DFM-step200-{evaluate_digest('DFM', 200)[:8]}.png"] == png(200)
    assert "| DFM | **20.00 ± 0.78** | 0.200 |".encode() in files["table.md"]


def test_two_reports_of_the_same_records_are_byte_identical(database: Database, tmp_path: Path) -> None:
    plan = make_plan(uri=database.uri, seeds=(0, 1))
    database.fill(plan, {"flow matching": 30.0, "DFM": 20.0})
    for name in ("first", "second"):
        write_report(plan, str(tmp_path / name))
    assert files_in(tmp_path / "first") == files_in(tmp_path / "second")


def test_the_page_needs_nothing_but_itself(database: Database, tmp_path: Path) -> None:
    plan = make_plan(uri=database.uri)
    database.fill(plan, {"flow matching": 30.0, "DFM": 20.0})
    write_report(plan, str(tmp_path / "report"))
    text = (tmp_path / "report/report.html").read_text()
    page = Page(text)
    assert page.addresses
    outside = [address for address in page.addresses if not address.startswith(("data:image/", "#"))]
    assert [address.partition("/#/")[0] for address in outside] == ["http://127.0.0.1:5000"]  # a link to MLflow's page
    assert all(page.alternatives)
    assert page.tags.count("h1") == 1
    assert not {"script", "link", "iframe"} & set(page.tags)
    assert "mlflow ui --backend-store-uri sqlite:///" in text
    assert "abc1234" in text


def test_a_half_finished_sweep_gives_a_half_filled_table(database: Database, tmp_path: Path) -> None:
    plan = make_plan(uri=database.uri, parts={"p": ("one", "two", "three", "four")})
    database.run(evaluate_digest("one", 200), {"fd": 5.0, "accuracy": 0.5}, step=200, files={"samples.png": png()})
    database.run(evaluate_digest("two", 200), {"fd": 4.0}, status="running")
    database.run(train_digest("three"), status="failed", tags={"failure": "out of memory on <worker 3>"})
    database.run(evaluate_digest("three", 200), status="failed", tags={"failure": "no snapshot"})
    written = write_report(plan, str(tmp_path / "report"))
    assert (written.num_filled, written.num_cells) == (2, 8)
    table = (tmp_path / "report/table.md").read_text()
    first_cells = [line.split(" | ")[1] for line in table.splitlines()[6:11]]
    assert first_cells == ["5.000", "running", "failed", "missing", "missing"]
    assert "out of memory on &lt;worker 3&gt;" in (tmp_path / "report/report.html").read_text()


def test_long_labels_break_on_the_page_after_separators_only() -> None:
    label = "training.first_stage_probability=0.9"
    page = render_report(JoinedSweep.of(make_plan(parts={"p": (label, "b")}), {}))["report.html"].decode()
    assert '<th scope="row">training.<wbr>first_<wbr>stage_<wbr>probability=<wbr>0.9</th>' in section_of(
        page, "results"
    )
    assert "tbody th { font-weight: 400; overflow-wrap: break-word;" in page


def test_an_empty_database_gives_a_report_of_missing_cells(database: Database, tmp_path: Path) -> None:
    written = write_report(make_plan(uri=database.uri), str(tmp_path / "report"))
    assert (written.num_filled, written.num_cells) == (0, 4)
    assert (tmp_path / "report/table.md").read_text().count("missing") == 6


def test_a_sweep_full_of_nan_gives_a_report(database: Database, tmp_path: Path) -> None:
    plan = make_plan(uri=database.uri)
    database.fill(plan, {"flow matching": float("nan"), "DFM": float("nan")})
    run_id = database.run(train_digest("DFM"))
    database.curve(run_id, "loss", [(10, float("nan")), (20, float("inf"))])
    write_report(plan, str(tmp_path / "report"))
    assert "fd is nan; it is never best." in (tmp_path / "report/report.html").read_text()


def test_a_sweep_with_a_published_counterpart_stands_beside_it() -> None:
    records = {
        evaluate_digest(row, 200): Record("done", {"fd": fd, "accuracy": 0.5})
        for row, fd in (("flow_matching", 3.0), ("dfm", 2.0))
    }
    files = render_report(JoinedSweep.of(beside_table2(), records))
    sentence = "FD-Lite0: by the means alone 1 of 1 pairs agree; best mean: dfm. No Kendall"
    assert sentence in files["comparison.md"].decode()
    page = files["report.html"].decode()
    section = page[page.index('<section id="paper">') : page.index('<section id="convergence">')]
    assert f"<li>{sentence}" in section
    assert '<td><strong class="best">2.000</strong></td><td><strong class="best">4.28</strong></td>' in section
    assert "only the order of the rows compares." in section
    assert '<a href="#paper">' in page


def test_a_sweep_without_a_published_counterpart_says_nothing_of_it() -> None:
    files = render_report(JoinedSweep.of(make_plan(), {}))
    assert "comparison.md" not in files
    page = files["report.html"].decode()
    assert not [text for text in ("comparison.md", "Beside the paper", "#paper") if text in page]


def test_the_page_flags_the_table_of_a_part_of_unequal_compute() -> None:
    plan = make_plan(parts={"p": ("a", "b"), "q": ("c", "d")})
    dear = {
        key: replace(task, training_flops=2 * task.training_flops)
        for key, task in plan.evaluations.items()
        if task.title.startswith("b ")
    }
    page = render_report(JoinedSweep.of(replace(plan, evaluations={**plan.evaluations, **dear}), {}))[
        "report.html"
    ].decode()
    flag = '<p class="flag">Unequal training compute: rows differ by up to 100%.</p>'
    assert page.count('<p class="flag">') == 1
    assert page.index("<h3>Part p</h3>") < page.index(flag) < page.index("<h3>Part q</h3>")


def section_of(page: str, name: str) -> str:
    start = page.index(f'<section id="{name}">')
    return page[start : page.index("</section>", start)]


def test_the_page_flags_rows_of_different_protocols_above_tables_and_in_charts() -> None:
    document = plan_document()
    change_protocols(document, "DFM", num_samples=10_000)
    records = {
        evaluate_digest(row, 200): Record("done", {"fd": fd, "accuracy": 0.5})
        for row, fd in (("flow matching", 3.0), ("DFM", 2.0))
    }
    files = render_report(JoinedSweep.of(parse_plan(json.dumps(document)), records))
    page = files["report.html"].decode()
    results, values = section_of(page, "results"), "num_samples is 500 (flow matching) and 10,000 (DFM)."
    reason = "no row is best, since they were measured differently"
    flag = f'<p class="flag">FD-Lite0, label accuracy: {reason}: {values}</p>'
    assert results.index(flag) < results.index("<table>")
    assert 'class="best"' not in page
    assert "best FD-Lite0" not in page
    assert f'<span class="flag">These lines do not compare: {values}</span>' in section_of(page, "convergence")
    drawn = files["figures/convergence-1-paradigm-fd.svg"]
    assert b"These lines do not compare" in drawn
    assert base64.b64encode(drawn) not in page.encode(), "the file carries the caption itself, the page beside it"


def test_the_page_lists_protocols_samplings_and_the_notes_of_runs() -> None:
    said = About({"fd": ("<few> samples",)})
    records = {evaluate_digest("DFM", 200): Record("done", {"fd": 2.0, "fd_standard_error": 0.25}, about=said)}
    page = render_report(JoinedSweep.of(make_plan(), records))["report.html"].decode()
    protocols = section_of(page, "protocols")
    assert protocols.count("<td>lite0 block10</td>") == 4
    assert '<tr><th scope="row">paradigm / flow matching, paradigm / DFM</th><td>20, 20</td>' in protocols
    assert '<a href="#protocols">' in page
    assert "<li><b>FD-Lite0: paradigm / DFM</b>: &lt;few&gt; samples</li>" in section_of(page, "warnings")
    results = section_of(page, "results")
    assert "<td>2.00 ± 0.49</td>" in results
    assert "±: 95% interval of the error of finite samples, of one seed" in results


def test_the_page_says_which_uncertainty_several_seeds_have() -> None:
    results = section_of(render_report(JoinedSweep.of(make_plan(seeds=(0, 1)), {}))["report.html"].decode(), "results")
    assert "±: 95% interval of the mean over n seeds" in results


def test_a_failed_floor_leaves_the_table_and_is_among_the_failures(database: Database, tmp_path: Path) -> None:
    plan = make_plan(uri=database.uri)
    for row, fd in (("flow matching", 3.0), ("DFM", 2.0)):
        database.run(evaluate_digest(row, 200), {"fd": fd, "accuracy": 0.5}, step=200)
    database.run("floor", status="failed", tags={"failure": "no images"})
    written = write_report(plan, str(tmp_path))
    assert (written.num_filled, written.num_cells) == (4, 4)
    table = (tmp_path / "table.md").read_text()
    assert "| DFM | **2.000** | 0.500 |" in table
    assert "| real images | failed | failed |" in table
    page = (tmp_path / "report.html").read_text()
    assert "<li><b>floor 500 real images</b>: no images</li>" in section_of(page, "failures")


def test_a_sweep_without_floors_does_not_speak_of_real_images() -> None:
    plan = make_plan()
    evaluations = {key: replace(task, floor=None) for key, task in plan.evaluations.items()}
    plan = replace(plan, evaluations=evaluations, floors={})
    page = render_report(JoinedSweep.of(plan, {}))["report.html"].decode()
    assert "real images" not in section_of(page, "results")


def test_a_database_of_broken_about_files_gives_a_report_that_says_so(database: Database, tmp_path: Path) -> None:
    plan = make_plan(uri=database.uri)
    broken = {"DFM": b'{"notes": [], "protocols": {"fd": {"num_samples": "NaN"}}}', "flow matching": b"null"}
    for row, data in broken.items():
        database.run(
            evaluate_digest(row, 200),
            {"fd": len(row), "fd_standard_error": math.nan, "accuracy": 0.5, "accuracy_standard_error": -1.0},
            step=200,
            files={"about.json": data},
        )
    write_report(plan, str(tmp_path))
    assert "| DFM | **3.00** | 0.500 |" in (tmp_path / "table.md").read_text()
    notes = section_of((tmp_path / "report.html").read_text(), "warnings")
    assert notes.count("about.json") == 3
    assert notes.count("it is not shown") == 4


def test_the_comparison_is_for_a_terminal_and_empty_without_anything_to_compare(database: Database) -> None:
    plan = beside_table2(tracking_uri=database.uri)
    assert comparison_with_paper(plan) == ""
    database.run(evaluate_digest("dfm", 200), {"fd": 5.0, "accuracy": 0.5}, step=200)
    (line,) = [line for line in comparison_with_paper(plan).splitlines() if line.startswith("  dfm ")]
    assert line.split() == ["dfm", "5.000", "4.28", "*", "0.500", "196.8", "*"]
    assert comparison_with_paper(replace(plan, published=None)) == ""


def test_hostile_text_cannot_become_markup() -> None:
    attack = "<script>alert(1)</script>"
    document = plan_document(parts={attack: (attack, '"><img src=x>')})
    document |= {"title": attack, "file": attack, "experiment": attack}
    document["metrics"] = [{**document["metrics"][0], "title": attack, "about": attack}]
    about = {attack: attack, "nested": {attack: attack}}
    record = Record("done", {"fd": 1.0}, image=png(), provenance=about, failure=attack, warning=attack)
    page = render_report(JoinedSweep.of(parse_plan(json.dumps(document)), {evaluate_digest(attack, 200): record}))[
        "report.html"
    ].decode()
    assert "script" not in Page(page).tags
    assert all(address.startswith(("data:image/", "#")) for address in Page(page).addresses)


def test_control_characters_and_formulas_stay_out_of_every_text() -> None:
    attack = "=1+1 \x1b[31mred\u202e"
    document = plan_document(parts={attack: (attack, f"{attack} row")})
    plan = parse_plan(json.dumps(document))
    files = render_report(JoinedSweep.of(plan, {}), notes=(f"a host \x1b[2J{attack}",))
    texts = {name: data.decode() for name, data in files.items() if not name.endswith((".png", ".gif", ".json"))}
    assert {name.rpartition(".")[2] for name in texts} >= {"md", "csv", "tex", "html"}
    for name, text in texts.items():
        assert "\x1b" not in text, name
        assert "\u202e" not in text, name
    assert "'=1+1 red" in texts["table.csv"]


def test_a_tracking_server_is_linked_and_its_password_left_out() -> None:
    page = render_report(JoinedSweep.of(make_plan(uri="https://me:secret@host:5000"), {}))["report.html"].decode()
    assert 'href="https://me:***@host:5000"' in page
    assert "secret" not in page


def test_a_report_can_be_written_to_a_url(database: Database) -> None:
    written = write_report(make_plan(uri=database.uri), "memory://bucket/reports/small")
    memory = fsspec.filesystem("memory")
    assert memory.cat_file("/bucket/reports/small/report.html").startswith(b"<!doctype html>")
    assert memory.exists("/bucket/reports/small/table.csv")
    assert written.html == "memory://bucket/reports/small/report.html"


def test_a_report_replaces_its_own_files_and_leaves_others(database: Database, tmp_path: Path) -> None:
    folder = tmp_path / "report"
    folder.mkdir()
    (folder / "mine.txt").write_text("keep")
    (folder / "table.md").write_text("old")
    write_report(make_plan(uri=database.uri), str(folder))
    assert (folder / "mine.txt").read_text() == "keep"
    assert (folder / "table.md").read_text() != "old"
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".report")]


def test_pictures_that_did_not_change_are_not_drawn_again(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = make_plan(uri=database.uri)
    database.fill(plan, {"flow matching": 30.0, "DFM": 20.0})
    write_report(plan, str(tmp_path))
    before, drawn = files_in(tmp_path), []

    def drawing(chart: Chart) -> Drawing:
        drawn.append(chart.name)
        return draw(chart)

    def picture(chart: Chart) -> bytes:
        drawn.append(f"page/{chart.name}")
        return draw_svg(chart)

    monkeypatch.setattr(gallery, "draw", drawing)
    monkeypatch.setattr(gallery, "draw_svg", picture)
    write_report(plan, str(tmp_path))
    assert (files_in(tmp_path), drawn) == (before, [])
    database.run(evaluate_digest("DFM", 200), {"fd": 5.0, "accuracy": 0.2})
    (tmp_path / "figures/training-loss.png").write_bytes(b"damaged")
    (tmp_path / "figures/page/convergence-1-paradigm-accuracy-1.svg").unlink()
    write_report(plan, str(tmp_path))
    panels = [f"page/convergence-1-paradigm-fd-{at}" for at in range(3)]
    lost = "page/convergence-1-paradigm-accuracy-1"
    assert drawn == ["convergence-1-paradigm-fd", *panels, lost, "training-loss"]
    assert files_in(tmp_path)["figures/training-loss.png"] == before["figures/training-loss.png"]


@pytest.mark.parametrize("text", ["", "[]", '{"x": 1}', '{"convergence-1-paradigm-fd": {}}', "\udcff"])
@pytest.mark.parametrize("name", ["files.json", "figures/drawings.json"])
def test_a_broken_list_of_drawings_has_all_drawn_anew(
    database: Database, tmp_path: Path, name: str, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = make_plan(uri=database.uri)
    database.run(evaluate_digest("DFM", 200), {"fd": 5.0}, step=200)
    drawings = Drawing(b"svg", b"png")
    monkeypatch.setattr(gallery, "draw", lambda _: drawings)
    write_report(plan, str(tmp_path))
    before = files_in(tmp_path)
    (tmp_path / name).write_text(text, errors="surrogateescape")
    drawings = Drawing(b"other", b"png")
    write_report(plan, str(tmp_path))
    assert files_in(tmp_path)["figures/convergence-1-paradigm-fd.svg"] == b"other"
    assert set(files_in(tmp_path)) == set(before)


def test_pictures_of_an_interrupted_report_are_not_mistaken_for_earlier_ones(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, original = make_plan(uri=database.uri), Path.replace
    drawings = Drawing(b"first", b"png")
    monkeypatch.setattr(gallery, "draw", lambda _: drawings)

    def cut_off(path: Path, target: Path) -> Path:
        if path.name == "drawings.json":
            raise OSError(5, "Input/output error")
        return original(path, target)

    database.run(evaluate_digest("DFM", 200), {"fd": 5.0}, step=200)
    write_report(plan, str(tmp_path / "r"))
    later = database.run(evaluate_digest("DFM", 200), {"fd": 6.0}, step=200)
    drawings = Drawing(b"second", b"png")
    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", cut_off)
        with pytest.raises(UserError, match="Input/output error"):
            write_report(plan, str(tmp_path / "r"))
    database.client.delete_run(later)
    drawings = Drawing(b"first", b"png")
    write_report(plan, str(tmp_path / "r"))
    assert (tmp_path / "r/figures/convergence-1-paradigm-fd.svg").read_bytes() == b"first"


def test_the_page_prints_the_command_with_its_overrides() -> None:
    document = {**plan_document(), "command": "python orchestration/sweep.py sweeps/small.yaml 'seeds=[0, 1]' <x>"}
    page = render_report(JoinedSweep.of(parse_plan(json.dumps(document)), {}))["report.html"].decode()
    assert "<pre>python orchestration/sweep.py sweeps/small.yaml &#39;seeds=[0, 1]&#39; &lt;x&gt;</pre>" in page


def test_every_run_in_the_ledger_has_its_id_and_on_a_server_its_page() -> None:
    record = Record("done", run_id="0123456789abcdef", url="https://host/#/experiments/1/runs/0123456789abcdef")
    records = {train_digest("DFM"): record, evaluate_digest("DFM", 200): replace(record, url="")}
    compute = section_of(render_report(JoinedSweep.of(make_plan(), records))["report.html"].decode(), "compute")
    assert f'<a href="{record.url}"><code>01234567</code></a>' in compute
    assert '<code title="0123456789abcdef">01234567</code>' in compute


def test_a_report_that_cannot_be_written_leaves_the_old_one(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "report"
    write_report(make_plan(uri=database.uri), str(folder))
    before = files_in(folder)
    original = Path.write_bytes

    def full_disk(path: Path, data: bytes) -> int:
        if path.name == "report.html":
            raise OSError(28, "No space left on device")
        return original(path, data)

    monkeypatch.setattr(Path, "write_bytes", full_disk)
    database.run(evaluate_digest("DFM", 200), {"fd": 5.0, "accuracy": 0.5})
    with pytest.raises(UserError, match=r"No space left on device.*choose another --output"):
        write_report(make_plan(uri=database.uri), str(folder))
    assert files_in(folder) == before


def test_convergence_is_one_panel_with_a_choice_of_axis_other_metrics_folded() -> None:
    records = {evaluate_digest("DFM", 200): Record("done", {"fd": 1.0, "accuracy": 0.5})}
    section = section_of(render_report(JoinedSweep.of(make_plan(), records))["report.html"].decode(), "convergence")
    primary, others = section.split("<details><summary>Other metrics: ", 1)
    assert primary.count("<figure") == others.count("<figure") == 1
    titles = re.findall(r'<input type="radio" name="axis-\d+" value="(\d)"( checked)?> (.*?)</label>', primary)
    assert titles == [("1", " checked", "training steps"), ("2", "", "training images"), ("3", "", "training FLOPs")]
    assert re.findall(r'<picture class="axis axis-(\d)">', primary) == ["1", "2", "3"]
    assert "FD-Lite0 against training steps, images, FLOPs and accelerator-hours" in primary
    assert "label accuracy against" in others


def test_the_page_follows_the_readers_colour_scheme() -> None:
    records = {evaluate_digest("DFM", 200): Record("done", {"fd": 1.0})}
    text = render_report(JoinedSweep.of(make_plan(), records))["report.html"].decode()
    assert "@media screen and (prefers-color-scheme: dark)" in text
    assert text.count('<source media="screen and (prefers-color-scheme: dark)"') == text.count("<picture") == 3


def test_the_lead_says_so_while_the_best_is_not_yet_settled() -> None:
    plan = make_plan(parts={"p": ("one", "two", "three")})
    records = {
        evaluate_digest(row, 200): Record("done", {"fd": fd})
        for row, fd in (("one", 3.0), ("two", 2.0), ("three", 4.0))
    }
    whole = render_report(JoinedSweep.of(plan, records))["report.html"].decode()
    assert "Part p: best FD-Lite0: <b>2.000</b>, by <b>two</b>." in whole
    del records[evaluate_digest("three", 200)]
    half = render_report(JoinedSweep.of(plan, records))["report.html"].decode()
    assert "Part p: best FD-Lite0 so far: <b>2.000</b>, by <b>two</b>." in half
