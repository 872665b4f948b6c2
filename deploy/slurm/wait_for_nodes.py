"""Wait until as many nodes have joined the Ray cluster at RAY_ADDRESS as an allocation has: wait_for_nodes.py COUNT."""

from __future__ import annotations

import sys
import time

import ray

_LIMIT_SECONDS = 300


def main(wanted: int) -> int:
    """Return the exit code: 0, or 1 if nodes are missing after the limit."""
    ray.init(logging_level="ERROR")
    deadline = time.monotonic() + _LIMIT_SECONDS
    while (there := sum(bool(node["Alive"]) for node in ray.nodes())) < wanted:
        if time.monotonic() > deadline:
            print(f"{there} of {wanted} nodes have joined Ray within {_LIMIT_SECONDS} s", file=sys.stderr)
            return 1
        time.sleep(1)
    print(f"{there} nodes have joined Ray", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
