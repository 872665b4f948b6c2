"""A row as YAML, with who gave each value."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from orchestration.common.errors import UserError
from orchestration.spec.layers import Layers
from orchestration.spec.load import load_sweep
from orchestration.spec.origins import row_text, shown_settings
from tests.orchestration.conftest import QUICKSTART, ROOT
from tests.support.small_site import write_small_site


def origins(text: str) -> dict[str, str]:
    """Section.key or key -> origin."""
    section, found = "", {}
    for line in text.splitlines()[1:]:
        if not line.startswith(" "):
            section = "" if "#" in line else line.rstrip(":") + "."
        if match := re.fullmatch(r" *([\w.]+): .*? # (.*)", line):
            found[f"{section}{match[1]}"] = match[2]
    return found


def test_each_value_names_the_layer_that_gave_it(tmp_path: Path) -> None:
    site = write_small_site(tmp_path, networks=False)
    overlay = tmp_path / "tiny.yaml"
    overlay.write_text("training: {warmup_steps: 3}\nevaluation: {inception_splits: 2}\n")
    layers = Layers(str(site), str(overlay))
    table1 = ROOT / "sweeps" / "table1.yaml"
    spec = load_sweep(table1, ["sampling.guidance=2.0"], layers)
    found = origins(row_text(spec, "larger_batch"))
    assert found["training.batch_size"] == "row 'larger_batch'"
    assert found["training.warmup_steps"] == str(overlay)
    assert found["training.learning_rate"] == str(ROOT / "sweeps" / "base" / "imagenet512_dit_b.yaml")
    assert found["sampling.guidance"] == "command line"
    assert found["training.scale"] == "default"
    assert found["data.autoencoder"] == f"dataset_aliases.imagenet512_flux ({site})"
    assert found["data.standardize"] == str(ROOT / "sweeps" / "base" / "imagenet512_dit_b.yaml")


def test_the_text_is_the_config_and_steps_of_a_budget_say_so() -> None:
    spec = load_sweep(ROOT / "sweeps" / "table2_small.yaml")
    text = row_text(spec, "guidance_1.5 / dfm")
    config = next(
        row.configs[0] for part in spec.parts for row in part.rows if row.label == "dfm" and part.name == "guidance_1.5"
    )
    shown = {
        key: {k: v for k, v in value.items() if not isinstance(v, dict)} if isinstance(value, dict) else value
        for key, value in shown_settings(config).items()
    }
    read = yaml.safe_load(text)
    for section, values in shown.items():
        if isinstance(values, dict):
            assert {key: read[section][key] for key in values} == values
        else:
            assert read[section] == values
    assert origins(text)["training.steps"] == "compute.budget"


def test_a_row_is_found_by_the_labels_that_the_plan_prints() -> None:
    spec = load_sweep(ROOT / "sweeps" / "table1.yaml")
    (part,) = [part for part in spec.parts if part.name == "a_first_stage_probability"]
    row = next(row for row in part.rows if row.short == "p₀ 0.7")
    by_label = row_text(spec, f"{part.name} / {row.label}")
    assert row_text(spec, f"{part.name} / p₀ 0.7") == row_text(spec, f"{part.name}/p₀ 0.7") == by_label
    with pytest.raises(UserError) as caught:
        row_text(spec, f"{part.name} / p₀ 7")
    (first, *names) = str(caught.value).splitlines()
    assert first.endswith("is no row; did you mean 'a_first_stage_probability / p₀ 0.7'? rows:")
    assert [name.strip() for name in names] == [f"{part.name} / {row.short}" for row in part.rows]


def test_a_row_that_is_not_there_is_told_with_those_that_are() -> None:
    with pytest.raises(UserError, match="'dmf' is no row"):
        row_text(load_sweep(QUICKSTART), "dmf")
