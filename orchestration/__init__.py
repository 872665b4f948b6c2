"""Sweeps of Decomposable Flow Matching on Ray: plan, train, evaluate, track.

Entry points: `sweep` runs a sweep file, `reproduce` the paper's tables, `measure` images from elsewhere, `export`
writes a pipeline of diffusers, `doctor` checks a cluster, `demo` submits the quickstart to a Ray head of its own,
`auth_token` makes a cluster's token. `cli` is the command `dfm` of an installed package: all of them by name.

The packages, lowest layer first; each imports lower layers alone (tests/test_layers.py). docs/architecture.md walks one
sweep through them.

    common       errors and exit codes, redaction, digests, command lines
    parsing      YAML and overrides into typed values, all mistakes at once
    private      the private interfaces of Ray and DeepSpeed that cannot be avoided
    storage      bytes at a URL: atomic, checksummed, retried
    config       settings that change no number: workers, storage root, datasets, networks
    data         the user's files: identity, description, recipes of autoencoders
    artifacts    typed things in the store: records, checkpoints, snapshots, features, latents
    control      heartbeat, lease, stop requests, budget, failure policy, outcome
    cluster      Ray: connection, authentication, capacity, watch, checks
    diagnosis    the checks of `doctor.py`
    tasks        a task and its digest
    spec         a YAML file to a SweepSpec, with all its mistakes at once
    plan         a SweepSpec to tasks; which are done, which are left, and what they cost
    tracking     MLflow
    training     Ray Train workers and DeepSpeed
    encoding     actors that encode images and captions
    evaluation   actors that sample and measure
    exploration  Ray Tune between a search and its trials
    search       Optuna's trials as rows of the plan
    launch       one submission, from its plan to the report
    commands     the work of the entry points: modes of `sweep.py`, measurements of `measure.py`
"""

import sys
from importlib.util import find_spec

if find_spec("argcomplete") is None:  # the machine's Python in the place of the project's
    print(
        f"1 mistake; nothing was started:\n  {sys.executable} lacks the packages of this project: `make setup` "
        "installs them into .venv; use .venv/bin/python, or `source .venv/bin/activate` first",
        file=sys.stderr,
    )
    sys.exit(2)
