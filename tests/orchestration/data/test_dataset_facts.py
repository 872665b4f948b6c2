"""The user's files in words: classes with their labels, numbers, and what is no part of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from dfm_core.data.files.class_folders import open_class_folders
from dfm_core.data.files.image_files import EXTENSIONS
from orchestration.commands.sweep_modes import run_mode
from orchestration.common.errors import UserError
from orchestration.data.dataset_facts import DatasetFacts
from tests.support.dataset_files import MemoryFiles, png
from tests.support.encodings import make_files

SWEEP = """
name: insects
datasets: {{insects: {{files: {folder}/train, reference: {folder}/reference}}}}
data: {{dataset: insects, side: 16}}
decomposition: {{resolutions: [8, 16]}}
model: {{size: nano, patch_sizes: [1, 2]}}
sampling: {{steps: [2, 1]}}
training: {{steps: 2, batch_size: 2, warmup_steps: 1}}
evaluation: {{num_samples: 8, metrics: [fd_lite0_block10]}}
storage: {{root: {folder}/root}}
parts: {{all: {{rows: {{DFM: {{}}}}}}}}
"""


def facts(*names: str, beside: tuple[str, ...] = ()) -> str:
    images = {f"{name}/{at}.png": png(at) for name in names for at in range(2)}
    files = MemoryFiles(images | dict.fromkeys(beside, b"x"))
    return DatasetFacts.of(open_class_folders(files, EXTENSIONS), files.listing()).text("data")


def test_the_first_and_last_classes_are_shown_with_their_labels() -> None:
    assert facts("ant", "bee") == "data: 4 files, 2 classes: ant (0), bee (1)."
    assert facts(*"abcdefgh") == "data: 16 files, 8 classes: a (0), b (1), c (2), ..., g (6), h (7)."
    assert r"'a\x1b[2J' (0)" in facts("a\x1b[2J")


def test_few_real_images_to_measure_against_are_told() -> None:
    for num_units, is_told in ((99, True), (100, False)):
        few = DatasetFacts("fingerprint", ("ant",), num_units)
        assert few.text("data, reference", counts_real=True).endswith("take some hundreds.") == is_told
        assert "some hundreds" not in few.text("data")


def test_the_plan_shows_classes_and_what_was_left_behind(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_files(tmp_path)
    checkpoints = tmp_path / "train" / ".ipynb_checkpoints"
    checkpoints.mkdir()
    (checkpoints / "0-checkpoint.png").write_bytes(png())
    (tmp_path / "sweep.yaml").write_text(SWEEP.format(folder=tmp_path))
    assert run_mode("dry-run", tmp_path / "sweep.yaml", [], confirmed=False) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "insects: 20 files, 2 classes: ant (0), bee (1). 1 entry that a system, archiver or editor leaves" in shown
    assert "such as .ipynb_checkpoints." in shown
    assert "insects, reference: 8 files, 2 classes: ant (0), bee (1)." in shown


def test_what_cannot_be_used_by_its_name_is_told_when_the_sweep_is_planned(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_files(tmp_path)
    (tmp_path / "train" / "bee" / "a\\b.png").write_bytes(png())
    sweep = tmp_path / "sweep.yaml"
    sweep.write_text(SWEEP.format(folder=tmp_path))
    with pytest.raises(UserError, match=r"1 of 21 files cannot be used: bee/a\\b\.png: has a name .*max_bad_share"):
        run_mode("dry-run", sweep, [], confirmed=False)
    assert run_mode("dry-run", sweep, ["datasets.insects.max_bad_share=0.1"], confirmed=False) == 0
    assert r"Left out: 1, such as bee/a\b.png: has a name" in " ".join(capsys.readouterr().out.split())


def test_numbers_in_the_order_of_text_are_said_to_be() -> None:
    assert "0 (0), 1 (1), 10 (2), ..., 8 (10), 9 (11). Their order is that of text, 11 before 2;" in facts(
        *map(str, range(12))
    )
    for names in (map(str, range(10)), (f"{at:02}" for at in range(12)), ("a1", "a10", "a2")):
        assert "order" not in facts(*names)


def test_classes_that_are_splits_are_doubted() -> None:
    assert "These look like splits, not classes" in facts("train", "val")
    assert "splits" not in facts("train", "car")


def test_files_of_formats_that_are_not_read_are_counted() -> None:
    told = facts("ant", "bee", beside=("ant/0.heic", "bee/.DS_Store"))
    assert "Other files, which are let alone: 1, such as ant/0.heic." in told
    assert "Other" not in facts("ant", "bee")
