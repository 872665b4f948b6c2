"""The hook by which `DFM_FAULT` makes steps of a training fail on purpose; the faults themselves are in tests/.

Without the variable nothing is imported and nothing is put around the paradigm: a step costs nothing more.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from orchestration.common.errors import Problem, UserError

if TYPE_CHECKING:
    from dfm_core.paradigms import Paradigm
    from orchestration.storage.store import Store

VARIABLE = "DFM_FAULT"
_MODULE = "tests.support.fault_injection"


def faults_in(environment: Mapping[str, str]) -> str:
    """Return the faults that `DFM_FAULT` asks for, rank:step:action with commas between them; "" for none.

    Raises: UserError if they are malformed, or if this is no checkout.
    """
    faults = environment.get(VARIABLE, "")
    if faults:
        _module().parse_faults(faults)
    return faults


def fault_problems(environment: Mapping[str, str]) -> tuple[Problem, ...]:
    """Return what is wrong with the faults that `DFM_FAULT` asks for."""
    try:
        faults_in(environment)
    except UserError as error:
        return error.problems
    return ()


def with_faults(paradigm: Paradigm, faults: str, rank: int, batch_size: int, store: Store) -> Paradigm:
    """Return the paradigm as this worker trains it: itself, if no fault is meant for it. Args: batch_size: global."""
    if not faults:
        return paradigm
    wrapped: Paradigm = _module().disturbed(paradigm, faults, rank, batch_size, store)
    return wrapped


def _module() -> Any:
    try:
        return importlib.import_module(_MODULE)
    except ModuleNotFoundError as error:
        raise UserError.of(VARIABLE, f"works in a checkout alone, not in an installed package ({error})") from None
