"""Paradigms by name. Adding one: a file here and a line in `PARADIGMS`."""

from __future__ import annotations

from collections.abc import Callable

from dfm_core.config import ExperimentConfig
from dfm_core.config import Paradigm as ParadigmName
from dfm_core.decompositions import Decomposition
from dfm_core.paradigms.base import Batch, LossResult, Paradigm, SampleResult
from dfm_core.paradigms.dfm import DecomposableFlowMatching
from dfm_core.paradigms.flow_matching import FlowMatching

__all__ = ["PARADIGMS", "Batch", "LossResult", "Paradigm", "SampleResult", "build_paradigm"]


def _flow_matching(config: ExperimentConfig, _: Decomposition, divisors: tuple[float, ...]) -> Paradigm:
    (divisor,) = divisors
    return FlowMatching(config, divisor)


PARADIGMS: dict[ParadigmName, Callable[[ExperimentConfig, Decomposition, tuple[float, ...]], Paradigm]] = {
    "dfm": DecomposableFlowMatching,
    "flow_matching": _flow_matching,
}


def build_paradigm(config: ExperimentConfig, decomposition: Decomposition, scale_std: tuple[float, ...]) -> Paradigm:
    """The paradigm that a config names.

    Args: decomposition: that the config names, with its weights if it has any. scale_std: standard deviation of each
        scale on the training data, [S]; used only if data.standardize.
    """
    divisors = scale_std if config.data.standardize else (1.0,) * config.num_stages
    return PARADIGMS[config.paradigm](config, decomposition, divisors)
