"""`python -m tests.chaos`: rounds for some time, and the report of all that the ledger has."""

from __future__ import annotations

import argparse
import logging
import random
import sys
import tempfile
import time
from pathlib import Path

from tests.chaos.ledger import append, num_killed, read_ledger, report
from tests.chaos.places import Place, fill_new
from tests.chaos.rounds import Soak, run_round, undisturbed_life


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument(
        "--seconds", type=float, default=600.0, help="no round begins later than this after the undisturbed ones"
    )
    parser.add_argument(
        "--kills", type=int, default=10_000, help="no round begins after so many, the ledger's included"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the first round; the ledger's last goes on")
    parser.add_argument("--undisturbed", type=Path, help="a root in which the same sweep is done, or will be")
    parser.add_argument("--ledger", type=Path, help="rounds so far, a line each: a soak in pieces goes on from it")
    parser.add_argument("--report", type=Path, help="Markdown, also printed")
    options = parser.parse_args(arguments)
    rounds = read_ledger(options.ledger)
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # moto's server tells each request
    with tempfile.TemporaryDirectory(prefix="dfm-chaos-") as folder:
        soak = _undisturbed(options.undisturbed or Path(folder, "undisturbed"), Path(folder))
        if soak is None:
            return 1
        began = time.monotonic()
        seed = max([options.seed, *(one.seed + 1 for one in rounds)])
        while time.monotonic() - began < options.seconds and sum(num_killed(rounds).values()) < options.kills:
            rounds.append(run_round(soak, Path(folder, f"round-{seed}"), seed, num_killed(rounds)))
            append(options.ledger, rounds[-1])
            print(f"Round {seed}: {str(rounds[-1])[:2000]}", flush=True)
            seed += 1
            if rounds[-1].differences:
                print(f"Its files stay in {_kept(Path(folder, f'round-{seed - 1}'))}")
                break
    text = report(rounds)
    print(text)
    if options.report:
        options.report.write_text(text)
    return int(any(one.differences for one in rounds))


def _undisturbed(root: Path, folder: Path) -> Soak | None:
    """Run the sweep undisturbed, if need be, and once more with what real images score, for the length of a life."""
    code, said, _ = undisturbed_life(_here(root), folder / "undisturbed.log")
    if code:
        print(said)
        return None
    code, said, seconds = undisturbed_life(_with_reference(root, folder / "life"), folder / "life.log")
    if code:
        print(said)
        return None
    print(f"An undisturbed life takes {seconds:.0f} s.", flush=True)
    return Soak(root, seconds)


def _here(root: Path) -> Place:
    return Place("folder", str(root), f"sqlite:///{root}/mlflow.db")


def _with_reference(undisturbed: Path, folder: Path) -> Place:
    fill_new(folder, undisturbed, random.Random(0), share=1.0)
    return _here(folder)


def _kept(folder: Path) -> Path:
    return folder.rename(Path(tempfile.mkdtemp(prefix="dfm-chaos-kept-")) / folder.name)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
