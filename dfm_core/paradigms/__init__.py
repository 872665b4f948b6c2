"""Paradigms by name: how a model is trained and sampled. Adding one: a file here and a line in `PARADIGMS`.

Begin with `sampling`, which holds the contract and what all share from noise to images, and `dfm`, the method;
`flow_matching`, `cascaded` and `pyramidal_flow` are the baselines. `shared_steps` samples several settings at
once. May import `config`, `wiring`, `flow`, `data`, `decompositions` and `seeding`.
"""

from __future__ import annotations

from collections.abc import Callable

from dfm_core.config import ExperimentConfig
from dfm_core.config.choices import Paradigm as ParadigmName
from dfm_core.decompositions import Decomposition
from dfm_core.paradigms.base import Batch, LossResult, SampleResult
from dfm_core.paradigms.cascaded import Cascaded
from dfm_core.paradigms.dfm import DecomposableFlowMatching
from dfm_core.paradigms.flow_matching import FlowMatching
from dfm_core.paradigms.pyramidal_flow import PyramidalFlow
from dfm_core.paradigms.sampling import Paradigm
from dfm_core.paradigms.standardization import scale_divisors

__all__ = ["PARADIGMS", "Batch", "LossResult", "Paradigm", "SampleResult", "build_paradigm"]


PARADIGMS: dict[ParadigmName, Callable[[ExperimentConfig, Decomposition, tuple[float, ...]], Paradigm]] = {
    "dfm": DecomposableFlowMatching,
    "flow_matching": lambda config, _, divisors: FlowMatching(config, *divisors),
    "cascaded": Cascaded,
    "pyramidal_flow": lambda config, decomposition, divisors: PyramidalFlow(config, decomposition, divisors[-1]),
}


def build_paradigm(config: ExperimentConfig, decomposition: Decomposition, scale_std: tuple[float, ...]) -> Paradigm:
    """Return the paradigm that a config names.

    Args: decomposition: that the config names, with its weights if it has any. scale_std: standard deviation of each
        scale on the training data, [S]; used only if data.standardize.
    """
    return PARADIGMS[config.paradigm](config, decomposition, scale_divisors(config, scale_std))
