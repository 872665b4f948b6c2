"""Networks by the name of their backbone. Adding one: a file here that begins a class, and a line in `NETWORKS`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import get_args

from dfm_core.catalog.datasets import DataShape
from dfm_core.config import ExperimentConfig
from dfm_core.config.choices import Backbone
from dfm_core.models.flux.velocity import FluxVelocity
from dfm_core.models.network import VelocityNetwork
from dfm_core.models.velocity import VelocityModel

NETWORKS: dict[Backbone, Callable[..., VelocityNetwork]] = {
    "dit": VelocityModel,
    "tokenformer": VelocityModel,
    "flux": FluxVelocity,
}
assert set(NETWORKS) == set(get_args(Backbone)), "every backbone has a network"


def build_network(config: ExperimentConfig, shape: DataShape, data_std: Sequence[float]) -> VelocityNetwork:
    """Return the network that a config names, with weights as its layers come.

    Args: data_std: standard deviation of each clean scale as the model sees it, [S]; ones if standardised.
    """
    return NETWORKS[config.model.backbone](config, shape, data_std=data_std)
