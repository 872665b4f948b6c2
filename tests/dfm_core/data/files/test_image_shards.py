"""Tar and Parquet shards: their images as they are, and every way to be damaged told, at any length."""

from __future__ import annotations

import io
import tarfile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dfm_core.data.files.image_shards import ImageShards, open_image_shards
from tests.support.dataset_files import MemoryFiles, arrow, everything, parquet, png, tar

IMAGES = [png(seed) for seed in range(4)]
WEB = tar([item for at, image in enumerate(IMAGES) for item in ((f"{at:04}.png", image), (f"{at:04}.cls", b"%d" % at))])
CLASSES = ("n01", "n02", "n03", "n04")


def opened(contents: dict[str, bytes]) -> ImageShards:
    return open_image_shards(MemoryFiles(contents), CLASSES)


SAVED = arrow(IMAGES, [0, 1, 2, 3])
FOOTED = arrow(IMAGES, [0, 1, 2, 3], footed=True)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("train-000.tar", WEB),
        ("train-000.parquet", parquet(IMAGES, [0, 1, 2, 3])),
        ("data-00000-of-00001.arrow", SAVED),
        ("data.arrow", FOOTED),
    ],
)
def test_a_shard_gives_its_images_and_classes(name: str, content: bytes) -> None:
    sound, bad = everything(opened({name: content, "notes.txt": b""}))
    assert not bad
    assert [sample.content for sample in sound] == IMAGES
    assert [sample.label for sample in sound] == [0, 1, 2, 3]


def test_imagenets_own_tars_are_classes() -> None:
    files = {f"{name}.tar": tar([(f"{name}_1.JPEG", image)]) for name, image in zip(CLASSES, IMAGES, strict=True)}
    sound, bad = everything(opened(files))
    assert not bad
    assert [(sample.label, sample.content) for sample in sound] == list(enumerate(IMAGES))


def test_members_that_are_no_sample_are_named() -> None:
    members = [
        ("a.cls", b"0"),
        ("b.png", IMAGES[0]),
        ("c.png", IMAGES[0]),
        ("c.cls", b"4"),
        ("d.png", IMAGES[0]),
        ("d.cls", b"one"),
        ("e.png", b""),
        ("e.cls", b"1"),
        ("f.png", IMAGES[1]),
        ("f.cls", b"1\n"),
        ("../../g.png", IMAGES[2]),
        ("../../g.cls", b"2"),
        ("f.png", IMAGES[1]),
        ("f.cls", b"1"),
        ("h.png", IMAGES[1]),
        ("h.jpg", IMAGES[1]),
        ("h.cls", b"1"),
    ]
    sound, bad = everything(opened({"x.tar": tar(members)}))
    assert [sample.name for sample in sound] == ["x.tar/../../g", "x.tar/f"]  # names only: nothing is unpacked
    assert {name.removeprefix("x.tar/"): reason.split(":")[0] for name, reason in bad.items()} == {
        "a": "has no image (.png, .jpg, .jpeg, .webp, .bmp, .gif, .tif, .tiff, .ppm, .pgm)",
        "b": "names no class",
        "c": "names no class",
        "d": "names no class",
        "e": "is empty, has more than 268435456 bytes, or two images",
        "f": "stands in the tar twice, with others in between",
        "h": "is empty, has more than 268435456 bytes, or two images",
    }


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE])
def test_links_in_a_tar_are_not_followed_and_named(kind: bytes) -> None:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        for name in ("a.png", "b.cls", "latest"):
            link = tarfile.TarInfo(name)
            link.type, link.linkname = kind, "/etc/passwd"
            archive.addfile(link)
    sound, bad = everything(opened({"n01.tar": content.getvalue()}))
    assert sound == []
    assert set(bad) == {"n01.tar/a", "n01.tar/b"}
    assert "is a link, which is not followed: pack files with `tar --dereference --hard-" in bad["n01.tar/a"]


def test_archives_that_were_joined_by_cat_are_told_and_not_read_in_part() -> None:
    first, second = (tar([(f"{at}.png", IMAGES[at]), (f"{at}.cls", b"1")]) for at in range(2))
    sound, bad = everything(opened({"x.tar": first + second}))
    assert [sample.name for sample in sound] == ["x.tar/0"]
    assert bad["x.tar"].startswith("holds more behind its end, as archives do that were joined by `cat`")
    assert everything(opened({"x.tar": first + bytes(3 * 2**20)}))[1] == {}


@pytest.mark.parametrize(("listed", "named"), [("t\u00fcr", "tu\u0308r"), ("tu\u0308r", "t\u00fcr")])
def test_a_tar_named_as_a_class_in_another_unicode_form_is_of_that_class(listed: str, named: str) -> None:
    files = MemoryFiles({f"{named}.tar": tar([("a.png", png())])})
    ((sample,), bad) = everything(open_image_shards(files, ("n01", listed)))
    assert (sample.label, bad) == (1, {})


def test_a_tar_that_is_cut_off_anywhere_is_told() -> None:
    end = len(WEB.rstrip(b"\0")) // 512 * 512 + 512  # of the last member; zeros follow
    for length in [*range(1, end, 97), *range(512, end + 1, 512)]:
        sound, bad = everything(opened({"x.tar": WEB[:length]}))
        assert "x.tar" in bad, length
        assert [sample.content for sample in sound] == IMAGES[: len(sound)]


def test_a_parquet_file_that_is_cut_off_or_of_another_kind_is_told() -> None:
    whole = parquet(IMAGES, [0, 1, 2, 3])
    for length in range(1, len(whole), 53):
        assert set(everything(opened({"x.parquet": whole[:length]}))[1]) == {"x.parquet"}
    assert "cut off" in everything(opened({"x.parquet": WEB}))[1]["x.parquet"]
    rows = parquet([IMAGES[0], None, b"", IMAGES[1], IMAGES[2]], [3, 0, 0, 4, None])
    sound, bad = everything(opened({"x.parquet": rows}))
    assert [(sample.name, sample.label) for sample in sound] == [("x.parquet/0", 3)]
    assert set(bad) == {f"x.parquet/{row}" for row in (1, 2, 3, 4)}


def test_shards_need_a_class_list_and_a_shard() -> None:
    with pytest.raises(ValueError, match="give a class list without doubles"):
        open_image_shards(MemoryFiles({"x.tar": WEB}), ())
    with pytest.raises(ValueError, match="give a class list without doubles"):
        open_image_shards(MemoryFiles({"x.tar": WEB}), ("a", "a"))
    with pytest.raises(ValueError, match=r"memory://data: holds no shard \(\.tar, \.parquet, \.arrow\)"):
        opened({"a.png": IMAGES[0]})


def test_an_empty_shard_is_left_out() -> None:
    dataset = opened({"x.tar": WEB, "y.tar": b""})
    assert everything(dataset)[1] == {"y.tar": "is empty (0 bytes)"}
    assert dataset.fingerprint != opened({"x.tar": WEB + bytes(512)}).fingerprint


def test_the_order_of_a_listing_changes_nothing() -> None:
    contents = {f"{at}.tar": WEB for at in range(5)}
    one, other = opened(contents), opened(dict(reversed(contents.items())))
    assert one.units == other.units
    assert one.fingerprint == other.fingerprint


def test_what_a_mac_leaves_in_a_tar_parts_no_sample_and_is_named() -> None:
    twin = b"Mac OS X        "
    members = [("._a.png", twin), ("a.png", IMAGES[0]), ("._a.cls", twin), ("a.cls", b"1"), ("__MACOSX/b.png", twin)]
    dataset = opened({"x.tar": tar(members), "._x.tar": twin, ".DS_Store": twin})
    sound, bad = everything(dataset)
    assert [(sample.content, sample.label) for sample in sound] == [(IMAGES[0], 1)]
    assert set(bad) == {"x.tar/._a.png", "x.tar/._a.cls", "x.tar/__MACOSX", "._x.tar", ".DS_Store"}
    assert set(bad.values()) == {"is what operating systems, archivers or editors leave behind"}


def test_a_row_of_parquet_that_was_left_behind_is_no_sample() -> None:
    paths = ["/home/a/.cache/huggingface/0.png", "._1.png", "2.png", None]
    sound, bad = everything(opened({"x.parquet": parquet(IMAGES, [0, 1, 2, 3], paths)}))
    assert [sample.content for sample in sound] == [IMAGES[0], IMAGES[2], IMAGES[3]]
    assert set(bad) == {"x.parquet/1 (._1.png)"}


@pytest.mark.parametrize("whole", [SAVED, FOOTED])
def test_an_arrow_file_that_is_cut_off_anywhere_is_told(whole: bytes) -> None:
    for length in [*range(1, len(whole), 53), *range(len(whole) - 20, len(whole))]:
        sound, bad = everything(opened({"x.arrow": whole[:length]}))
        assert "x.arrow" in bad, length
        assert [sample.content for sample in sound] == IMAGES[: len(sound)]


def test_a_folder_of_save_to_disk_is_read_without_what_its_library_left() -> None:
    cards = {"state.json": b"{}", "dataset_info.json": b"{}", "cache-1b2c3d4e5f607182.arrow": SAVED}
    sound, bad = everything(opened({"data-00000-of-00001.arrow": SAVED} | cards))
    assert [sample.label for sample in sound] == [0, 1, 2, 3]
    assert set(bad) == {"cache-1b2c3d4e5f607182.arrow"}
    both = {
        "dataset_dict.json": b"{}",
        "test/data-00000-of-00001.arrow": SAVED,
        "train/data-00000-of-00001.arrow": SAVED,
    }
    with pytest.raises(ValueError, match="holds the splits test, train together: give the folder of one of them"):
        opened(both)


def test_a_table_of_other_columns_says_which_it_has() -> None:
    table = io.BytesIO()
    pq.write_table(pa.table({"img": [b"x"], "fine_label": [1]}), table)
    reason = everything(opened({"x.parquet": table.getvalue()}))[1]["x.parquet"]
    assert reason == "has no column image and no label; it has img, fine_label; needed: image, label"


@pytest.mark.parametrize("double", ["image", "label"])
def test_a_table_with_a_column_twice_is_told(double: str) -> None:
    names = ["image", "label", double]
    columns = {"image": pa.array([IMAGES[0]]), "label": pa.array([1])}
    content = io.BytesIO()
    pq.write_table(pa.Table.from_arrays([columns[name] for name in names], names=names), content)
    _, bad = everything(opened({"x.parquet": content.getvalue()}))
    assert bad["x.parquet"].startswith(f"has the column {double} more than once; it has image, ")
