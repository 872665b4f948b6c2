"""Digests of all shipped sweeps as literals, and the two rules by which a new version keeps them.

After a change of numbers on purpose (a raised `NUMERICS_VERSION`), or for a new sweep, write the literals anew with
`python -m tests.orchestration.plan.test_digests`, and look at the difference.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from dfm_core.autoencoder_training.config import FinetuningConfig
from dfm_core.config import DataConfig, ExperimentConfig
from dfm_core.config.evaluation import SamplingConfig
from dfm_core.config.experiment import NUMERICS_CHANGED_IN, NUMERICS_VERSION
from dfm_core.config.model import ModelConfig
from dfm_core.config.training import CascadeConfig, TrainingConfig
from orchestration.common.digests import NEUTRAL, digest_of, without_neutral
from orchestration.data.autoencoder_recipe import InitialAutoencoder, finetune_payload
from orchestration.plan.plan import Plan, make_plan
from orchestration.spec.load import load_sweep
from orchestration.tasks.measurement import sampling_payload
from orchestration.tasks.training import train_payload
from tests.orchestration.conftest import QUICKSTART, ROOT
from tests.support.sweeps import SHIPPED
from tests.support.table4_files import table4_overrides

LITERALS = ROOT / "tests" / "assets" / "digests.json"
SWEEPS = [path.stem for path in SHIPPED]


def plan_of(sweep: str, folder: Path) -> Plan:
    overrides = table4_overrides(folder) if sweep == "table4" else ()  # it names files that are not here
    if sweep == "own_images":  # files of these two may be here
        overrides = ("datasets.mine.files=/nowhere", "datasets.mine.reference=/nowhere")
    if sweep == "table3_small":
        emoji = ("emoji.files", "emoji.reference", "emoji_colours.files")
        overrides = (*(f"datasets.{key}=/nowhere" for key in emoji), "text_encoders.random.files=/nowhere")
    return make_plan(load_sweep(ROOT / "sweeps" / f"{sweep}.yaml", overrides))


def digests_of(plan: Plan) -> dict[str, list[str]]:
    """Return the digests of each kind of task, and of searches, in the order of the plan."""
    digests: dict[str, list[str]] = {}
    for task in plan.tasks.values():
        digests.setdefault(task.kind, []).append(task.digest)
    sources = [source.digest for task in plan.tasks.values() for source in getattr(task, "sources", ())]
    searches = [search.digest for search in plan.spec.searches]
    return digests | {"source": list(dict.fromkeys(sources)), "search": searches}


def write_literals(folder: Path) -> None:
    digests = {sweep: digests_of(plan_of(sweep, folder / sweep)) for sweep in SWEEPS}
    LITERALS.write_text(json.dumps(digests, indent=1) + "\n")


@pytest.mark.parametrize("sweep", SWEEPS)
def test_the_digests_of_a_shipped_sweep_are_those_of_earlier_versions(sweep: str, tmp_path: Path) -> None:
    assert digests_of(plan_of(sweep, tmp_path)) == json.loads(LITERALS.read_text())[sweep]


@dataclass(frozen=True)
class NewModel(ModelConfig):
    shiny: bool = False


@dataclass(frozen=True)
class NewTraining(TrainingConfig):
    shiny: bool = False


@dataclass(frozen=True)
class NewCascade(CascadeConfig):
    shiny: bool = False


@dataclass(frozen=True)
class NewSampling(SamplingConfig):
    shiny: bool = False


@dataclass(frozen=True)
class NewFinetuning(FinetuningConfig):
    shiny: bool = False


DEFAULT = ExperimentConfig()
CASCADED = replace(DEFAULT, paradigm="cascaded")


def digests_with_a_new_key(*, shiny: bool) -> Iterator[tuple[str, str, str]]:
    """(section, digest before there was the key `shiny`, digest now) of the payloads that take a section as it is."""

    def trained(**sections: Any) -> str:
        return digest_of(train_payload(replace(CASCADED, **sections)))

    def finetuned(config: FinetuningConfig) -> str:
        initial = InitialAutoencoder("flux", "identity", files="/files")
        return digest_of(finetune_payload(config, initial, DataConfig()))

    yield "model", trained(), trained(model=NewModel(shiny=shiny))
    yield "training", trained(), trained(training=NewTraining(shiny=shiny))
    yield "cascade", trained(), trained(cascade=NewCascade(shiny=shiny))
    now = digest_of(sampling_payload(replace(DEFAULT, sampling=NewSampling(shiny=shiny))))
    yield "sampling", digest_of(sampling_payload(DEFAULT)), now
    yield "finetuning", finetuned(FinetuningConfig()), finetuned(NewFinetuning(shiny=shiny))


def test_a_new_key_at_its_neutral_value_changes_no_digest(monkeypatch: pytest.MonkeyPatch) -> None:
    for section, before, now in digests_with_a_new_key(shiny=False):
        assert before != now, f"{section}: without an entry every new key is part of the digest"
        monkeypatch.setitem(NEUTRAL, f"{section}.shiny", False)
    for section, before, now in digests_with_a_new_key(shiny=False):
        assert before == now, section


def test_a_new_key_at_another_value_changes_the_digest(monkeypatch: pytest.MonkeyPatch) -> None:
    for section, _, _ in digests_with_a_new_key(shiny=True):
        monkeypatch.setitem(NEUTRAL, f"{section}.shiny", False)
    for section, before, now in digests_with_a_new_key(shiny=True):
        assert before != now, section


def test_a_section_of_new_keys_alone_is_left_out_as_a_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    old = {"model": {"size": "B"}, "fit": {}}
    new = {**old, "glow": {"colour": "red", "radius": {"inner": 1.0}}}
    monkeypatch.setitem(NEUTRAL, "glow.colour", "red")
    monkeypatch.setitem(NEUTRAL, "glow.radius.inner", 1.0)
    assert without_neutral("", new) == old
    assert without_neutral("", {**new, "glow": {"colour": "blue"}}) == {**old, "glow": {"colour": "blue"}}


def test_a_neutral_value_is_of_its_very_type(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(NEUTRAL, "model.depth", 0)
    assert without_neutral("model", {"depth": False}) == {"depth": False}
    monkeypatch.setitem(NEUTRAL, "model.depth", (1, 2))
    assert without_neutral("model", {"depth": [1, 2]}) == {}  # tuples of a config are lists in a payload


def test_raised_numerics_change_the_digests_of_their_kind_and_of_its_readers(monkeypatch: pytest.MonkeyPatch) -> None:
    def by_kind() -> dict[str, set[str]]:
        digests = digests_of(make_plan(load_sweep(QUICKSTART)))
        return {kind: set(digests[kind]) for kind in ("train", "reference", "evaluate")}

    before = by_kind()
    for raised, changed in (("evaluate", {"evaluate"}), ("train", {"train", "evaluate"}), ("encode", set())):
        with monkeypatch.context() as patch:
            patch.setitem(NUMERICS_CHANGED_IN, raised, NUMERICS_VERSION + 1)
            now = by_kind()
        assert {kind for kind in before if before[kind].isdisjoint(now[kind])} == changed
        assert {kind for kind in before if before[kind] != now[kind]} == changed


def test_every_kind_changed_last_in_a_version_that_there_was() -> None:
    assert max(NUMERICS_CHANGED_IN.values()) == NUMERICS_VERSION


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        write_literals(Path(scratch))
