"""Command lines of the entry points: what all have, completion and the version."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from typing import NoReturn

import argcomplete

from orchestration.common.errors import nearest
from orchestration.common.project import version

_UNKNOWN, _NEEDED = "unrecognized arguments: ", "the following arguments are required: "


class _Parser(argparse.ArgumentParser):
    """A parser that names the option that a misspelt one is near to, and asks for what is needed alone."""

    def error(self, message: str) -> NoReturn:
        usage = self.format_usage()
        _, found, given = message.partition(_UNKNOWN)
        if found:
            known = re.findall(r"(?<![\w-])--?[\w-]+", usage)
            hints = [nearest(word.partition("=")[0], known) for word in given.split() if word.startswith("-")]
            message += "".join(dict.fromkeys(hints))
        _, found, given = message.partition(_NEEDED)
        if found:  # parse_intermixed_args asks for arguments too that may be left out
            optional = set(re.findall(r"\[([^\[\]\s-][^\[\]\s]*) \.\.\.\]", usage))
            message = found + ", ".join(name for name in given.split(", ") if name not in optional)
        super().error(message)


def make_parser(description: str) -> argparse.ArgumentParser:
    """Return a parser with `--version` that takes no abbreviated options: a later version may add another."""
    parser = _Parser(description=description, allow_abbrev=False)
    parser.add_argument("--version", action="version", version=f"dfm {version()}")
    return parser


def add_layers(parser: argparse.ArgumentParser) -> None:
    """Add the options for files around a sweep: `site` and `overlay`."""
    parser.add_argument(
        "--site",
        metavar="FILE",
        help="places of data, networks, storage, tracking and workers: a path or URL; default: DFM_SITE, else the"
        " site.yaml beside the sweep",
    )
    parser.add_argument(
        "--with",
        dest="overlay",
        metavar="FILE",
        help="overrides that win over rows too: a path or URL; default: DFM_WITH",
    )


def parse(parser: argparse.ArgumentParser, arguments: Sequence[str]) -> argparse.Namespace:
    """Return the options, which may stand before, after and among the other arguments.

    A shell that asks for completions gets them, and the process ends.
    """
    argcomplete.autocomplete(parser)
    return parser.parse_intermixed_args(arguments)
