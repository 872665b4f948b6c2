"""Weights that a network takes over from the one that it starts from: an expert all, a cascade's network most."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from dfm_core.config import ExperimentConfig
from dfm_core.models.velocity import VelocityModel


def inherit(model: VelocityModel, config: ExperimentConfig, weights: Mapping[str, Tensor]) -> None:
    """Overwrites the weights of a model by those of the network before it.

    In a cascade (numerics 7) the network of stage q takes blocks and tables, makes stage q - 1's patchify that of its
    condition, and its timestep embedder its own. New are what stage q - 1 has no counterpart for: the patchify and the
    head of its own level, whose patches have another size, and the embedder of the condition's noise.

    Args: config: of the model's own training. weights: the other network's, by name.
    """
    if config.paradigm != "cascaded":
        model.load_state_dict(dict(weights))
        return
    (stage,) = config.own_stages
    before = f"network.timestep_embedders.{stage - 1}."
    fresh = (f"network.patch_embedders.{stage}.", f"network.heads.{stage}.", before)
    own = f"network.timestep_embedders.{stage}."
    taken = {name.replace(before, own): weight for name, weight in weights.items()}
    known = model.state_dict().keys()
    kept = model.load_state_dict({name: weight for name, weight in taken.items() if name in known}, strict=False)
    strangers = [name for name in kept.missing_keys if not name.startswith(fresh)]
    assert not strangers, f"nothing to start {', '.join(strangers)} from"
