"""Sweeps of Decomposable Flow Matching on Ray: plan, train, evaluate, track.

Entry points: `sweep` runs a sweep file, `reproduce` the paper's tables, `measure` images from elsewhere, `doctor`
checks a cluster, `demo` submits the quickstart to a Ray head of its own, `auth_token` makes a cluster's token.

The packages in the order of reading; each imports only those below it in the list of tests/test_layers.py:

    spec         a YAML file to a SweepSpec, with all its mistakes at once
    tasks        a task and its digest
    plan         a SweepSpec to tasks; which are done, which are left, and what they cost
    commands     the modes of `sweep.py`: run, --dry-run, --check, --status, --stop, --gc
    launch       one submission, from its plan to the report
    control      heartbeat, lease, stop requests, budget, failure policy, outcome
    training     Ray Train workers and DeepSpeed
    evaluation   actors that sample, encode and measure
    search       Optuna's trials as rows of the plan
    tracking     MLflow
    artifacts    typed things in the store: records, checkpoints, snapshots, features, latents
    storage      bytes at a URL: atomic, checksummed, retried
    cluster      Ray: connection, authentication, capacity, watch, checks
    data         the user's files: identity, description, recipes of autoencoders
    config       settings that change no number: workers, storage root, datasets, networks
    common       errors and exit codes, redaction, validation, digests
    private      the private interfaces of Ray, DeepSpeed and Optuna
"""
