"""Names that people use for our settings: papers, other code, habit. They are not accepted, but told the right one."""

from __future__ import annotations

from collections.abc import Mapping

OTHER_NAMES: Mapping[str, tuple[str, ...]] = {
    "p0": ("first_stage_probability",),
    "p_0": ("first_stage_probability",),
    "p0t": ("first_stage_probability",),
    "p_0t": ("first_stage_probability",),
    "first_stage_prob": ("first_stage_probability",),
    "lognormal_location": ("previous_location",),
    "lognormal_loc": ("previous_location",),
    "logit_normal_location": ("previous_location",),
    "logitnormal_location": ("previous_location",),
    "location": ("previous_location",),
    "threshold": ("tau",),
    "thresholds": ("tau",),
    "cfg": ("guidance",),
    "cfg_scale": ("guidance",),
    "guidance_scale": ("guidance",),
    "nfe": ("steps",),
    "num_steps": ("steps",),
    "lr": ("learning_rate",),
    "bs": ("batch_size",),
    "ema": ("ema_decay",),
    "num_gpus": ("num_workers",),
    "gpus": ("num_workers",),
    "method": ("paradigm",),
    "n_trials": ("num_trials",),
    "grace_period": ("first", "rungs"),
    "reduction_factor": ("eta",),
}
"""Name -> last parts of the keys that it means."""


def meant_by(name: object) -> tuple[str, ...]:
    """Return the last parts of the keys that a name can mean: its own last part, and what it is another name of."""
    last = str(name).rpartition(".")[2]
    return last, *OTHER_NAMES.get(last.lower().replace("-", "_"), ())
