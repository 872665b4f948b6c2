"""Files around a sweep: a site's, which says where things are, and overrides that win over rows."""

from __future__ import annotations

from pathlib import Path

import fsspec
import pytest

from orchestration.common.errors import UserError
from orchestration.launch.summary import _layers_text
from orchestration.plan.plan import make_plan
from orchestration.spec.layers import OVERLAY_VARIABLE, SITE_VARIABLE, Layers, find_layers
from orchestration.spec.load import load_sweep
from tests.orchestration.conftest import QUICKSTART, ROOT
from tests.support.small_site import write_small_site

FULL_SCALE = ("table1", "table2_imagenet512", "table2_imagenet1024", "table2_kinetics512", "figure3", "table4")
EXAMPLE = ROOT / "sweeps" / "layers" / "site.example.yaml"
TINY = str(ROOT / "sweeps" / "layers" / "tiny.yaml")


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_an_option_wins_over_a_variable_and_that_over_the_file_beside_the_sweep(tmp_path: Path) -> None:
    sweep, variables = tmp_path / "a.yaml", {SITE_VARIABLE: "s3://b/site.yaml", OVERLAY_VARIABLE: "tiny.yaml"}
    assert find_layers(sweep, {}) == Layers()
    beside = write(tmp_path / "site.yaml", "{}")
    assert find_layers(sweep, {}) == Layers(str(beside))
    assert find_layers(sweep, variables) == Layers("s3://b/site.yaml", "tiny.yaml")
    assert find_layers(sweep, variables, "other.yaml", "") == Layers("other.yaml")
    assert find_layers(sweep, {SITE_VARIABLE: ""}) == Layers()


def test_a_site_wins_over_bases_and_the_sweep_over_the_site(tmp_path: Path) -> None:
    write(tmp_path / "base.yaml", "workers: {num_workers: 2, log_every: 7, checkpoint_every: 70}\n")
    site = write(tmp_path / "site.yaml", "workers: {num_workers: 4, log_every: 8}\nstorage: {root: /data}\n")
    sweep = write(tmp_path / "sweep.yaml", "name: a\nbase: base.yaml\nworkers: {log_every: 9}\n")
    runtime = load_sweep(sweep, ["storage.root=/mine"], Layers(str(site))).runtime
    workers = runtime.workers
    assert (workers.num_workers, workers.log_every, workers.checkpoint_every) == (4, 9, 70)
    assert runtime.storage.root == "/mine"


def test_a_site_holds_nothing_that_changes_numbers(tmp_path: Path) -> None:
    site = write(tmp_path / "site.yaml", "training: {steps: 5}\nworkres: {}\n")
    with pytest.raises(UserError) as caught:
        load_sweep(QUICKSTART, [], Layers(str(site)))
    told = str(caught.value)
    elsewhere = "belongs into a sweep, on the command line or into --with FILE; a site file holds only workers, storage"
    assert f"{site}: training: {elsewhere}" in told
    assert "tracking'" not in told, "nothing near is meant"
    assert len(told.splitlines()) == 2
    assert f"{site}: workres: a site file holds only" in told
    assert "did you mean 'workers'?" in told


def test_a_site_at_a_url_is_read_and_one_that_is_not_there_is_named(tmp_path: Path) -> None:
    with fsspec.open("memory://bucket/site.yaml", "wt") as file:
        file.write("workers: {log_every: 8}\n")
    assert load_sweep(QUICKSTART, [], Layers("memory://bucket/site.yaml")).runtime.workers.log_every != 0
    for place in ("memory://bucket/none.yaml", str(tmp_path / "none.yaml")):
        with pytest.raises(UserError) as caught:
            load_sweep(QUICKSTART, [], Layers(place))
        assert str(caught.value).startswith(place)


@pytest.mark.parametrize(
    ("layers", "how"),
    [(Layers(site="no.yaml"), "--site or DFM_SITE"), (Layers(overlay="no.yaml"), "--with or DFM_WITH")],
)
def test_a_layer_that_is_not_there_is_told_with_what_gives_it(layers: Layers, how: str) -> None:
    with pytest.raises(UserError, match=rf"^no\.yaml: no such file; give another by {how}, or '' for none$"):
        load_sweep(QUICKSTART, [], layers)


def test_overrides_of_a_file_win_over_rows_and_grids_and_change_nothing_else(tmp_path: Path) -> None:
    rows = "{plain: {}, long: {training: {steps: 300, batch_size: 64}}}"
    text = f"compute: {{allow_unequal: true}}\nparts: {{p: {{rows: {rows}, grid: {{training.steps: [100, 200]}}}}}}\n"
    sweep = write(tmp_path / "sweep.yaml", f"name: a\n{text}")
    overlay = write(tmp_path / "tiny.yaml", "training: {steps: 20}\nevaluation: {at_steps: []}\n")
    rows_of = {row.label: row for row in load_sweep(sweep, [], Layers(overlay=str(overlay))).parts[0].rows}
    trainings = {label: row.configs[0].training for label, row in rows_of.items()}
    assert {training.steps for training in trainings.values()} == {20}
    assert trainings["long"].batch_size == 64
    assert rows_of["long"].settings == {"training.batch_size": 64}
    assert list(rows_of) == ["plain", "long", "steps=100", "steps=200"]


def test_overrides_of_a_file_are_no_sweep(tmp_path: Path) -> None:
    overlay = write(tmp_path / "tiny.yaml", "name: b\nparts: {}\n")
    with pytest.raises(UserError, match=r"tiny.yaml: name: belongs into a sweep; a file of overrides holds"):
        load_sweep(QUICKSTART, [], Layers(overlay=str(overlay)))


def test_an_override_that_rows_win_over_is_told() -> None:
    (notice,) = load_sweep(
        ROOT / "sweeps" / "table1.yaml", ["training.batch_size=8", "compute.allow_unequal=true"]
    ).notices
    assert notice == (
        "training.batch_size=8 is not for e_compute_allocation / larger_batch: a row's own training.batch_size wins; "
        "--with FILE wins over rows"
    )


def test_an_alias_makes_the_digests_that_its_words_make(tmp_path: Path) -> None:
    site = Layers(str(write_small_site(tmp_path, networks=False)))
    small = [
        "training.steps=2",
        "evaluation.at_steps=[]",
        "parts={p: {rows: {a: {}}}}",
        "evaluation.inception_splits=2",
    ]
    table1 = ROOT / "sweeps" / "table1.yaml"
    said = "data={dataset: imagenet, side: 512, autoencoder: flux, standardize: true}"
    by_alias, by_words = (make_plan(load_sweep(table1, [*small, *more], site)) for more in ([], [said]))
    assert list(by_alias.tasks) == list(by_words.tasks)
    other = make_plan(load_sweep(table1, [*small, "data.side=256", "decomposition.resolutions=[16, 32]"], site))
    assert set(other.tasks) != set(by_alias.tasks)


def test_an_alias_of_nothing_and_one_that_hides_a_dataset_are_told(tmp_path: Path) -> None:
    aliases = "{fashion_mnist: {dataset: fashion_mnist}, mine: {dataset: imagnet}}"
    site = write(tmp_path / "site.yaml", f"datasets: {{imagenet: {{files: /d}}}}\ndataset_aliases: {aliases}\n")
    with pytest.raises(UserError) as caught:
        load_sweep(QUICKSTART, [], Layers(str(site)))
    told = str(caught.value)
    assert "dataset_aliases.fashion_mnist: 'fashion_mnist' is a dataset already" in told
    assert "dataset_aliases.mine.dataset: 'imagnet' is not a dataset; did you mean 'imagenet'?" in told
    with pytest.raises(UserError) as caught:
        load_sweep(QUICKSTART, ["data.dataset=mine"], Layers(str(site)))
    assert str(caught.value) == told  # whoever uses the alias


def test_what_an_alias_stands_for_is_blamed_on_the_alias(tmp_path: Path) -> None:
    place = write_small_site(tmp_path, networks=False)
    site, text = Layers(str(place)), place.read_text()
    overrides = ["training.steps=2", "evaluation.at_steps=[]", "parts={p: {rows: {a: {}}}}"]
    place.write_text(text.replace("side: 512", "side: 256"))
    with pytest.raises(UserError) as caught:
        load_sweep(ROOT / "sweeps" / "table1.yaml", overrides, site)
    assert (
        "the last is 64, but imagenet has latents of side 32 (256 px / 8): end with 32, or let data.side, or that of "
        "its alias, be 512"
    ) in str(caught.value)
    for wrong, told in (("side: 512", "side: is needed"), ("autoencoder: flux", "autoencoder: 'fluks' is no")):
        place.write_text(text.replace(wrong, "side: 0" if told.startswith("side") else "autoencoder: fluks"))
        with pytest.raises(UserError) as caught:
            load_sweep(ROOT / "sweeps" / "table1.yaml", overrides, site)
        assert f"{place}: dataset_aliases.imagenet512_flux.{told}" in str(caught.value)


@pytest.mark.parametrize("sweep", FULL_SCALE)
def test_every_sweep_of_the_paper_is_planned_with_the_example_of_a_site(sweep: str, tmp_path: Path) -> None:
    text = EXAMPLE.read_text().replace("s3://bucket", str(tmp_path))
    site = str(write(tmp_path / "site.yaml", text))
    spec = load_sweep(ROOT / "sweeps" / f"{sweep}.yaml", [], Layers(site, TINY))
    assert make_plan(spec).tasks
    if sweep == "table1":
        assert any("shrinks no data: 1,281,167 samples" in line for line in _layers_text(make_plan(spec)))
    assert {config.data.dataset for config in spec.configs} <= {"imagenet", "kinetics"}
    assert all(config.model.size == "nano" for config in spec.configs)
