"""Entry point: dfm COMMAND ..., which an installed package has beside the scripts of a checkout.

Each command is the entry point of the same name, with its own options and exit codes.
"""

from __future__ import annotations

import argparse
import os
import runpy
import sys
from collections.abc import Mapping, Sequence

import argcomplete

from orchestration.common.errors import nearest
from orchestration.startup.command_line import make_parser

COMMANDS: Mapping[str, tuple[str, str]] = {
    "sweep": ("orchestration.sweep", "plan and run a sweep, look at it, stop it, remove what nobody needs"),
    "report": ("analysis", "write the report of a sweep, finished or not"),
    "reproduce": ("orchestration.reproduce", "run the sweeps of the paper's tables and compare with them"),
    "measure": ("orchestration.measure", "measure images from elsewhere as a sweep does its samples"),
    "export": ("orchestration.export", "write a trained FLUX as a pipeline of diffusers"),
    "doctor": ("orchestration.doctor", "check a cluster before money is spent on it"),
    "demo": ("orchestration.demo", "run the quickstart as a Ray job on a head of its own"),
}
"""Command -> (module that runs it, what it does)."""
_SKIPPED_WORDS = "_ARGCOMPLETE"
"""Variable of argcomplete: the number of words on the line up to the program's name."""


def main() -> None:
    """Run a command as `python -m` runs its module. Ends the process with its exit code, 2 for a mistake."""
    arguments = sys.argv[1:]
    if _SKIPPED_WORDS in os.environ:
        arguments = _completed_command(os.environ.get("COMP_LINE", ""))
    if arguments and arguments[0] in COMMANDS:
        if _SKIPPED_WORDS in os.environ:
            os.environ[_SKIPPED_WORDS] = "2"
        sys.argv[:] = [f"dfm {arguments[0]}", *sys.argv[2:]]
        runpy.run_module(COMMANDS[arguments[0]][0], run_name="__main__")
        return
    parser = _parser(arguments)
    argcomplete.autocomplete(parser)
    parser.parse_args(arguments)


def _completed_command(line: str) -> list[str]:
    """Return the command on a line that is being completed, as a list of one, if it has been typed whole."""
    words = line.split()
    return words[1:2] if len(words) > 2 or (len(words) == 2 and line.endswith(" ")) else []


def _parser(arguments: Sequence[str]) -> argparse.ArgumentParser:
    parser = make_parser("Experiments with Decomposable Flow Matching. Each command has a help of its own.")
    parser.prog = "dfm"
    commands = parser.add_subparsers(metavar="COMMAND", required=True, title="commands")
    for name, (_, about) in COMMANDS.items():
        commands.add_parser(name, help=about, add_help=False)
    if arguments and not arguments[0].startswith("-"):
        given = arguments[0]
        parser.error(f"{given!r} is not one of {', '.join(COMMANDS)}{nearest(given, list(COMMANDS))}")
    return parser


if __name__ == "__main__":
    main()
