"""The paper's sweeps, unedited, on a small site: from the file to the report."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.test_own_head import kill_group, listening
from tests.support.ports import free_port
from tests.support.ray_nodes import NodePlan, ray_cluster
from tests.support.small_flux_site import write_small_flux_site
from tests.support.small_site import write_small_site
from tests.support.sweeps import ROOT, environment, python, wait_until

TINY = ROOT / "sweeps" / "layers" / "tiny.yaml"
SWEEPS = ("table1", "table2_imagenet512", "table2_imagenet1024", "table2_kinetics512", "figure3", "table4")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_small_site(tmp_path_factory.mktemp("site"))


@pytest.mark.slow
@pytest.mark.parametrize("sweep", SWEEPS)
def test_a_sweep_of_the_paper_runs_unedited_to_its_tables(site: Path, tmp_path: Path, sweep: str) -> None:
    options = ("--site", str(site), "--with", str(TINY), f"storage.root={tmp_path}")
    done = python("orchestration/sweep.py", f"sweeps/{sweep}.yaml", *options, seconds=3600)
    assert done.returncode == 0, done.stdout + done.stderr
    assert_reported(tmp_path / "reports" / sweep)


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_table_3_runs_unedited_to_its_tables(tmp_path: Path) -> None:
    """At the paper's sides, 512 and 1024 px, so with the fewest steps and samples that show all of it."""
    site = write_small_flux_site(tmp_path / "site")
    few = ["training.steps=2", "evaluation.num_samples=4", "training.batch_size=2", "workers.micro_batch_size=2"]
    few += [f"autoencoders.flux_se.made.training.{key}=2" for key in ("steps", "batch_size")]
    options = ("--site", str(site), "--with", str(TINY), f"storage.root={tmp_path}/store", *few)
    done = python("orchestration/sweep.py", "sweeps/table3.yaml", *options, seconds=7200)
    assert done.returncode == 0, done.stdout + done.stderr
    assert_reported(tmp_path / "store/reports/table3")
    assert list((tmp_path / "store/reports/table3/figures").glob("samples-2-gallery.png"))


def assert_reported(report: Path) -> None:
    with (report / "table.csv").open() as file:
        cells = list(csv.DictReader(file))
    assert {cell["status"] for cell in cells} == {"done"}
    assert list((report / "figures").glob("*convergence*"))
    assert "tiny.yaml" in (report / "report.html").read_text()


@pytest.mark.slow
def test_the_promise_holds_on_a_cluster_of_two_nodes(site: Path, tmp_path: Path) -> None:
    """`ray job submit --working-dir . -- python orchestration/sweep.py sweeps/table1.yaml`, and nothing else."""
    dashboard, agent = free_port(), free_port()
    given = {"DFM_SITE": str(site), "DFM_WITH": str(TINY)}
    head = NodePlan(
        2, options=[f"--dashboard-port={dashboard}", f"--dashboard-agent-listen-port={agent}"], environment=given
    )
    with ray_cluster(tmp_path, [head, NodePlan(2)]) as cluster:
        wait_until(lambda: listening(dashboard), "the jobs API", seconds=120)
        tools = Path(sys.executable).parent
        own = environment() | {**cluster.environment, "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}"}
        del own["RAY_ADDRESS"]
        own["RAY_API_SERVER_ADDRESS"] = f"http://127.0.0.1:{dashboard}"
        submit = "ray job submit --working-dir . -- python orchestration/sweep.py sweeps/table1.yaml"
        job = subprocess.Popen(
            submit.split(), cwd=ROOT, env=own, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            start_new_session=True,
        )  # fmt: skip
        try:
            output, _ = job.communicate(timeout=3600)
        finally:
            if job.poll() is None:
                job.send_signal(signal.SIGTERM)
                kill_group(job.pid)
    assert job.returncode == 0, output
    assert_reported(site.parent / "store" / "reports" / "table1")
