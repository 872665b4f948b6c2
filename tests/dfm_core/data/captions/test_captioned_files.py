"""Captioned images in folders and shards: what is read, and what is left out by name."""

from __future__ import annotations

import io
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dfm_core.data.captions.caption import MAX_CAPTION_BYTES, caption_number
from dfm_core.data.captions.captioned_folder import open_captioned_folder
from dfm_core.data.captions.captioned_shards import open_captioned_shards
from tests.support.dataset_files import MemoryFiles, everything, png, tar

ROSE, TREE = png(1), png(2)
JSON = json.dumps({"caption": "a tree", "text": "baum"}).encode()


def test_folder_gives_each_image_with_its_caption() -> None:
    files = {"a/rose.png": ROSE, "a/rose.txt": b"a rose\n", "tree.v2.PNG": TREE, "tree.v2.json": JSON}
    samples, bad = everything(open_captioned_folder(MemoryFiles(files)))
    assert {one.name: (one.caption, one.content) for one in samples} == {
        "a/rose.png": ("a rose", ROSE),
        "tree.v2.PNG": ("a tree", TREE),
    }
    assert {one.label for one in samples} == {caption_number("a rose"), caption_number("a tree")}
    assert not bad


def test_folder_takes_the_text_before_the_json() -> None:
    files = {"tree.png": TREE, "tree.json": JSON, "tree.txt": b"the text"}
    (sample,), _ = everything(open_captioned_folder(MemoryFiles(files)))
    assert sample.caption == "the text"


def test_folder_reads_the_key_that_is_named() -> None:
    dataset = open_captioned_folder(MemoryFiles({"tree.png": TREE, "tree.json": JSON}), "text")
    (sample,), _ = everything(dataset)
    assert sample.caption == "baum"
    assert dataset.fingerprint != open_captioned_folder(MemoryFiles({"tree.png": TREE, "tree.json": JSON})).fingerprint


def test_folder_names_everything_that_it_leaves_out() -> None:
    files = {
        "ok.png": ROSE,
        "ok.txt": b"rose",
        "alone.png": ROSE,
        "blank.png": ROSE,
        "blank.txt": b"  ",
        "latin.png": ROSE,
        "latin.txt": b"caf\xe9",
        "twice.jpg": TREE,
        "twice.png": TREE,
        "twice.txt": b"tree",
        "nothing.png": b"",
        "nothing.txt": b"tree",
        "novel.png": TREE,
        "novel.txt": b"x" * (MAX_CAPTION_BYTES + 1),
        ".DS_Store": b"x",
        "readme.md": b"not a sample",
        "phone.HEIC": ROSE,
        "phone.txt": b"rose",
    }
    samples, bad = everything(open_captioned_folder(MemoryFiles(files)))
    assert sorted(one.name for one in samples) == ["ok.png", "twice.jpg"]
    assert bad == {
        "alone.png": "has no .txt or .json of its name beside it",
        "blank.png": "has an empty caption",
        "latin.png": "has a caption that is not UTF-8 (byte 3)",
        "novel.png": "has a caption of 1048577 bytes; at most 1048576 are read",
        "twice.png": "has the name, and so the caption, of twice.jpg",
        "nothing.png": "is empty (0 bytes)",
        "phone.HEIC": "is a file .HEIC, which is not read: convert it",
        ".DS_Store": "is what operating systems, archivers or editors leave behind",
    }


def test_folder_without_captions_says_what_is_needed() -> None:
    with pytest.raises(ValueError, match=r"holds no image beside a caption .*a.png: has no .txt or .json of its name"):
        open_captioned_folder(MemoryFiles({"a.png": ROSE, "b.png": ROSE}))
    with pytest.raises(ValueError, match="layout: image_shards reads them"):
        open_captioned_folder(MemoryFiles({"a.tar": b"x"}))


def test_fingerprint_sees_captions_and_not_the_order_of_the_listing() -> None:
    files = {"a.png": ROSE, "a.txt": b"rose", "b.png": TREE, "b.txt": b"tree"}
    first = open_captioned_folder(MemoryFiles(files))
    again = open_captioned_folder(MemoryFiles(dict(reversed(files.items()))))
    longer = open_captioned_folder(MemoryFiles(files | {"b.txt": b"a tree"}))
    assert first.fingerprint == again.fingerprint != longer.fingerprint
    assert first.units == again.units


def test_tar_gives_captions_and_names_what_has_none() -> None:
    members = [
        ("a.png", ROSE),
        ("a.txt", b"a rose"),
        ("b.json", JSON),
        ("b.png", TREE),
        ("c.png", TREE),
        ("c.cls", b"3"),
        ("d.txt", b"no image"),
        ("e.png", TREE),
        ("e.txt", b"\xff"),
    ]
    samples, bad = everything(open_captioned_shards(MemoryFiles({"x.tar": tar(members)})))
    assert [(one.name, one.caption) for one in samples] == [("x.tar/a", "a rose"), ("x.tar/b", "a tree")]
    assert bad == {
        "x.tar/c": "has no .txt or .json of at most 1048576 bytes beside it",
        "x.tar/d": "has no image (.png, .jpg, .jpeg, .webp, .bmp, .gif, .tif, .tiff, .ppm, .pgm)",
        "x.tar/e": "has a caption that is not UTF-8 (byte 0)",
    }


def parquet(captions: list[object], column: str = "caption") -> bytes:
    images = [{"bytes": png(number), "path": None} for number in range(len(captions))]
    content = io.BytesIO()
    pq.write_table(pa.table({"image": images, column: captions}), content)
    return content.getvalue()


def test_parquet_gives_the_column_that_is_named() -> None:
    files = MemoryFiles({"x.parquet": parquet(["rose", None, " tree "], "text")})
    samples, bad = everything(open_captioned_shards(files, "text"))
    assert [(one.name, one.caption) for one in samples] == [("x.parquet/0", "rose"), ("x.parquet/2", "tree")]
    assert bad == {"x.parquet/1": "has a caption that is no text (NoneType)"}


def test_parquet_without_the_column_says_which_it_has() -> None:
    samples, bad = everything(open_captioned_shards(MemoryFiles({"x.parquet": parquet(["rose"], "text")})))
    assert not samples
    assert bad == {"x.parquet": "has no column caption; it has image, text; needed: image, caption"}
