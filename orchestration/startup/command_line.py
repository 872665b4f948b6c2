"""Command lines of the entry points: what all have, completion and the version."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import argcomplete

from orchestration.common.project import version


def make_parser(description: str) -> argparse.ArgumentParser:
    """Return a parser with `--version` that takes no abbreviated options: a later version may add another."""
    parser = argparse.ArgumentParser(description=description, allow_abbrev=False)
    parser.add_argument("--version", action="version", version=f"dfm {version()}")
    return parser


def parse(parser: argparse.ArgumentParser, arguments: Sequence[str]) -> argparse.Namespace:
    """Return the options, which may stand before, after and among the other arguments.

    A shell that asks for completions gets them, and the process ends.
    """
    argcomplete.autocomplete(parser)
    return parser.parse_intermixed_args(arguments)
