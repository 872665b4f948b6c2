"""Captions: their numbers, and reading them out of files."""

from __future__ import annotations

import hashlib
import json

import pytest

from dfm_core.data.captions.caption import (
    caption_in_json,
    caption_in_text,
    caption_in_value,
    caption_number,
    plain_caption,
)
from dfm_core.data.files.sample_labels import UnusableLabelError
from dfm_core.models.text_tables import NULL_CAPTION


def test_number_is_the_first_63_bits_of_the_sha256() -> None:
    digest = hashlib.sha256(b"rose on a blue background").hexdigest()
    assert caption_number("rose on a blue background") == int(digest[:16], 16) // 2


def test_null_caption_is_the_number_of_the_empty_text() -> None:
    # sha256("") begins with e3b0c44298fc1c14
    assert caption_number("") == NULL_CAPTION == 0xE3B0C44298FC1C14 >> 1


def test_numbers_fit_into_int64() -> None:
    numbers = [caption_number(str(number)) for number in range(2000)]
    assert min(numbers) >= 0
    assert 2**62 < max(numbers) < 2**63
    assert len(set(numbers)) == len(numbers)


@pytest.mark.parametrize("same", ["a  rose", " a rose\n", "a\trose", "a\r\nrose", "\ufeffa rose".lstrip("\ufeff")])
def test_spaces_make_no_other_caption(same: str) -> None:
    assert caption_number(same) == caption_number("a rose")


def test_composed_and_decomposed_letters_are_one_caption() -> None:
    assert caption_number("caf\u0065\u0301") == caption_number("caf\u00e9")
    assert plain_caption("caf\u0065\u0301") == "caf\u00e9"


def test_upper_case_is_another_caption() -> None:
    assert caption_number("Rose") != caption_number("rose")


def test_text_may_begin_with_a_byte_order_mark() -> None:
    assert caption_in_text(b"\xef\xbb\xbfrose\n") == "rose"


def test_long_caption_is_kept_whole() -> None:
    text = "rose " * 2000
    assert caption_in_text(text.encode()) == text.strip()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "has an empty caption"),
        (b" \n\t", "has an empty caption"),
        (b"caf\xe9", "has a caption that is not UTF-8 (byte 3)"),
        (b"\xff\xfer\0o\0", "has a caption that is not UTF-8 (byte 0)"),
    ],
)
def test_text_that_is_no_caption_says_why(content: bytes, reason: str) -> None:
    with pytest.raises(UnusableLabelError) as caught:
        caption_in_text(content)
    assert str(caught.value) == reason


def test_json_gives_the_caption_under_its_key() -> None:
    content = json.dumps({"caption": "a", "text": " b  c "}).encode()
    assert caption_in_json(content, "text") == "b c"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"{", "has a .json that cannot be read (Expecting property name"),
        (b"[" * 100_000, "has a .json that cannot be read ("),
        (b"\xff", "has a .json that cannot be read ("),
        (b"{}", "has a .json without 'caption' (it has no keys)"),
        (b'["caption"]', "has a .json without 'caption' (it has no object)"),
        (b'{"text": "rose", "id": 3}', "has a .json without 'caption' (it has 'text', 'id')"),
        (b'{"caption": null}', "has a caption that is no text (NoneType)"),
        (b'{"caption": ["a", "b"]}', "has a caption that is no text (list)"),
        (b'{"caption": " "}', "has an empty caption"),
        (b'{"caption": "\\ud800"}', "has a caption with half a surrogate pair, which is no text"),
    ],
)
def test_json_without_a_caption_says_why(content: bytes, reason: str) -> None:
    with pytest.raises(UnusableLabelError) as caught:
        caption_in_json(content, "caption")
    assert str(caught.value).startswith(reason)


def test_value_of_a_table_is_checked_like_a_text() -> None:
    assert caption_in_value("  rose ") == "rose"
    with pytest.raises(UnusableLabelError, match="no text \\(int\\)"):
        caption_in_value(3)
