"""Initial weights copied from the network before: all of them for an expert, most for the next stage of a cascade."""

from __future__ import annotations

from collections.abc import Mapping

from dfm_core.config import ExperimentConfig


def inherited_names(config: ExperimentConfig, own: Mapping[str, int], before: Mapping[str, int]) -> dict[str, str]:
    """Return which weight of the network before each weight of a model begins as; those left out begin anew.

    In a cascade (numerics 7) the network of stage q takes blocks and tables, makes stage q - 1's patchify that of its
    condition, and its timestep embedder its own. New are what stage q - 1 has no counterpart for: the patchify and the
    head of its own level, whose patches have another size, and the embedder of the condition's noise.

    Args: config: of the model's own training. own, before: elements of each weight of the model and of the network
        before it, by name.
    """
    taken, fresh = {name: name for name in before}, tuple[str, ...]()
    if config.paradigm == "cascaded":
        (stage,) = config.own_stages
        given = f"network.timestep_embedders.{stage - 1}."
        fresh = (f"network.patch_embedders.{stage}.", f"network.heads.{stage}.", given)
        taken = {name.replace(given, f"network.timestep_embedders.{stage}."): name for name in before}
    strangers = [name for name in own if name not in taken and not name.startswith(fresh)]
    assert not strangers, f"nothing to start {', '.join(strangers)} from"
    names = {name: taken[name] for name in own if name in taken}
    misfits = [name for name, origin in names.items() if own[name] != before[origin]]
    assert not misfits, f"other sizes in the network before: {', '.join(misfits)}"
    return names
