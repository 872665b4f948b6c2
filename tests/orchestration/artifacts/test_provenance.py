"""Commit and uncommitted changes of the code: kept from any checkout, found again where there is no git."""

from __future__ import annotations

import shutil
import subprocess
from functools import partial
from pathlib import Path

import pytest

from orchestration.artifacts.provenance import record_source, source_digest
from orchestration.commands import sweep_modes
from orchestration.storage.store import Store
from orchestration.sweep import main
from tests.orchestration.conftest import QUICKSTART


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A checkout with one commit."""
    root = tmp_path / "project"
    for name in ("dfm_core/flow.py", "sweeps/a.yaml", "docs/x.md", "pyproject.toml"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("one\n", encoding="utf-8")
    git(root, "init", "-q")
    git(root, "add", ".")
    git(root, "commit", "-qm", "first")
    return root


def git(root: Path, *arguments: str) -> str:
    command = ["git", "-C", str(root), "-c", "user.name=n", "-c", "user.email=e", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def test_the_diff_has_changed_and_new_files_of_the_code(project: Path, store: Store) -> None:
    (project / "dfm_core" / "flow.py").write_text("two ü\n", encoding="utf-8")
    (project / "dfm_core" / "new file.py").write_text("new\n", encoding="utf-8")
    (project / "dfm_core" / "empty.py").touch()
    (project / "dfm_core" / "data.bin").write_bytes(bytes(1000))
    (project / ".gitignore").write_text("ignored.py\n", encoding="utf-8")
    (project / "dfm_core" / "ignored.py").write_text("ignored\n", encoding="utf-8")
    record = record_source(store, project)
    assert record["git_commit"] == git(project, "rev-parse", "HEAD").strip()
    assert "-one\n+two ü\n" in record["uncommitted_diff"]
    assert "+new\n" in record["uncommitted_diff"]
    assert "b/dfm_core/empty.py" in record["uncommitted_diff"]
    assert "data.bin" not in record["uncommitted_diff"]
    assert "ignored" not in record["uncommitted_diff"]
    git(project, "checkout", "-q", "dfm_core/flow.py")
    (project / "dfm_core" / "new file.py").unlink()
    (project / "changes").write_text(record["uncommitted_diff"], encoding="utf-8")
    git(project, "apply", "--exclude=dfm_core/empty.py", "changes")
    assert (project / "dfm_core" / "new file.py").read_text(encoding="utf-8") == "new\n"
    assert (project / "dfm_core" / "flow.py").read_text(encoding="utf-8") == "two ü\n"


@pytest.mark.parametrize("variable", ["GIT_DIR", "GIT_WORK_TREE", "GIT_OBJECT_DIRECTORY"])
def test_a_hooks_variables_name_no_other_repository(
    project: Path, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    (project / "dfm_core" / "flow.py").write_text("two\n", encoding="utf-8")
    right = record_source(store, project)
    other = tmp_path / "other"
    shutil.copytree(project, other)
    git(other, "commit", "-qam", "second")
    (other / "dfm_core" / "flow.py").write_text("three\n", encoding="utf-8")
    places = {"GIT_DIR": ".git", "GIT_WORK_TREE": ".", "GIT_OBJECT_DIRECTORY": "none"}
    monkeypatch.setenv(variable, str(other / places[variable]))
    assert record_source(Store(str(tmp_path / "elsewhere")), project) == right
    assert "+two\n" in right["uncommitted_diff"]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("color.ui", "always"),
        ("diff.noprefix", "true"),
        ("diff.mnemonicPrefix", "true"),
        ("diff.external", "/bin/echo"),
        ("diff.orderFile", "/nonexistent"),
    ],
)
def test_the_diff_is_a_patch_whatever_git_is_configured_to_show(
    project: Path, store: Store, tmp_path: Path, key: str, value: str
) -> None:
    (project / "dfm_core" / "flow.py").write_text("two\n", encoding="utf-8")
    (project / "dfm_core" / "new.py").write_text("new\n", encoding="utf-8")
    right = record_source(store, project)["uncommitted_diff"]
    git(project, "config", key, value)
    assert record_source(Store(str(tmp_path / "elsewhere")), project)["uncommitted_diff"] == right
    assert right.startswith("diff --git a/dfm_core/flow.py b/dfm_core/flow.py\n")


def test_an_open_editor_is_no_other_version(project: Path, store: Store) -> None:
    before = record_source(store, project)
    (project / "dfm_core" / ".#flow.py").symlink_to("me@host.4711:1700000000")
    (project / "dfm_core" / ".ipynb_checkpoints").mkdir()
    (project / "dfm_core" / ".ipynb_checkpoints" / "flow-checkpoint.py").write_text("one\n", encoding="utf-8")
    (project / "dfm_core" / "moved.py").symlink_to("gone.py")
    assert record_source(store, project) == before
    assert before["uncommitted_diff"] == ""


def test_a_sweep_or_a_page_that_is_edited_is_no_other_version(project: Path, store: Store) -> None:
    before = record_source(store, project)
    (project / "sweeps" / "a.yaml").write_text("num_trials: 9\n", encoding="utf-8")
    (project / "sweeps" / "b.yaml").write_text("new\n", encoding="utf-8")
    (project / "docs" / "x.md").write_text("other words\n", encoding="utf-8")
    assert record_source(store, project) == before
    assert before["uncommitted_diff"] == ""


def test_a_checkout_of_another_user_keeps_its_commit(
    project: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    with pytest.raises(subprocess.CalledProcessError):
        git(project, "rev-parse", "HEAD")
    assert len(record_source(store, project)["git_commit"]) == 40


def test_a_checkout_that_git_cannot_read_is_told(project: Path, store: Store, caplog: pytest.LogCaptureFixture) -> None:
    (project / ".git" / "HEAD").write_text("nonsense", encoding="utf-8")
    assert record_source(store, project)["git_commit"] == "unknown: no git here"
    assert "is not recorded: fatal: not a git repository" in caplog.text


@pytest.mark.parametrize("is_there", [True, False])
def test_a_dry_run_from_the_checkout_records_what_a_job_without_git_finds(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_there: bool
) -> None:
    monkeypatch.setattr(sweep_modes, "record_source", partial(record_source, root=project))
    root = tmp_path / "runs"
    if is_there:
        root.mkdir()
    assert main([str(QUICKSTART), "--dry-run", f"storage.root={root}"]) == 0
    commit = git(project, "rev-parse", "HEAD").strip()
    assert root.exists() == is_there
    if is_there:
        job = tmp_path / "job"
        shutil.copytree(project, job, ignore=shutil.ignore_patterns(".git"))
        assert source_digest(job) == source_digest(project)
        assert record_source(Store(str(root)), job)["git_commit"] == commit


def test_a_dry_run_on_a_root_that_is_only_read_says_that_nothing_is_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(_store: Store) -> None:
        raise PermissionError("read-only")

    monkeypatch.setattr(sweep_modes, "record_source", refuse)
    assert main([str(QUICKSTART), "--dry-run", f"storage.root={tmp_path}"]) == 0
    assert "not recorded for jobs: PermissionError: read-only" in capsys.readouterr().err
