"""Hostile YAML is refused before anything is built from it."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestration.common.errors import UserError
from orchestration.parsing import yaml_limits
from orchestration.parsing.yaml_file import parse_yaml
from orchestration.parsing.yaml_limits import MAX_DEPTH, MAX_NODES, check_yaml
from orchestration.spec.load import load_sweep
from tests.orchestration.conftest import QUICKSTART

BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 9)
)
"""Nine lines that stand for a thousand million values."""


@pytest.mark.proves(26)
@pytest.mark.parametrize(
    ("text", "why"),
    [
        (BOMB, f"more than {MAX_NODES} values, aliases expanded .line 6"),
        ("a: &a [*a]", r"an alias is not of anything complete before it .line 1"),
        ("a: &a {b: &b [*a]}", "an alias is not of anything complete"),
        ("[" * 100_000, f"deeper than {MAX_DEPTH} levels"),
        ("{a: " * (MAX_DEPTH + 1) + "1" + "}" * (MAX_DEPTH + 1), "deeper than"),
        ("a: !!python/object/apply:os.system ['true']", r"a tag is not allowed: give plain values .line 1"),
        ("!!python/name:os.system ''", "a tag"),
        ("a: [!!binary aGVsbG8=]", "a tag"),
        ("a: !local {b: 1}", "a tag is not allowed"),
        ("root:x:0:0:root:/root", "one text, no mapping"),
    ],
)
def test_hostile_yaml_is_refused_with_its_reason(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        check_yaml(text)


@pytest.mark.proves(26)
def test_the_limits_are_exact() -> None:
    check_yaml("[" * MAX_DEPTH + "]" * MAX_DEPTH)
    with pytest.raises(ValueError, match="deeper"):
        check_yaml("[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1))
    thousand = f"a: &a [{', '.join('x' * 999)}]\n"  # 1000 values with the list itself
    before = 2 + 1000 + 1  # the mapping, its key and value, the key b
    fits = (MAX_NODES - before - 1) // 1000
    check_yaml(f"{thousand}b: [{', '.join(['*a'] * fits)}]")
    with pytest.raises(ValueError, match="more than"):
        check_yaml(f"{thousand}b: [{', '.join(['*a'] * (fits + 1))}]")


def test_what_a_sweep_may_say_is_let_through() -> None:
    check_yaml("a: &a {b: 1}\nc: {<<: *a, d: [*a, '!x', \"&y\", '*z', 1e-4]}\n")


@pytest.mark.parametrize("text", [f"name: a\n{BOMB}", "name: a\nparts: " + "[" * 500, "name: a\nseeds: !!set {1, 2}\n"])
def test_a_hostile_file_is_a_users_mistake(tmp_path: Path, text: str) -> None:
    sweep = tmp_path / "sweep.yaml"
    sweep.write_text(text)
    with pytest.raises(UserError, match=r"sweep.yaml: not valid YAML: (more|deeper|a tag)"):
        load_sweep(sweep)


def test_a_hostile_override_is_a_users_mistake() -> None:
    with pytest.raises(UserError, match=r"command line: 'seeds=\[\[.* not valid YAML: deeper"):
        load_sweep(QUICKSTART, [f"seeds={'[' * 40}"])


def test_an_override_without_end_is_not_repeated_whole() -> None:
    with pytest.raises(UserError) as error:
        load_sweep(QUICKSTART, [f"seeds=[{', '.join(map(str, range(20_000)))}, -1]"])
    assert "must be a list of different integers" in str(error.value)
    assert len(str(error.value)) < 600


def test_a_flat_list_may_have_as_many_values_as_the_limit_says(monkeypatch: pytest.MonkeyPatch) -> None:
    limit = 20_000  # OmegaConf needs 20 s for the real one
    monkeypatch.setattr(yaml_limits, "MAX_NODES", limit)
    for num_values in (10_000, limit - 10):
        text = f"values: [{', '.join(map(str, range(num_values)))}]"
        assert parse_yaml(text) == {"values": list(range(num_values))}
    with pytest.raises(ValueError, match=f"more than {limit} values"):
        parse_yaml(f"values: [{', '.join(map(str, range(limit)))}]")


@pytest.mark.parametrize(
    "content",
    [
        "SECRET\n",
        "root:SECRET:0:0:root:/root\n",
        "-----BEGIN SECRET-----\nSECRET\n",
        "[default]\nkey = SECRET\n",
        "a: *SECRET\n",
        "a: !SECRET b\n",
        "a: {SECRET\n",
        "a: 'SECRET\n",
        'a: "\\SECRET"\n',
        "SECRET: 1\nSECRET: 2\n",
        "a: ${SECRET\n",
        "\tSECRET: 1\n",
        "a: @SECRET\n",
        "? [SECRET]\n: 1\n",
        "- SECRET\n",
        "a: 2024-01-01SECRET: 3\n",
    ],
)
def test_a_base_that_is_no_yaml_is_told_without_its_content(tmp_path: Path, content: str) -> None:
    (tmp_path / "file").write_text(content)
    (tmp_path / "sweep.yaml").write_text("name: a\nbase: file\n")
    with pytest.raises(UserError, match="file: ") as caught:
        load_sweep(tmp_path / "sweep.yaml")
    assert "SECRET" not in str(caught.value)
