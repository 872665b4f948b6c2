"""Leftovers of systems, archivers and editors are known by name at any depth, and told apart from samples."""

from __future__ import annotations

import pytest

from dfm_core.data.files.class_folders import open_class_folders
from dfm_core.data.files.image_files import EXTENSIONS
from dfm_core.data.files.left_behind import left_behind
from tests.support.dataset_files import MemoryFiles, everything, png

CONTENTS = {f"{name}/{at}.png": png(at) for at in range(3) for name in ("ant", "bee")}
LEFT = {
    ".ipynb_checkpoints/0-checkpoint.png": ".ipynb_checkpoints",
    "__MACOSX/ant/._0.png": "__MACOSX",
    ".DS_Store": ".DS_Store",
    "ant/Thumbs.db": "ant/Thumbs.db",
    "ant/desktop.ini": "ant/desktop.ini",
    "ant/._0.png": "ant/._0.png",
    ".git/objects/x.png": ".git",
    "ant/@eaDir/0.png/SYNOPHOTO_THUMB_M.jpg": "ant/@eaDir",
    "lost+found/#12.png": "lost+found",
    "$RECYCLE.BIN/S-1-5/x.png": "$RECYCLE.BIN",
    "System Volume Information/x.png": "System Volume Information",
    "#recycle/x.png": "#recycle",
    ".Trash-1000/files/x.png": ".Trash-1000",
    "ant/.0.png.swp": "ant/.0.png.swp",
    "ant/0.png~": "ant/0.png~",
    "ant/#0.png#": "ant/#0.png#",
    "ant~/0.png": "ant~",
    "Icon\r": "Icon\r",
    "bee/THUMBS.DB": "bee/THUMBS.DB",
}


@pytest.mark.parametrize("path", LEFT)
def test_an_entry_is_known_by_its_name_at_any_depth(path: str) -> None:
    assert left_behind(path) == LEFT[path]
    assert left_behind(f"deep/er/{path}") == f"deep/er/{LEFT[path]}"


@pytest.mark.parametrize(
    "path",
    [
        *CONTENTS,
        "./ant/0.png",
        "../../ant/0.png",
        "a.git/0.png",
        "lost+found.png",
        "my Thumbs.db.png",
        "a~b/0.png",
        "v1..2/x",
        "C#/0.png",
    ],
)
def test_other_names_are_let_alone(path: str) -> None:
    assert left_behind(path) == ""


@pytest.mark.parametrize("path", LEFT)
def test_no_label_moves_for_it_and_no_sample_is_missing(path: str) -> None:
    clean = open_class_folders(MemoryFiles(CONTENTS), EXTENSIONS)
    folder = path.rpartition("/")[0] or "ant"
    found = open_class_folders(MemoryFiles(CONTENTS | {path: png()}, ("ant", "bee", folder)), EXTENSIONS)
    assert (found.class_names, found.labels, found.fingerprint) == (("ant", "bee"), clean.labels, clean.fingerprint)
    sound, bad = everything(found)
    assert (sound, set(bad)) == (everything(clean)[0], {LEFT[path]})
    assert not any(one.is_sample for one in found.left_out)
