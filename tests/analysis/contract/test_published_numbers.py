"""The paper's numbers: all there, and saying what the paper's text says of them."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from analysis.contract.published_numbers import (
    check_published_metrics,
    find_published,
    has_published,
    published_better,
    published_network,
    published_parts,
)
from analysis.errors import UserError

DEFAULT_ROWS = {
    "a_first_stage_probability": "0.9",
    "b_lognormal_location": "1.5",
    "c_architecture": "baseline",
    "d_parameter_specialization": "projection",
    "e_compute_allocation": "smaller_patch",
}
"""Part of Table 1 -> the row that is the default configuration."""


def printed(table: str, part: str, row: str, guidance: float | None = None) -> list[str]:
    found = find_published(table, part, guidance)
    return [found.values[row, metric].printed for metric in found.metrics]


def test_every_table_is_whole() -> None:
    numbers = Counter(part.table for part in published_parts() for _ in part.values)
    assert numbers == {"table1": 75, "table2": 108, "table3": 9, "table4": 12, "decompositions": 36, "efficiency": 12}


def test_every_row_has_every_metric_of_its_part() -> None:
    for part in published_parts():
        assert set(part.values) == {(row, metric) for row in part.rows for metric in part.metrics}
        assert all(value.value > 0 for value in part.values.values())


def test_digits_are_kept_as_printed() -> None:
    assert printed("table2", "imagenet_512", "cascaded", 1.25) == ["6.80", "163.0", "128.4"]
    assert printed("table3", "flux_finetuning", "flux") == ["17.79", "172.7", "0.3280"]
    assert find_published("table3", "flux_finetuning").values["flux", "clipsim"].value == 0.328


@pytest.mark.parametrize(("part", "row"), DEFAULT_ROWS.items())
def test_the_default_row_of_table_1_is_the_same_in_five_parts(part: str, row: str) -> None:
    assert printed("table1", part, row) == ["29.56", "571.0", "41.0"]


def test_dfm_is_best_in_table_2_but_for_one_fdd_on_kinetics_as_the_paper_says() -> None:
    beaten = []
    for part in published_parts():
        for metric in part.metrics if part.table == "table2" else ():
            values = {row: part.values[row, metric].value for row in part.rows}
            best = max(values.values()) if metric == "is" else min(values.values())
            beaten += [(part.part, part.guidance, metric)] if values["dfm"] != best else []
    assert beaten == [("kinetics_512", 1.5, "fdd_10k")]


@pytest.mark.parametrize("guidance", [1.0, 1.25, 1.5])
def test_the_decompositions_repeat_rows_of_table_2(guidance: float) -> None:
    for row, in_table_2 in (("dfm/laplacian", "dfm"), ("flow_matching", "flow_matching")):
        repeated = printed("decompositions", "imagenet_512", row, guidance)
        assert repeated == printed("table2", "imagenet_512", in_table_2, guidance)


def test_the_arxiv_text_comes_first_and_carries_the_camera_ready_correction() -> None:
    part = find_published("table1", "f_input_decomposition")
    corrected = {key: (value.printed, value.correction) for key, value in part.values.items() if value.correction}
    assert corrected == {
        ("256-512-1024", "fid_10k"): ("50.61", "40.60"),
        ("256-512-1024", "fdd_10k"): ("827.0", "683.2"),
        ("256-512-1024", "is"): ("24.5", "31.8"),
    }
    assert {value.source for value in part.values.values()} == {"arxiv_v1"}


def test_the_camera_ready_text_fills_in_what_arxiv_does_not_print() -> None:
    tables = {"decompositions", "efficiency"}
    sources = {(part.table in tables, value.source) for part in published_parts() for value in part.values.values()}
    assert sources == {(True, "camera_ready"), (False, "arxiv_v1")}


def test_no_guidance_takes_the_only_one_that_is_printed_or_else_1() -> None:
    assert find_published("table3", "flux_finetuning").guidance == 3.0
    assert find_published("table1", "c_architecture").guidance == 1.0
    assert find_published("efficiency", "imagenet_512").guidance is None
    assert find_published("table2", "kinetics_512").guidance == 1.0


@pytest.mark.parametrize(
    ("table", "part", "guidance", "message"),
    [
        ("tabel2", "x", None, "'tabel2' is not a table; did you mean 'table2'.*known: table1, table2, table3, table4"),
        ("table2", "imagenet512", 1.0, "is not a part of table2; did you mean 'imagenet_512'.*imagenet_1024"),
        ("table2", "imagenet_512", 1.3, "1.3 is not a guidance of table2 imagenet_512; known: 1, 1.25, 1.5"),
    ],
)
def test_what_the_paper_does_not_have_is_named(table: str, part: str, guidance: float | None, message: str) -> None:
    with pytest.raises(UserError, match=message):
        find_published(table, part, guidance)


def test_a_table_knows_its_parts() -> None:
    assert has_published("table2", "imagenet_512")
    assert not has_published("table2", "autoencoder")
    with pytest.raises(UserError, match="'table5' is not a table"):
        has_published("table5", "autoencoder")


@pytest.mark.parametrize(
    ("metric", "network"),
    [
        ("fid_50k", "inception"),
        ("fdd_10k", "dinov2"),
        ("frame_fid_10k", "inception"),
        ("fvd_10k", "i3d"),
        ("is", "inception"),
        ("clipsim", "clip"),
        ("peak_memory_gb", None),
    ],
)
def test_a_metric_says_its_network(metric: str, network: str | None) -> None:
    assert published_network(metric) == network


def test_higher_is_better_for_two_metrics_only() -> None:
    metrics = {metric for part in published_parts() for metric in part.metrics}
    assert {metric for metric in metrics if published_better(metric) == "higher"} == {"is", "clipsim"}


def test_a_metric_that_names_its_number_of_samples_names_that_of_its_protocol() -> None:
    named = {
        (part.table, part.part, found[1], part.protocol.num_samples)
        for part in published_parts()
        for metric in part.metrics
        if (found := re.search(r"_(\d+)k$", metric))
    }
    assert {int(thousands) * 1000 == samples for _, _, thousands, samples in named} == {True}
    assert {(table, samples) for table, _, _, samples in named} == {
        ("table1", 10_000),
        ("table2", 10_000),
        ("table2", 50_000),
        ("table3", 10_000),
        ("table4", 50_000),
        ("decompositions", 50_000),
    }


@pytest.mark.parametrize(
    ("table", "part", "setting", "place"),
    [
        ("table1", "a_first_stage_probability", "ImageNet, 512 px, DiT-B/2, 600,000 steps", "page 6, section 4.2"),
        ("table1", "f_input_decomposition", "ImageNet, 1024 px, DiT-B/2, 600,000 steps", "page 6, section 4.2"),
        ("table2", "imagenet_1024", "ImageNet, 1024 px, DiT-XL/2, 350,000 steps", "page 8, section 4.4"),
        ("table2", "kinetics_512", "Kinetics-700, 512 px, DiT-XL/2, 200,000 steps", "page 8, section 4.4"),
        (
            "table3",
            "flux_finetuning",
            "the authors' text-to-image data, 1024 px, FLUX-dev, 32,000 steps",
            "page 10, section 4.5 and E.1",
        ),
        ("table4", "autoencoder", "ImageNet, 512 px, DiT-B/2, 400,000 steps", "section D"),
        ("efficiency", "imagenet_512", "ImageNet, 512 px, DiT-XL/2", ""),
    ],
)
def test_a_part_says_how_it_was_trained_and_where_it_stands(table: str, part: str, setting: str, place: str) -> None:
    protocol = find_published(table, part).protocol
    assert (protocol.setting, protocol.place) == (setting, place)


def test_every_metric_of_sampled_images_has_its_network() -> None:
    sampled = {metric for part in published_parts() if part.guidance is not None for metric in part.metrics}
    assert all(published_network(metric) for metric in sampled)


def test_a_metric_that_a_table_does_not_have_is_named() -> None:
    check_published_metrics("table2", ["fid_50k", "fid_10k", "fvd_10k"])
    with pytest.raises(UserError, match="'fid_5k' is not a metric of table2; did you mean 'fid_50k'"):
        check_published_metrics("table2", ["is", "fid_5k"])
