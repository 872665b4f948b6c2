"""Every command in the documentation is run by a test; this file knows by which."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from orchestration.plan.plan import make_plan
from orchestration.spec.load import load_sweep
from tests.support.sweeps import SHIPPED

ROOT = Path(__file__).resolve().parents[1]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "docs/tutorials").glob("*.md")),
]
_PROGRAMS = ("make ", "ray ", "python ", "pip ", ".venv/bin/", "export ", "DFM_STORAGE_ROOT=")

JOB = "tests/e2e/test_main_job.py::test_a_submitted_job_leaves_records_report_and_no_process"
DIRECT = "tests/e2e/test_main_job.py::test_submitting_again_computes_nothing_and_ends_at_once"
DRY = "tests/orchestration/test_sweep.py::test_a_dry_run_prints_the_plan_and_creates_nothing"
ANALYSIS = "tests/e2e/test_main_job.py::test_analysis_alone_writes_the_same_report"
HERE = "tests/test_docs.py::test_make_knows_its_targets"
GPU = "tests/test_docs.py::test_the_gpu_command_is_a_valid_sweep"
UI = "tests/e2e/test_view_runs.py::test_the_documented_command_serves_the_runs"
HEAD = "tests/e2e/test_own_head.py::test_the_documented_cluster_commands_run_a_sweep"
CHECK = (
    "tests/orchestration/commands/test_check_models.py::"
    "test_a_full_scale_sweep_is_checked_without_its_data_and_says_what_it_lacks"
)
EXAMPLE = "tests/test_examples.py::test_the_example_leaves_a_snapshot_and_a_grid"
GPU_RATES = "tests/test_examples.py::test_the_gpu_benchmark_is_rehearsed_on_a_cpu"
BENCHMARK = "tests/test_examples.py::test_the_benchmark_prints_a_row_for_each_contender"
REPRODUCE = "tests/e2e/test_table2.py::test_table_2_is_reproduced_in_small_and_set_beside_the_paper"
MEASURE = "tests/orchestration/test_measure.py::test_a_folder_of_real_images_scores_what_the_floor_scores"
SWEEPING = "tests/test_examples.py::test_the_sampling_sweep_prints_both_ways_and_that_they_agree"
FRECHET = "tests/test_examples.py::test_the_frechet_benchmark_prints_both_contenders_and_they_agree"
ERRORS = "tests/test_examples.py::test_the_benchmark_of_errors_prints_a_row_for_each_model_and_setting"
OVERHEAD = "tests/test_examples.py::test_the_overhead_of_trials_is_printed_for_ours_and_for_bare_tune"
STALL = "tests/test_examples.py::test_the_stall_of_a_checkpoint_is_printed_for_every_storage_and_way"
DATA = "tests/test_examples.py::test_the_data_benchmark_prints_a_row_for_each_place_that_is_installed"
ENCODING = "tests/test_examples.py::test_the_encoding_benchmark_prints_a_row_for_each_way"
PLANNING = "tests/test_examples.py::test_the_planning_benchmark_prints_a_row_for_each_size"
STATISTICS = "tests/test_examples.py::test_the_statistics_benchmark_prints_a_line_for_each_statement"
RECOVERY = "tests/test_examples.py::test_recovery_is_told_for_ours_and_for_plain_ray_train"
READING = "tests/test_examples.py::test_the_analysis_benchmark_prints_every_reading_of_the_same_points"
SERVED = "tests/test_examples.py::test_the_analysis_benchmark_reads_over_a_server"
S3 = "tests/e2e/test_s3.py::test_a_killed_sweep_on_s3_is_continued_to_the_table_of_the_local_one"
FIGURE3 = "tests/e2e/test_figure3.py::test_the_points_of_a_snapshot_are_sampled_together_and_fill_the_table"
VIDEO = "tests/e2e/test_video.py::test_four_paradigms_are_compared_on_videos_from_the_file_to_the_report"
STATUS = "tests/e2e/test_operations.py::test_a_sweep_is_looked_at_while_it_runs_stopped_and_continued_to_the_same_table"
GC = "tests/orchestration/test_sweep.py::test_what_is_left_over_goes_only_with_yes"
BUDGET = "tests/orchestration/test_sweep.py::test_a_budget_that_is_spent_already_starts_nothing_and_ends_with_code_4"
SEARCH = "tests/e2e/test_search.py::test_a_search_fills_its_table_best_first_and_goes_on_with_more_trials"
SCHEDULE = "tests/e2e/test_population.py::test_the_search_of_schedules_is_planned_with_its_rungs"
DOCTOR = "tests/orchestration/test_doctor.py::test_this_machine_is_examined_and_nothing_is_left"
SITE = "tests/orchestration/spec/test_layers.py::test_every_sweep_of_the_paper_is_planned_with_the_example_of_a_site"
PAPER = "tests/e2e/test_paper_sweeps.py::test_a_sweep_of_the_paper_runs_unedited_to_its_tables"
COMMAND = "tests/orchestration/test_cli.py::test_each_command_is_an_entry_point_under_its_name"
RECORDS = "tests/orchestration/commands/test_record_files.py::test_from_the_command_line"
REFERENCE = "tests/test_docs.py::test_the_reference_is_what_the_code_says_and_no_key_lacks_its_meaning"
EMOJI = "tests/test_examples.py::test_emoji_are_drawn_with_captions_and_the_small_table_3_is_planned_with_them"
FLUX = "tests/e2e/test_flux.py::test_table_3_in_small_runs_from_drawn_emoji_to_its_table"
OWN = "tests/e2e/test_own_images.py::test_a_folder_of_images_becomes_a_table_as_the_page_says"
SHOW = "tests/orchestration/test_sweep.py::test_a_row_is_shown_with_the_origin_of_each_value"
SWEEP = "python orchestration/sweep.py sweeps/quickstart.yaml"

SIMULATION = "tests/simulation/test_simulation.py::test_worlds_from_seeds_keep_every_invariant"
RUN_BY = {
    "python docs/make_reference.py": REFERENCE,
    "make demo": HERE,
    "make test": HERE,
    "make setup": HERE,
    "make chaos": HERE,
    "make simulate": SIMULATION,
    "make test-multihost": HERE,
    f"ray job submit --working-dir . -- {SWEEP}": JOB,
    f".venv/bin/{SWEEP}": DIRECT,
    f".venv/bin/{SWEEP} --dry-run": DRY,
    f".venv/bin/{SWEEP} --status": STATUS,
    f".venv/bin/{SWEEP} --stop": STATUS,
    f".venv/bin/{SWEEP} --gc": GC,
    f".venv/bin/{SWEEP} --export-records records": RECORDS,
    f".venv/bin/{SWEEP} --import-records records": RECORDS,
    f".venv/bin/{SWEEP} --max-accelerator-hours 2": BUDGET,
    ".venv/bin/python orchestration/sweep.py sweeps/table1.yaml --check": CHECK,
    ".venv/bin/python orchestration/reproduce.py table2 --scale small": REPRODUCE,
    ".venv/bin/python examples/train_and_sample.py --output runs/example": EXAMPLE,
    ".venv/bin/python -m pip install --constraint constraints.txt --editable '.[benchmark]'": BENCHMARK,
    ".venv/bin/python benchmarks/train_step.py --size S --tokens 256 --batch 8 --threads 2": BENCHMARK,
    ".venv/bin/python benchmarks/gpu.py --output gpu.jsonl": GPU_RATES,
    ".venv/bin/python -m analysis sweeps/quickstart.yaml": ANALYSIS,
    ".venv/bin/mlflow ui --backend-store-uri sqlite:///$PWD/runs/mlflow.db": UI,
    ".venv/bin/python orchestration/measure.py sweeps/quickstart.yaml IMAGES": MEASURE,
    ".venv/bin/python benchmarks/sampling_sweep.py --points 24 --samples 50": SWEEPING,
    ".venv/bin/python benchmarks/frechet.py --dimensions 2048 --samples 4096 16384 --threads 1": FRECHET,
    ".venv/bin/python benchmarks/metric_errors.py": ERRORS,
    ".venv/bin/python orchestration/sweep.py sweeps/figure3_small.yaml": FIGURE3,
    ".venv/bin/python orchestration/sweep.py sweeps/video_small.yaml": VIDEO,
    ".venv/bin/python orchestration/sweep.py sweeps/table1.yaml --dry-run": SITE,
    ".venv/bin/python orchestration/sweep.py sweeps/table1.yaml --site rehearsal.yaml --with sweeps/layers/tiny.yaml"
    " storage.root=/tmp/rehearsal": PAPER,
    ".venv/bin/python orchestration/sweep.py sweeps/table1.yaml --site rehearsal.yaml --with sweeps/layers/tiny.yaml"
    " storage.root=s3://bucket/rehearsal": PAPER,
    ".venv/bin/python examples/draw_emoji.py ~/emoji": EMOJI,
    ".venv/bin/python orchestration/sweep.py sweeps/table3_small.yaml": FLUX,
    ".venv/bin/python -m pip install --constraint constraints.txt --editable '.[flux]'": EMOJI,
    ".venv/bin/python orchestration/sweep.py sweeps/own_images.yaml --dry-run": EMOJI,
    ".venv/bin/python orchestration/sweep.py sweeps/own_images.yaml": OWN,
    "ray job submit --working-dir . -- python orchestration/sweep.py sweeps/table1.yaml": PAPER,
    f'.venv/bin/{SWEEP} --show "paradigm / DFM"': SHOW,
    ".venv/bin/python orchestration/sweep.py sweeps/search_small.yaml --dry-run": SEARCH,
    ".venv/bin/python orchestration/sweep.py sweeps/search_small.yaml": SEARCH,
    ".venv/bin/python orchestration/sweep.py sweeps/search_schedule_small.yaml --dry-run": SCHEDULE,
    ".venv/bin/python benchmarks/sweep_overhead.py --evaluations 1000 --tune 1000 --fresh 8 --trainings 8": OVERHEAD,
    ".venv/bin/python benchmarks/planning.py --trials 1000 10000": PLANNING,
    ".venv/bin/python benchmarks/recovery.py": RECOVERY,
    ".venv/bin/python benchmarks/significance.py --out docs/statistics.md": STATISTICS,
    ".venv/bin/python benchmarks/checkpoint_stall.py --megabytes 16 100 --step-milliseconds 250 --every 100": STALL,
    ".venv/bin/python benchmarks/data.py": DATA,
    ".venv/bin/python benchmarks/encode.py --images 600 --rounds 2": ENCODING,
    ".venv/bin/python benchmarks/read_runs.py --runs 10000 --points 1000": READING,
    ".venv/bin/python benchmarks/read_runs.py --runs 10000 --points 10 --server": SERVED,
    "export AWS_ACCESS_KEY_ID=KEY AWS_SECRET_ACCESS_KEY=SECRET AWS_ENDPOINT_URL=http://127.0.0.1:9000": S3,
    f".venv/bin/{SWEEP} storage.root=s3://bucket/dfm tracking.uri=sqlite:///$PWD/runs/mlflow.db": S3,
    "export RAY_AUTH_MODE=token": HEAD,
    "python -m orchestration.auth_token": HEAD,
    "DFM_STORAGE_ROOT=s3://bucket/dfm ray start --head": HEAD,
    "export RAY_API_SERVER_ADDRESS=http://127.0.0.1:8265": HEAD,
    ".venv/bin/python -m orchestration.doctor --storage s3://bucket/dfm": DOCTOR,
    "python -m orchestration.doctor --storage s3://bucket/dfm": DOCTOR,
    f"{SWEEP} workers.use_gpu=true workers.gpus_per_evaluator=0.5": GPU,
}
"""Documented command -> the test that runs it, or its program on smaller input."""


def documented() -> set[str]:
    lines = [line for page in PAGES for line in page.read_text().splitlines()]
    commands = {re.sub(r"\s+#.*", "", line).strip() for line in lines if line.startswith("    ")}
    return {command for command in commands if command.startswith(_PROGRAMS)}


def test_every_documented_command_is_run_by_a_test() -> None:
    assert documented() == set(RUN_BY)
    scripts = {word for command in RUN_BY for word in command.split() if word.endswith(".py")}
    assert [script for script in sorted(scripts) if not (ROOT / script).is_file()] == []


@pytest.mark.parametrize("test", sorted(set(RUN_BY.values())))
def test_the_tests_named_here_exist(test: str) -> None:
    path, _, name = test.partition("::")
    assert f"def {name}(" in (ROOT / path).read_text()


def test_every_shipped_sweep_is_in_the_list() -> None:
    table = (ROOT / "docs" / "running.md").read_text().partition("| sweep | content | runs |")[2].partition("\n\n")[0]
    listed = re.findall(r"`(\w+\.yaml)`", "".join(line.split("|")[1] for line in table.splitlines()[2:]))
    assert sorted(listed) == sorted(path.name for path in SHIPPED)


@pytest.mark.parametrize(
    "target",
    [
        "demo",
        "test",
        "setup",
        "lint",
        "types",
        "docs",
        "test-slow",
        "test-multihost",
        "test-gpu",
        "test-tex",
        "chaos",
        "hashes",
        "clean",
        "help",
    ],
)
def test_make_knows_its_targets(target: str) -> None:
    done = subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_setting_up_keeps_a_site_file_out_of_git_once_and_in_jobs(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "--quiet", tmp_path], check=True)
    for _ in range(2):
        subprocess.run(["make", "--silent", "-f", ROOT / "Makefile", "exclude-site"], cwd=tmp_path, check=True)
    assert (tmp_path / ".git" / "info" / "exclude").read_text().splitlines().count("sweeps/site.yaml") == 1
    assert "site.yaml" not in (ROOT / ".gitignore").read_text()  # Ray leaves out of a job what it names


def test_the_gpu_command_is_a_valid_sweep(tmp_path: Path) -> None:
    options = ["workers.use_gpu=true", "workers.gpus_per_evaluator=0.5", "--dry-run", f"storage.root={tmp_path}"]
    done = subprocess.run(
        [sys.executable, "orchestration/sweep.py", "sweeps/quickstart.yaml", *options],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_the_reference_is_what_the_code_says_and_no_key_lacks_its_meaning() -> None:
    made = subprocess.run(
        [sys.executable, "-c", "import make_reference; print(make_reference.page(), end='')"],
        cwd=ROOT / "docs",
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    written = (ROOT / "docs" / "reference.md").read_text()
    if sys.version_info[:2] != (3, 11):  # argparse words its help anew in each version of Python
        made, written = (text.partition("## Commands")[0] for text in (made, written))
    assert made == written, "run: python docs/make_reference.py"
    assert "|  |\n" not in written


def test_the_site_is_built_with_search_and_asks_no_other_host(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "sphinx", "--quiet", "--fail-on-warning", "--keep-going", "docs", str(tmp_path)]
    done = subprocess.run(build, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    pages = {path.stem for path in tmp_path.glob("*.html")}
    assert {page.stem for page in (ROOT / "docs").glob("*.md")} <= pages
    assert '"first_stage_prob' in (tmp_path / "searchindex.js").read_text()  # its words are stemmed
    assert {page.stem for page in PAGES if page.parent.name == "tutorials"} <= {
        p.stem for p in tmp_path.rglob("*.html")
    }
    for page in tmp_path.rglob("*.html"):
        loaded = re.findall(
            r"""<(?:script|img|link rel="(?:stylesheet|icon)")[^>]*(?:src|href)="([^"]+)""", page.read_text()
        )
        assert [address for address in loaded if address.startswith(("http", "//"))] == []


def test_whole_sweep_files_on_pages_are_planned(tmp_path: Path) -> None:
    files = [text for page in PAGES for text in re.findall(r"```yaml\n(name: .*?)```", page.read_text(), re.DOTALL)]
    assert len(files) >= 2
    for number, text in enumerate(files):
        sweep = tmp_path / f"{number}.yaml"
        sweep.write_text(text.replace("base: base/", f"base: {ROOT}/sweeps/base/"))
        spec = load_sweep(sweep, [f"storage.root={tmp_path}"])
        assert make_plan(spec).tasks or spec.searches


def test_every_link_to_a_file_leads_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_map_of_the_packages_names_places_that_exist() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text()
    paths = set(re.findall(r"`([a-z_]+/[a-z_/]+\.py)`", text))
    roots = [ROOT, *(ROOT / name for name in ("orchestration", "analysis", "dfm_core"))]
    assert len(paths) > 30
    assert [path for path in sorted(paths) if not any((root / path).exists() for root in roots)] == []


@pytest.mark.parametrize("top", ["orchestration", "analysis", "dfm_core"])
def test_the_map_has_a_line_for_each_package_with_a_module_to_begin_with(top: str) -> None:
    text = (ROOT / "docs" / "architecture.md").read_text()
    table = (
        text.partition("## Map of the packages")[2]
        .partition(f"\n`{top}/`")[2]
        .partition("\n\n|")[2]
        .partition("\n\n")[0]
    )
    rows = dict(re.findall(r"^\| `([a-z_]+)` \|.*\| `([a-z_]+\.py)` \|$", table, re.MULTILINE))
    packages = {path.parent.name for path in (ROOT / top).glob("*/__init__.py")}
    assert packages <= set(rows)
    assert [name for name in sorted(packages) if not (ROOT / top / name / rows[name]).exists()] == []
