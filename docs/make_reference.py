"""Writes docs/reference.md from the code: every key of a sweep file, every metric, every command.

    python docs/make_reference.py

A test fails while the page differs from what this prints.
"""

from __future__ import annotations

import ast
import inspect
import io
import subprocess
import sys
import types
import typing
from collections.abc import Iterator, Mapping
from contextlib import redirect_stdout
from dataclasses import MISSING, Field, fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import annotated_types

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from dfm_core.catalog.metrics import METRICS  # noqa: E402
from dfm_core.config.experiment import ExperimentConfig  # noqa: E402
from orchestration.cli import COMMANDS  # noqa: E402
from orchestration.config.primary_metric import PrimaryMetric  # noqa: E402
from orchestration.config.published_table import PublishedPart, PublishedTable  # noqa: E402
from orchestration.config.runtime import RuntimeConfig  # noqa: E402
from orchestration.spec.compute_budget import ComputeConfig  # noqa: E402
from orchestration.spec.search.section import SearchConfig  # noqa: E402

PAGE = ROOT / "docs" / "reference.md"
TOP = {
    "name": "Name of the sweep: a part of paths, and the experiment in MLflow. 1 to 64 letters, digits, `.`, `_`, `-`.",
    "title": "Heading of the report.",
    "base": "Another sweep file, relative to this one, over which this one is laid; a base may have one, too.",
    "seeds": "List of whole numbers: every row is trained once for each.",
    "primary": "The metric that claims rest on, see [primary](#primary).",
    "compute": "Equal training compute for all rows, see [compute](#compute).",
    "published": "The paper's table beside which this one stands, see [published](#published).",
    "labels": "Key or value -> the short label that tables and figures show in its place.",
    "parts": "Name -> one table: `title`, and `rows` (label -> settings), `grid` (key -> values), or "
    "[search](#search); `published`.",
}
_TRAINING = "Another value is another training, with a digest of its own."
_SAMPLING = "Another value is another evaluation of the same training."
_NONE = "No value changes a number; digests leave them out."
_BY_CONTENT = "Digests hold the content of the files, never their place."
EFFECTS = {
    "data": _TRAINING,
    "decomposition": _TRAINING,
    "model": _TRAINING,
    "training": _TRAINING,
    "experts": _TRAINING,
    "cascade": _TRAINING,
    "pyramidal_flow": _TRAINING,
    "sampling": _SAMPLING,
    "evaluation": _SAMPLING,
    "workers": _NONE,
    "storage": _NONE,
    "tracking": _NONE,
    "prices": _NONE,
    "notify": _NONE,
    "networks": _BY_CONTENT,
    "references": _BY_CONTENT,
    "datasets": _BY_CONTENT,
    "dataset_aliases": "Digests hold what a name stands for.",
    "autoencoders": _BY_CONTENT,
    "text_encoders": _BY_CONTENT,
    "backbones": _BY_CONTENT,
}
"""Section -> what its values do to digests."""


def main() -> None:
    """Write the page."""
    PAGE.write_text(page(), encoding="utf-8")
    print(PAGE)


def page() -> str:
    """Return the page as Markdown."""
    output = io.StringIO()
    with redirect_stdout(output):
        _print_page()
    return output.getvalue()


def _print_page() -> None:
    print("# Reference\n")
    print("Made from the code by `python docs/make_reference.py`; a test fails where it differs. The guides say how")
    print("things are used: [running](running.md), [data](data.md), [search](searches.md), [clusters](clusters.md).\n")
    print("A key is written nested or dotted (`training.steps`), in a file or as `key=value` on the command line.\n")
    print("## A sweep file\n")
    _print_table(("key", "meaning"), [(f"`{key}`", text) for key, text in TOP.items()])
    for kind, title, about in (
        (PrimaryMetric, "primary", "Changes no number, and what is said of them."),
        (ComputeConfig, "compute", "The steps that follow are part of digests."),
        (PublishedTable, "published", "Changes no number."),
        (PublishedPart, "parts.NAME.published", "Changes no number."),
        (SearchConfig, "search", "`parts.NAME.search`. Trials are rows like others, with the same digests."),
    ):
        print(f"## {title}\n\n{about}\n")
        _print_keys(kind)
    _print_config(ExperimentConfig, "Settings of rows", ("paradigm", "seed"))
    _print_config(RuntimeConfig, "Settings of the run", ("search_storage",))
    _print_metrics()
    _print_commands()


def _print_config(kind: type[Any], title: str, plain: tuple[str, ...]) -> None:
    print(f"## {title}\n")
    _print_keys(kind, only=plain)
    hints = get_type_hints(kind, include_extras=True)
    for field in fields(kind):
        if field.name in plain:
            continue
        print(f"### {field.name}\n\n{_meaning(kind, field.name) or ''} {EFFECTS[field.name]}\n".replace("\n ", "\n"))
        hint, names = hints[field.name], []
        while get_origin(hint) is dict:
            names.append("NAME" if not names else "ROLE")
            hint = get_args(hint)[1]
        _print_keys(hint, "".join(f"{name}." for name in (field.name, *names)))


def _print_keys(kind: type[Any], prefix: str = "", only: tuple[str, ...] = ()) -> None:
    _print_table(("key", "values", "default", "meaning"), _key_rows(kind, prefix, only))


def _key_rows(kind: type[Any], prefix: str, only: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield a row for each key of a config dataclass, those of its sections after it."""
    hints = get_type_hints(kind, include_extras=True)
    for field in fields(kind):
        if (only and field.name not in only) or field.name == "described":
            continue
        hint, name = hints[field.name], f"{prefix}{field.name}"
        if is_dataclass(hint):
            yield from _key_rows(typing.cast("type[Any]", hint), f"{name}.")
            continue
        yield f"`{name}`", _values(hint), _default(field), _meaning(kind, field.name)
        below = f"{name}.NAME." if get_origin(hint) is dict else f"{name}."
        for section in get_args(hint):
            if isinstance(section, type) and is_dataclass(section):
                yield from _key_rows(section, below)


def _values(hint: Any) -> str:
    """Return the values that a type allows, in words."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return _values(arguments[0]) + "".join(_bounds(rule) for rule in arguments[1:])
    if origin is Literal:
        return ", ".join(f"`{value}`" for value in arguments)
    if origin in (types.UnionType, typing.Union):
        return " or ".join("none" if part is type(None) else _values(part) for part in arguments)
    if origin is tuple:
        return f"list of {_values(arguments[0])}"
    if origin in (dict, Mapping):
        return f"NAME -> {_values(arguments[1])}"
    if is_dataclass(hint):
        return "a section"
    return {int: "whole number", float: "number", bool: "true, false", str: "text"}.get(hint, "any value")


def _bounds(rule: Any) -> str:
    """Return a range of `annotated_types` in words; "" for a rule of another kind."""
    names = {"gt": ">", "ge": "≥", "lt": "<", "le": "≤"}
    if isinstance(rule, annotated_types.Len):
        return f", {rule.min_length} to {rule.max_length} of them"
    found = [
        f" {sign} {_number(bound)}" for name, sign in names.items() if (bound := getattr(rule, name, None)) is not None
    ]
    return ",".join(found)


def _number(bound: Any) -> str:
    return f"{bound:,}" if isinstance(bound, int) and bound < 10**10 else f"{bound:g}"


def _default(field: Field[Any]) -> str:
    if field.default is MISSING and field.default_factory is MISSING:
        return "must be given"
    value = field.default_factory() if field.default_factory is not MISSING else field.default
    if value is None or value == {}:
        return "none"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, tuple):
        return "`[" + ", ".join(str(one) for one in value) + "]`"
    return f"`{value}`" if value != "" else "none"


_MEANINGS: dict[type[Any], dict[str, str]] = {}


def _meaning(kind: type[Any], name: str) -> str:
    """Return the docstring below a field, that of the class it is inherited from included."""
    for owner in kind.__mro__:
        if is_dataclass(owner) and owner not in _MEANINGS:
            _MEANINGS[owner] = dict(_field_docstrings(owner))
        if text := _MEANINGS.get(owner, {}).get(name):
            return text
    return ""


def _field_docstrings(kind: type[Any]) -> Iterator[tuple[str, str]]:
    (tree,) = ast.parse(inspect.cleandoc("\n" + inspect.getsource(kind))).body
    assert isinstance(tree, ast.ClassDef)
    for field, text in zip(tree.body, tree.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant):
            yield ast.unparse(field.target), " ".join(str(text.value.value).split())


def _print_metrics() -> None:
    print("## Metrics\n\nNames for `evaluation.metrics`; [metrics](metrics.md) says how each is computed.\n")
    rows = [
        (f"`{card.name}`", card.title, {"lower": "↓", "higher": "↑"}.get(card.better, card.better), card.about)
        for card in METRICS.values()
    ]
    _print_table(("name", "title", "better", "about"), rows)


def _print_commands() -> None:
    print("## Commands\n")
    print("`dfm COMMAND` of an installed package, or the script of a checkout. [Exit codes](running.md).\n")
    for name, (module, _) in COMMANDS.items():
        script = f"python -m {module}"
        print(f"### dfm {name}\n\n`{script}`\n")
        command = [sys.executable, "-m", "orchestration.cli", name, "--help"]
        environment = {"PYTHONPATH": str(ROOT), "COLUMNS": "100", "NO_COLOR": "1", "PATH": "", "HOME": "/"}
        done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT, env=environment)
        print("\n".join(f"    {line}".rstrip() for line in done.stdout.splitlines()) + "\n")


def _print_table(header: tuple[str, ...], rows: typing.Iterable[tuple[str, ...]]) -> None:
    print(f"| {' | '.join(header)} |\n|{'---|' * len(header)}")
    for row in rows:
        print("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |")
    print()


if __name__ == "__main__":
    main()
