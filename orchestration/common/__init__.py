"""Leaves that know nothing of sweeps: mistakes and exit codes, redaction, digests.

Begin with `errors` (every mistake of a user is a `Problem`) and `digests` (the identity of work). Imports no other
package of `orchestration`, and of `analysis` the contract's `printable`.
"""
