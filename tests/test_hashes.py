"""Every pin but torch's has the checksums of its files, and they name no place to get them from."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
_PIN = re.compile(r"([A-Za-z0-9._-]+)==(\S+)")


def pins(text: str) -> dict[str, str]:
    found = [match for line in text.splitlines() if (match := _PIN.match(line))]
    return {re.sub(r"[-_.]+", "-", match[1]).lower(): match[2] for match in found}


def test_the_checksums_are_those_of_the_pins() -> None:
    pinned = pins((ROOT / "constraints.txt").read_text())
    assert pinned.pop("torch")
    assert pins((ROOT / "hashes.txt").read_text()) == pinned


def test_each_pin_has_checksums_and_nothing_else_stands_there() -> None:
    (_, *blocks) = re.split(r"(?m)^(?=[A-Za-z0-9])", (ROOT / "hashes.txt").read_text())
    assert len(blocks) == len(pins("".join(blocks)))
    for block in blocks:
        assert re.fullmatch(r"\S+==\S+( ; \S.*?)?( \\\n    --hash=sha256:[0-9a-f]{64})+\n", block), block[:200]


def test_setting_up_checks_them() -> None:
    text = (ROOT / "Makefile").read_text()
    assert "PINNED := --no-require-hashes --constraint hashes.txt --constraint constraints.txt" in text
    assert text.count("$(PINNED) --editable") == 2
