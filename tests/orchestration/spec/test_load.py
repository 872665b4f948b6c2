"""Sweep files: what they mean, and that every mistake in one is reported at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestration.common.errors import UserError
from orchestration.plan.preflight import missing_inputs
from orchestration.spec.layers import Layers
from orchestration.spec.load import load_sweep
from tests.orchestration.conftest import QUICKSTART, ROOT
from tests.support.sweeps import SHIPPED

UNEQUAL = "parts: {p: {rows: {dfm: {}, long: {training.batch_size: 512}}}}"


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "sweep.yaml"
    path.write_text(text)
    return path


def mistakes(path: Path, *overrides: str) -> str:
    with pytest.raises(UserError) as caught:
        load_sweep(path, overrides)
    return str(caught.value)


def test_every_shipped_sweep_loads() -> None:
    assert QUICKSTART in SHIPPED
    for path in SHIPPED:
        assert load_sweep(path).parts


def test_every_shipped_sweep_opens_with_its_command_hardware_and_published_result() -> None:
    for path in SHIPPED:
        head = "\n".join(line for line in path.read_text().splitlines()[:8] if line.startswith("#"))
        assert f"python orchestration/sweep.py sweeps/{path.name}" in head
        for word in ("Hardware", "Duration", "Published result"):
            assert word in head, f"{path.name} does not say {word}"


def test_a_grid_is_the_product_of_its_values_after_the_rows(tmp_path: Path) -> None:
    text = """
name: small
parts:
  a:
    rows: {tied: {training.timesteps: tied}}
    grid: {training.first_stage_probability: [0.7, 0.9], training.previous_location: [0, 1.5]}
"""
    (part,) = load_sweep(write(tmp_path, text)).parts
    assert [row.label for row in part.rows] == [
        "tied",
        "first_stage_probability=0.7, previous_location=0",
        "first_stage_probability=0.7, previous_location=1.5",
        "first_stage_probability=0.9, previous_location=0",
        "first_stage_probability=0.9, previous_location=1.5",
    ]
    assert part.rows[0].configs[0].training.timesteps == "tied"
    assert part.rows[2].configs[0].training.previous_location == 1.5


def test_overrides_win_over_the_file_and_the_file_over_its_base() -> None:
    spec = load_sweep(QUICKSTART, ["training.steps=900", "workers.zero_stage=3"])
    config = spec.parts[0].rows[1].configs[0]
    assert config.training.steps == 900
    assert config.model.size == "micro"  # from the base
    assert spec.runtime.workers.zero_stage == 3


def test_each_seed_gives_a_config_of_its_own(tmp_path: Path) -> None:
    (part,) = load_sweep(write(tmp_path, "name: small\nseeds: [3, 5]\n")).parts
    assert [config.seed for config in part.rows[0].configs] == [3, 5]


def test_scientific_notation_is_a_number(tmp_path: Path) -> None:
    (part,) = load_sweep(write(tmp_path, "name: small\ntraining: {learning_rate: 1e-4}\n")).parts
    assert part.rows[0].configs[0].training.learning_rate == 1e-4


@pytest.mark.proves(25)
def test_all_mistakes_are_reported_at_once_with_place_and_nearest_name(tmp_path: Path) -> None:
    text = """
name: "bad name/.."
base: nope.yaml
traning: {steps: 5}
model: {size: XXL, patch_sizes: [2, -3]}
training: {batch_size: -3, learning_rate: fast, ema_decay: 1.0, steps: 1.5, warmup_step: 3}
sampling: {tau: [1.5]}
seeds: [0, 0]
"""
    message = mistakes(write(tmp_path, text))
    for expected in (
        "sweep.yaml: name: 'bad name/..' must be",
        "nope.yaml: no such file",
        "sweep.yaml: traning: unknown key; did you mean 'training'?",
        "sweep.yaml: model.size: 'XXL' is not allowed",
        "sweep.yaml: model.patch_sizes.1: -3 should be greater than 0",
        "sweep.yaml: training.batch_size: -3 should be greater than 0",
        "sweep.yaml: training.learning_rate: 'fast' should be a valid number",
        "sweep.yaml: training.ema_decay: 1.0 should be less than 1",
        "sweep.yaml: training.steps: 1.5 should be a valid integer",
        "sweep.yaml: training.warmup_step: unknown key; did you mean 'warmup_steps'?",
        "sweep.yaml: sampling.tau.0: 1.5 should be less than or equal to 1",
        "sweep.yaml: seeds: [0, 0] must be a list of different integers",
    ):
        assert expected in message


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("training.batch_size=31", "31 is not divisible by workers.num_workers = 2"),
        ("workers.micro_batch_size=5", "5 does not divide 16"),
        ("workers.max_accelerators=1", "1 is less than one training takes, workers.num_workers = 2"),
        ("workers.max_accelerators=0", "should be greater than 0"),
        ("model.patch_sizes=[2, 2]", r"[2, 2] give [64, 256] tokens"),
        ("model.patch_sizes=[3, 6]", "patch 3 does not divide side 16"),
        ("sampling.tau=[0.7, 0.8]", "has 2 entries; 2 stages need 1"),
        ("sampling.tau=0", "should be greater than 0"),
        ("sampling.steps=[10, 5, 5]", "has 3 entries for 2 stages: give one number a stage, e.g. [15, 5]"),
        ("sampling.steps=20", "[20] has 1 entry for 2 stages: give one number a stage, e.g. [15, 5]"),
        ("evaluation.at_steps=[9000]", "[9000] lie after the last training step"),
        ("decomposition.resolutions=[12, 32]", "32 is not a multiple of 12"),
        ("decomposition.resolutions=[8, 16]", "the last is 16, but fashion_mnist has side 32: end with 32"),
        ("data.dataset=fashion_mnst", "did you mean 'fashion_mnist'?"),
        ("paradigm=dmf", "'dmf' is not allowed; did you mean 'dfm'?"),
        ("workers.zero_stage=4", "4 is not allowed"),
        ("training.learning_rate=.nan", "finite"),
        ("base=other.yaml", "it is composed before the overrides"),
        ("seed=5", "give `seeds=[0, 1, ...]`"),
        ("evaluation.metrics=[]", "should have at least 1 item"),
        ("evaluation.metrics=[fvdd]", "'fvdd' is not allowed; did you mean 'fvd'? allowed: fd_lite0_block10"),
        ("training.adam_beta2=1.0", "should be less than 1"),
        ("training.location=1e308", "less than or equal to 20"),
        ("training.steps=99999999999999999999999", "less than or equal to 1000000000"),
        ("training=5", "5 should be"),
        ("training.learning_rte=1", "did you mean 'learning_rate'?"),
        ("modle.size=B", "unknown key 'modle.size'; did you mean 'model.size'?"),
        ("training.steps=1e3", "1000.0 should be a valid integer: write 1000"),
        ("training.steps=0", "0 must be 1 or more: 0 is for model.backbone: flux with model.start alone"),
        ("evaluation.metrics=[FID]", "'FID' is not allowed; did you mean 'fid'?"),
        ("training.steps", "is not key=value"),
        ("storage.root=${oc.env:HOME}", "interpolation is not supported"),
    ],
)
def test_an_impossible_setting_is_refused_with_its_reason(override: str, expected: str) -> None:
    assert expected in mistakes(QUICKSTART, override)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("name: [unclosed", "not valid YAML"),
        ("- a\n- b\n", "must be a mapping"),
        ("name: a\nname: b\n", "not valid YAML"),
        ("name: !!python/object/apply:os.system ['true']\n", "not valid YAML"),
        ("name: a\ndata: {dataset: '${oc.env:HOME}'}\n", "interpolation"),
        ("name: a\nparts: {p: {}}\n", "has neither rows nor a grid"),
        ("name: a\nparts: {p: {grids: {}}}\n", "did you mean 'grid'?"),
        ("name: a\nparts: {p: {grid: {training.steps: 5}}}\n", "must be a list of values"),
        ("name: a\nparts: {p: {rows: {x: {paradigm: dmf}}}}\n", "parts.p.rows.x.paradigm: 'dmf' is not allowed"),
        ("name: a\nparts: {p: {grid: {training.stepz: [1]}}}\n", "parts.p.grid.training.stepz: unknown key"),
        ("name: a\nparts: {p: {rows: {x: {seed: 3}}}}\n", "seeds are given once for the sweep"),
        ("name: a\nseed: 3\n", "give `seeds: [0, 1, ...]`"),
        ("name: a\nparts: {p: {grid: {training.steps: [1, 1]}}}\n", "two rows are called 'steps=1'"),
        ("name: a\ntraining: 5\n", "training"),
        ("name: a\nparts: 3\n", "must be a mapping of part names"),
        ("name: a\nseeds: []\n", "must be a list of different integers"),
        ("name: a\nbase: [x]\n", "must be the name of a YAML file"),
        ("name: " + "[" * 3000 + "]" * 3000, "not valid YAML"),
        ("", "the file is empty; a sweep needs at least a name"),
        ("# nothing yet\n", "the file is empty"),
        ("training: {steps: 5}\n", "sweep.yaml: name: is missing"),
        ("name: my sweep\n", "'my sweep' must be 1 to 64 letters, digits, '.', '_' or '-': write 'my_sweep'"),
        ("name: 5\n", "5 must be 1 to 64 letters, digits, '.', '_' or '-': write '5'"),
        ("name: a\ntraining: {steps: '1000'}\n", "'1000' should be a valid integer: write 1000 without quotes"),
        ("name: a\ntraining: {learning_rate: '1e-4'}\n", "'1e-4' should be a valid number: write 1e-4 without quotes"),
        ("name: a\nworkers: {use_gpu: 'true'}\n", "'true' should be a valid boolean: write true without quotes"),
        ("name: a\nstorage: {root: 5}\n", "5 should be a valid string: write '5' in quotes"),
        ("name: a\nseeds: 4\n", "0 to 2**63 - 1; for 4 seeds write [0, 1, 2, 3]"),
        ("\x00\x01", "not valid YAML"),
    ],
)
def test_a_malformed_file_is_refused_with_its_reason(tmp_path: Path, text: str, expected: str) -> None:
    assert expected in mistakes(write(tmp_path, text))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("evaluation: {metrics: [fd_lite0]}", "evaluation.metrics.0: 'fd_lite0' is not allowed"),
        ("parts: {p: {row: {x: {}}}}", "parts.p.row: unknown key; did you mean 'rows'?"),
        (
            "compute: {budget: DFM}\nprimary: {metric: fd_lite0_block10, baseline: FM}\npart: {p: {}}",
            "part: unknown key",
        ),
        (f"compute: {{budget: dffm}}\n{UNEQUAL}", "compute.budget: 'dffm' is neither a number of FLOPs nor the label"),
        ("training: {steps: 0}", "training.steps (row 'default'): 0 must be 1 or more"),
    ],
)
def test_what_follows_from_a_mistake_is_not_told_beside_it(tmp_path: Path, text: str, expected: str) -> None:
    (line,) = mistakes(write(tmp_path, f"name: a\n{text}\n")).splitlines()
    assert expected in line


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("base/fashion_mnist_small", f"is a base, not a sweep: e.g. {ROOT}/sweeps/quickstart.yaml uses it"),
        ("base/dit_xl", "is a base, not a sweep: e.g. "),
        ("layers/tiny", "is a layer, not a sweep: give it beside a sweep, as --with "),
        ("layers/site.example", "is a layer, not a sweep: give it beside a sweep, as --site "),
    ],
)
def test_a_file_around_sweeps_is_told_from_a_sweep(name: str, expected: str) -> None:
    assert expected in mistakes(ROOT / "sweeps" / f"{name}.yaml")


@pytest.mark.proves(26)
def test_a_grid_of_too_many_trials_is_refused_before_it_is_expanded(tmp_path: Path) -> None:
    values = list(range(1, 200))
    text = f"name: a\nparts: {{p: {{grid: {{training.steps: {values}, training.batch_size: {values}}}}}}}\n"
    assert "more than 10000 trials" in mistakes(write(tmp_path, text))


@pytest.mark.parametrize("given", ["quikstart.yaml", "sweeps/quikstart.yaml", f"{ROOT}/sweeps/quikstart.yaml"])
def test_a_missing_file_names_the_nearest_one_as_it_can_be_typed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str
) -> None:
    monkeypatch.chdir(tmp_path)
    hint = mistakes(Path(given)).partition("did you mean ")[2].strip("'?")
    assert load_sweep(Path(hint)).name == "quickstart"


def test_a_file_beside_a_misspelt_one_comes_before_the_shipped_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path, "name: a\nbase: bse.yaml\n").rename("quickstart.yaml")
    (tmp_path / "base.yaml").write_text("training: {steps: 5}\n")
    assert f"did you mean '{tmp_path}/quickstart.yaml'?" in mistakes(Path("quickstrt.yaml"))
    assert f"did you mean '{tmp_path}/base.yaml'?" in mistakes(Path("quickstart.yaml"))


def test_a_folder_names_a_sweep_that_can_be_typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert load_sweep(Path(mistakes(tmp_path).partition("e.g. ")[2])).name == "quickstart"
    write(tmp_path, "name: own\n")
    assert load_sweep(Path(mistakes(Path("../") / tmp_path.name).partition("e.g. ")[2])).name == "own"


def test_bases_have_bases_of_their_own_and_a_nearer_one_wins(tmp_path: Path) -> None:
    (tmp_path / "far.yaml").write_text("training: {steps: 5, batch_size: 8, warmup_steps: 2}\n")
    (tmp_path / "near.yaml").write_text("base: far.yaml\ntraining: {steps: 6, batch_size: 10}\n")
    spec = load_sweep(write(tmp_path, "name: a\nbase: near.yaml\ntraining: {steps: 7}\n"))
    training = spec.parts[0].rows[0].configs[0].training
    assert (training.steps, training.batch_size, training.warmup_steps) == (7, 10, 2)


def test_a_sweep_is_a_base_but_for_its_name(tmp_path: Path) -> None:
    path = write(tmp_path, f"name: mine\nbase: {ROOT}/sweeps/quickstart.yaml\nseeds: [7]\n")
    mine, theirs = load_sweep(path), load_sweep(QUICKSTART)
    assert (mine.name, mine.title, mine.seeds) == ("mine", "mine", (7,))
    assert [row.label for part in mine.parts for row in part.rows] == [
        row.label for part in theirs.parts for row in part.rows
    ]


def test_a_base_of_itself_and_unknown_keys_of_a_base_are_told_with_their_file(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text("base: sweep.yaml\ntrainning: {steps: 5}\n")
    told = mistakes(write(tmp_path, "name: a\nbase: base.yaml\n"))
    assert f"{tmp_path}/base.yaml: base: sweep.yaml is a base of itself" in told
    assert f"{tmp_path}/base.yaml: trainning: unknown key; did you mean 'training'?" in told


def test_a_folder_is_not_a_sweep(tmp_path: Path) -> None:
    assert "is a directory" in mistakes(tmp_path)


def test_a_row_cannot_set_what_concerns_the_whole_sweep(tmp_path: Path) -> None:
    text = "name: a\nparts: {p: {rows: {x: {storage.root: /y}}}}\n"
    assert "parts.p.rows.x.storage: unknown key" in mistakes(write(tmp_path, text))


def test_a_mistake_in_the_common_part_hides_none_in_the_rows(tmp_path: Path) -> None:
    text = "name: a\ntraining: {stepz: 1}\nparts: {p: {rows: {x: {modle.size: B}}, grid: {training.steps: [-1]}}}\n"
    message = mistakes(write(tmp_path, text))
    for expected in ("training.stepz: unknown key", "rows.x.modle: unknown key", "grid.training.steps: -1 should be"):
        assert expected in message


WRONG = (
    "workers.num_wrkers=3",
    "workers.num_workers=0",
    "workers.micro_batch_size=7",
    "workers=3",
    "storage.rot=1",
    "tracking.uri=5",
    "datasets.x={files: 3}",
    "autoencoders.x={kind: kl, fles: /x}",
    "compute.budgt=1",
    "published={tabl: 7}",
    "seeds=[0, 0]",
    "seeds={}",
    "evaluation.num_samplez=1",
    "data.sid=1",
    "data.sid={}",
    "title={}",
)


@pytest.mark.parametrize("mistake", WRONG)
@pytest.mark.parametrize("sweep", ["table1_small", "table2_small", "table4_small", "search_imagenet512"])
def test_one_mistake_is_one_message_at_its_own_place(sweep: str, mistake: str) -> None:
    (line,) = mistakes(ROOT / "sweeps" / f"{sweep}.yaml", mistake).splitlines()
    key = mistake.partition("=")[0].partition(".")[0]
    assert line.startswith(f"command line: {key}")


@pytest.mark.parametrize("more", ["", "traning: {steps: 5}\n", "model: {size: XXL}\nworkers: {num_workers: 0}\n"])
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("partz: {}", "sweep.yaml: partz: unknown key; did you mean 'parts'?"),
        ("title: {}", "sweep.yaml: title: must be text"),
        ("seeds: {}", "sweep.yaml: seeds: {} must be a list"),
        ("published: {}", "sweep.yaml: published.table: is needed"),
        ("data: {autoencodr: {}}", "sweep.yaml: data.autoencodr: unknown key; did you mean 'autoencoder'?"),
        ("datasets: {mine: {}}", "sweep.yaml: datasets.mine.files: is needed"),
        ("parts: {p: {rows: {x: {modle: {}}}}}", "parts.p.rows.x.modle: unknown key; did you mean 'model'?"),
        ("parts: {p: {settings: {modle: {}}, rows: {x: {}}}}", "parts.p.rows.x.modle: unknown key"),
    ],
)
def test_an_empty_section_hides_no_mistake_alone_or_beside_others(
    tmp_path: Path, text: str, expected: str, more: str
) -> None:
    message = mistakes(write(tmp_path, f"name: a\n{text}\n{more}"))
    assert expected in message
    for key in ("traning", "size", "num_workers"):
        assert (f"{key}: " in message) == (f"{key}: " in more)


def test_an_empty_section_of_a_row_or_a_later_layer_changes_nothing(tmp_path: Path) -> None:
    rows = "parts: {p: {rows: {x: {training: {}, model: {size: nano}}}}}"
    (tmp_path / "base.yaml").write_text("training: {steps: 7}\n")
    (part,) = load_sweep(write(tmp_path, f"name: a\nbase: base.yaml\ntraining: {{}}\n{rows}\n")).parts
    assert part.rows[0].configs[0].training.steps == 7
    assert part.rows[0].settings == {"model.size": "nano"}


def test_a_file_is_not_blamed_on_the_command_line_nor_the_command_line_on_a_file(tmp_path: Path) -> None:
    data = "datasets: {mine: {files: /not/there}}\ndata: {dataset: mine, side: 32}\n"
    path = write(tmp_path, f"name: a\n{data}")
    assert mistakes(path, f"storage.root={tmp_path}").startswith(f"{path}: datasets.mine.files: cannot be used")
    assert mistakes(path, "workers.num_workers=7").startswith(f"{path}: datasets.mine.files: cannot be used")
    path = write(tmp_path, "name: a\nworkers: {num_workers: 2}\n")
    assert mistakes(path, "workers=3").startswith("command line: workers: 3 should be a mapping")
    seven = "workers.num_workers: 7 does not divide training.batch_size 256: e.g. 8"
    assert mistakes(path, "workers.num_workers=7") == f"command line: {seven}"
    site = tmp_path / "site.yaml"
    site.write_text("workers: {num_workers: 7}\n")
    with pytest.raises(UserError) as caught:
        load_sweep(write(tmp_path, "name: a\n"), [], Layers(str(site)))
    assert str(caught.value) == f"{site}: {seven}"
    assert mistakes(path, "training.batch_size=31") == (
        "command line: training.batch_size: 31 is not divisible by workers.num_workers = 2"
    )


def test_a_base_of_a_shorter_name_than_the_one_that_is_there_is_guessed(tmp_path: Path) -> None:
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "fashion_mnist_small.yaml").write_text("training: {steps: 7}\n")
    path = write(tmp_path, "name: a\nbase: base/fashion.yaml\n")
    assert f"did you mean '{tmp_path}/base/fashion_mnist_small.yaml'?" in mistakes(path)


def test_a_file_that_may_not_be_read_is_told_as_such(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path, "name: a\n")

    def refuse(*_: object, **__: object) -> str:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_text", refuse)
    assert mistakes(path) == f"{path}: cannot be read (Permission denied)"


def test_a_sweep_that_is_reached_through_a_link_finds_its_base(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "base.yaml").write_text("training: {steps: 7}\n")
    (tmp_path / "elsewhere" / "sweep.yaml").write_text("name: a\nbase: base.yaml\n")
    link = tmp_path / "link.yaml"
    link.symlink_to("elsewhere/sweep.yaml")
    assert next(load_sweep(link).configs).training.steps == 7
    (tmp_path / "base.yaml").write_text("training: {steps: 9}\n")
    assert next(load_sweep(link).configs).training.steps == 9, "beside the link, as it was"
    (tmp_path / "elsewhere" / "sweep.yaml").write_text("name: a\nbase: nope.yaml\n")
    assert "nope.yaml: no such file" in mistakes(link)


def test_a_mistake_that_all_rows_have_in_common_is_told_once() -> None:
    lines = mistakes(QUICKSTART, "evaluation.metrics=[fvd]").splitlines()
    assert len(lines) == 1
    assert "evaluation.metrics (row 'flow matching' and 5 more): fvd does not measure images" in lines[0]


def with_own_files(tmp_path: Path, part: str) -> Path:
    """A sweep with files of its own, whose part names another dataset."""
    (tmp_path / "images" / "a").mkdir(parents=True)
    (tmp_path / "images" / "a" / "0.png").write_bytes(b"a picture")
    base = ROOT / "sweeps" / "base" / "imagenet512_dit_b.yaml"
    text = f"name: a\nbase: {base}\ndatasets: {{mine: {{files: {tmp_path}/images}}}}\nparts: {{p: {part}}}\n"
    return write(tmp_path, text)


@pytest.mark.parametrize(
    "part",
    [
        "{rows: {one: {data.dataset: imagenet1024_flux}, two: {data: {dataset: imagenet1024_flux}}}}",
        "{settings: {data.dataset: imagenet1024_flux}, rows: {one: {}, two: {}}}",
    ],
)
def test_what_wins_over_own_files_is_said(tmp_path: Path, part: str) -> None:
    told = mistakes(with_own_files(tmp_path, part), "data.dataset=mine", "data.side=512")
    assert told == (
        "command line: data.side (row 'one' and 1 more): is for datasets under datasets:, and imagenet1024_flux has no "
        "files there; it names data.dataset 'imagenet1024_flux' itself, or its part does, which wins over 'mine' "
        "(command line)"
    )


def test_what_a_row_names_itself_is_said_where_its_files_are_missing(tmp_path: Path) -> None:
    part = "{rows: {one: {data.dataset: imagenet512_flux}, two: {}}}"
    problems = [str(problem) for problem in missing_inputs(load_sweep(with_own_files(tmp_path, part)))]
    (told,) = [problem for problem in problems if "data.dataset" in problem]
    assert told.endswith(
        "; p / one name it themselves, which wins over data.dataset: give its files as "
        "datasets.imagenet512_flux.files, or another name there"
    )
    part = "{rows: {one: {}, two: {}}}"
    assert "wins" not in " ".join(map(str, missing_inputs(load_sweep(with_own_files(tmp_path / "other", part)))))


@pytest.mark.parametrize("given", ["min", "mine2"])
def test_a_misspelt_dataset_is_told_once_at_its_key(given: str, tmp_path: Path) -> None:
    path = with_own_files(tmp_path, "{rows: {one: {}, two: {}}}")
    assert mistakes(path, f"data.dataset={given}", "data.side=512") == (
        f"command line: data.dataset: {given!r} is not a dataset; did you mean 'mine'? "
        "known: fashion_mnist, moving_fashion, mine"
    )
    path.write_text(f"{path.read_text()}data: {{dataset: {given}}}\n")
    assert mistakes(path).startswith(f"{path}: data.dataset: {given!r} is not a dataset; did you mean 'mine'?")


def test_zero_3_under_autocast_asks_for_activation_checkpointing() -> None:
    asked = ["workers.zero_stage=3", "training.precision=bf16"]
    with pytest.raises(UserError, match=r"workers.activation_checkpointing: false with workers.zero_stage 3 and"):
        load_sweep(QUICKSTART, asked)
    assert load_sweep(QUICKSTART, [*asked, "workers.activation_checkpointing=true"]).runtime.workers.zero_stage == 3
