"""Files by class: all of them in an order of their own, and whatever is wrong named with its reason."""

from __future__ import annotations

import re
from typing import Literal, get_args
from unicodedata import normalize

import pytest

from dfm_core.data.files.class_folders import SingleFiles, open_class_folders, open_list
from dfm_core.data.files.image_files import EXTENSIONS, MAX_FILE_BYTES
from dfm_core.data.files.other_layouts import CLIP_EXTENSIONS
from dfm_core.data.files.raw_samples import DataFile, Listing
from tests.support.dataset_files import MemoryFiles, everything, png
from tests.support.work import CountedName

CONTENTS = {f"{name}/{index:03}.png": png(index) for index in range(40) for name in ("cat", "ant", "bee")}

Form = Literal["NFC", "NFD"]
FORMS: tuple[Form, ...] = get_args(Form)


def opened(contents: dict[str, bytes] = CONTENTS, folders: tuple[str, ...] = ()) -> SingleFiles:
    return open_class_folders(MemoryFiles(contents, folders), EXTENSIONS)


def test_every_file_is_a_sample_of_its_folders_class() -> None:
    dataset = opened()
    assert dataset.class_names == ("ant", "bee", "cat")
    sound, bad = everything(dataset)
    assert not bad
    assert {sample.name: sample.content for sample in sound} == CONTENTS
    assert all(dataset.class_names[sample.label] == sample.name.split("/")[0] for sample in sound)


def test_the_order_mixes_the_classes_and_is_that_of_the_names_alone() -> None:
    names = [unit.name for unit in opened().units]
    assert names == [unit.name for unit in opened(dict(sorted(CONTENTS.items()))).units]
    for begin in range(0, 120, 30):  # a shard of any 30 of 120 samples holds all classes
        assert {name.split("/")[0] for name in names[begin : begin + 30]} == {"ant", "bee", "cat"}


def test_the_fingerprint_is_of_names_sizes_and_classes() -> None:
    known = opened().fingerprint
    assert opened(dict(reversed(CONTENTS.items()))).fingerprint == known
    longer = CONTENTS | {"ant/000.png": CONTENTS["ant/000.png"] + b"x"}
    moved = {name.replace("ant/000", "bee/900"): content for name, content in CONTENTS.items()}
    fewer = {name: content for name, content in CONTENTS.items() if name != "ant/000.png"}
    renamed = {name.replace("ant/", "aunt/"): content for name, content in CONTENTS.items()}
    prints = {opened(contents).fingerprint for contents in (longer, moved, fewer, renamed)}
    assert len(prints | {known}) == 5
    reordered = open_class_folders(MemoryFiles(CONTENTS), EXTENSIONS, ("cat", "ant", "bee"))
    assert reordered.fingerprint != known
    assert reordered.labels["cat/000.png"] == 0


def test_what_the_listing_tells_to_be_no_sample_is_named() -> None:
    odd = {
        "stray.png": png(),
        "ant/empty.png": b"",
        "ant/000.jpg": png(),
        "ant/notes.txt": b"left alone",
        "README": b"",
    }
    dataset = opened(CONTENTS | odd, ("ant", "bee", "cat", "dog", "ant/deeper"))
    sound, bad = everything(dataset)
    assert bad == {
        "stray.png": "lies beside the folders, which are classes",
        "ant/empty.png": "is empty (0 bytes)",
        "ant/000.png": "has the name of ant/000.jpg",
        "dog": "is a class without samples",
    }
    assert len(sound) == len(CONTENTS)


def test_a_file_that_is_too_large_is_never_read() -> None:
    files = MemoryFiles(CONTENTS)
    listing = Listing((*files.listing().files, DataFile("ant/huge.png", MAX_FILE_BYTES + 1)), ())
    files.listing = lambda: listing  # type: ignore[method-assign]
    assert [bad.file for bad in open_class_folders(files, EXTENSIONS).left_out] == ["ant/huge.png"]


def test_a_file_that_went_or_changed_since_the_listing_is_left_out() -> None:
    files = MemoryFiles(CONTENTS)
    dataset = open_class_folders(files, EXTENSIONS)
    del files.contents["ant/000.png"]
    files.contents["bee/000.png"] += b"more"
    _, bad = everything(dataset)
    assert set(bad) == {"ant/000.png", "bee/000.png"}
    assert "has gone since" in bad["ant/000.png"]
    assert "when the dataset was listed" in bad["bee/000.png"]


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (("ant", "bee"), "3 classes, the class list has 2; the class list does not have: 'cat'"),
        (("ant", "bee", "cat", "dog"), "of the class list there are no samples: 'dog'"),
        (("ant", "bees", "cat"), "no samples: 'bees' (there is 'bee'); the class list does not have: 'bee'"),
        (("ant", "bee", "cat", "ant"), "the class list names twice: 'ant'"),
    ],
)
def test_a_class_list_that_does_not_match_is_told_whole(wanted: tuple[str, ...], message: str) -> None:
    with pytest.raises(ValueError, match=f"^memory://data: .*{re.escape(message)}"):
        open_class_folders(MemoryFiles(CONTENTS), EXTENSIONS, wanted)


@pytest.mark.parametrize(("listed", "there"), [("NFC", "NFD"), ("NFD", "NFC")])
def test_names_that_differ_in_their_unicode_form_alone_are_the_same(listed: Form, there: Form) -> None:
    contents = {normalize(there, name): png() for name in ("Äpfel/é.png", "Birne/1.png")}
    classes = [normalize(listed, name) for name in ("Birne", "Äpfel")]
    dataset = open_class_folders(MemoryFiles(contents), EXTENSIONS, classes)
    assert dataset.class_names == ("Birne", normalize(there, "Äpfel"))
    assert dataset.labels == {"Birne/1.png": 0, normalize(there, "Äpfel/é.png"): 1}
    rows = "".join(f"{normalize(listed, path)},{path.split('/')[0]}\n" for path in contents)
    by_list = open_list(MemoryFiles(contents), f"path,label\n{rows}", EXTENSIONS, classes)
    assert by_list.labels == dataset.labels
    assert everything(by_list) == everything(dataset)


def test_a_class_in_both_unicode_forms_is_two_classes() -> None:
    both = {f"{normalize(form, 'ä')}/1.png": png() for form in FORMS}
    wanted = [normalize("NFD", "ä"), normalize("NFC", "ä")]
    assert open_class_folders(MemoryFiles(both), EXTENSIONS, wanted).class_names == tuple(wanted)


@pytest.mark.parametrize("contents", [{}, {"ant/a.txt": b"x"}, {"ant/a.png": b""}])
def test_a_place_without_samples_is_refused(contents: dict[str, bytes]) -> None:
    with pytest.raises(ValueError, match=r"memory://data: holds no file \.png"):
        opened(contents)


def test_files_in_no_folder_are_told_to_be_moved_into_one() -> None:
    flat = {"a.png": png(0), "b.png": png(1)}
    with pytest.raises(ValueError, match=r"no folder of a class; move them into one, e\.g\. memory://data/all, "):
        opened(flat)
    assert opened({f"all/{name}": content for name, content in flat.items()}).class_names == ("all",)


CLIPS = {"v/one.mp4": b"1", "v/two.mp4": b"22", "v/three.avi": b"333"}


def test_a_list_gives_each_file_its_class() -> None:
    listed = "path,label,extra\nv/two.mp4,run,\nv/one.mp4,jump,\n"
    dataset = open_list(MemoryFiles(CLIPS), listed, CLIP_EXTENSIONS)
    sound, bad = everything(dataset)
    assert not bad
    assert dataset.class_names == ("jump", "run")
    assert [(sample.name, sample.label) for sample in sound] == [("v/one.mp4", 0), ("v/two.mp4", 1)]


def test_a_list_of_other_classes_is_another_dataset() -> None:
    lists = ["path,label\nv/one.mp4,a\nv/two.mp4,b\n", "path,label\nv/one.mp4,b\nv/two.mp4,a\n"]
    one, other = (open_list(MemoryFiles(CLIPS), listed, CLIP_EXTENSIONS) for listed in lists)
    assert one.class_names == other.class_names
    assert one.fingerprint != other.fingerprint


def test_lines_of_a_list_that_fit_nothing_are_named() -> None:
    listed = "path,label\nv/one.mp4,run\nv/one.mp4,jump\nv/four.mp4,run\nv/two.mp4,\nv/three.avi,run\n../x.mp4,run\n"
    _, bad = everything(open_list(MemoryFiles(CLIPS), listed, CLIP_EXTENSIONS))
    assert set(bad) == {"v/one.mp4", "v/four.mp4", "v/two.mp4", "../x.mp4"}
    assert bad["v/one.mp4"] == "is in the list twice, as 'run' and 'jump'"
    assert bad["v/four.mp4"] == "is in the list, but not there"


@pytest.mark.parametrize(
    ("listed", "message"),
    [
        ("", "the list has the columns none; needed: path, label"),
        ("file,class\na,b\n", "the list has the columns file, class; needed"),
        ('path,label\nv/one.mp4,run\n"v/two.mp4,run\n', "of the list is no CSV (unexpected end of data)"),
        ("path,label\nnone.mp4,run\n", "the list names no file that is there; none.mp4: is in the list, but not there"),
    ],
)
def test_a_list_of_another_form_is_refused(listed: str, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        open_list(MemoryFiles(CLIPS), listed, CLIP_EXTENSIONS)


def test_a_list_that_names_what_was_left_behind_has_no_sample_there() -> None:
    clips = CLIPS | {"v/._one.mp4": b"Mac OS X", ".ipynb_checkpoints/one.mp4": b"1"}
    listed = "path,label\n" + "".join(f"{path},run\n" for path in clips)
    dataset = open_list(MemoryFiles(clips), listed, CLIP_EXTENSIONS)
    assert {one.file for one in dataset.left_out if not one.is_sample} == {"v/._one.mp4", ".ipynb_checkpoints"}
    assert {unit.name for unit in dataset.units} == set(CLIPS)


def test_a_list_with_the_paths_of_windows_is_told_how_paths_are_written() -> None:
    _, bad = everything(open_list(MemoryFiles(CLIPS), "path,label\nv/one.mp4,run\nv\\two.mp4,run\n", CLIP_EXTENSIONS))
    assert bad == {"v\\two.mp4": "is in the list, but not there; paths have forward slashes"}


@pytest.mark.parametrize("layout", ["list", "class_folders"])
def test_no_file_is_compared_with_every_class(layout: str) -> None:
    names = [f"n{at % 500:05}/{at}.png" for at in range(1000)]
    files, classes = MemoryFiles(dict.fromkeys(names, b"x")), [CountedName(f"n{number:05}") for number in range(500)]
    CountedName.num_compared = 0
    if layout == "list":
        open_list(files, "path,label\n" + "".join(f"{name},{name[:6]}\n" for name in names), EXTENSIONS, classes)
    else:
        open_class_folders(files, EXTENSIONS, classes)
    assert CountedName.num_compared <= 5 * len(names)


@pytest.mark.parametrize(
    ("extensions", "name"), [(EXTENSIONS, "ant/IMG_1.HEIC"), (EXTENSIONS, "ant/a.jfif"), (CLIP_EXTENSIONS, "ant/a.mpg")]
)
def test_what_is_a_picture_or_clip_of_a_kind_that_is_not_read_is_named(extensions: tuple[str, ...], name: str) -> None:
    sample = f"ant/one{extensions[0]}"
    contents = {sample: b"x", f"bee/two{extensions[0]}": b"x", "ant/one.cr2": b"x", "ant/one.3gp": b"x", name: b"x"}
    dataset = open_class_folders(MemoryFiles(contents), extensions)
    assert {one.file: one.is_sample for one in dataset.left_out} == {name: True}
    assert "which is not read: convert it" in dataset.left_out[0].reason


def test_spaces_around_the_names_of_a_list_make_no_other_class() -> None:
    listed = " path , label\nv/one.mp4, run\nv/two.mp4,run \nv/three.avi,\tjump\n"
    dataset = open_list(MemoryFiles(CLIPS), listed, CLIP_EXTENSIONS)
    assert dataset.class_names == ("jump", "run")
    assert dataset.labels == {"v/one.mp4": 1, "v/two.mp4": 1, "v/three.avi": 0}


def test_a_label_with_a_comma_is_never_cut() -> None:
    quoted = open_list(MemoryFiles(CLIPS), 'path,label\nv/one.mp4,"shark, great white"\n', CLIP_EXTENSIONS)
    assert quoted.class_names == ("shark, great white",)
    with pytest.raises(ValueError, match="line 2 of the list has more values than 2 columns: put texts with commas"):
        open_list(MemoryFiles(CLIPS), "path,label\nv/one.mp4,shark, great white\n", CLIP_EXTENSIONS)
