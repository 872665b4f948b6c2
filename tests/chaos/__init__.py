"""`make chaos`: processes of small sweeps are killed at moments of their whole life; all must end as if undisturbed.

A round is a small sweep with a search, in a place of its own: a folder, or a bucket of moto's or rclone's S3 server;
with MLflow in a file or behind a server; a new root, or an old one of which some results are gone. A life is one
submission. Moments are drawn uniformly over the length of an undisturbed life; then, of the kinds of processes that are
present, the one that was killed least often so far is killed. The sweep is submitted again until it ends with code 0.
Then every task has its record, once, every metric is in MLflow, final checkpoints and the table equal those of an
undisturbed sweep to the bit, and a last submission finds nothing to do.

Begin with `rounds`, which runs one; `places` makes roots, `victims` finds who is killed, `comparison` holds a sweep
against the undisturbed one, and `ledger` keeps what happened, so that a soak can be run in pieces.
"""
