"""Captioned images and their captions, encoded by the tasks that a config needs, and read by a training."""

from __future__ import annotations

import re
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from safetensors.torch import load_file, save_file

from dfm_core.data.captions.caption import caption_number
from dfm_core.data.captions.text_store import LiveTexts, TextStore
from dfm_core.models.flux.text_encoders import load_text_encoders
from dfm_core.models.text_tables import NULL_CAPTION
from orchestration.artifacts.samples.latents import latent_cache
from orchestration.artifacts.samples.text_encodings import open_text_table, open_texts
from orchestration.artifacts.task_record import read_record
from orchestration.config.datasets import TextEncodersConfig
from orchestration.config.runtime import RuntimeConfig
from orchestration.data.describe import DatasetInspector
from orchestration.encoding import caption_encoder
from orchestration.storage.layout import TaskPaths
from orchestration.storage.store import Store
from orchestration.tasks.encoding import latents_task, pixels_task, texts_task
from orchestration.tasks.task import Task
from orchestration.tasks.training import train_payload, train_task
from orchestration.training.worker_setup import open_training_data
from tests.support.captioned_files import caption, captioned_config, captioned_runtime, make_captioned
from tests.support.encodings import small_parts
from tests.support.measuring import WORKERS, Bench


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_captioned(tmp_path_factory.mktemp("captioned"))


def tasks_of(runtime: RuntimeConfig, **values: object) -> tuple[Task, Task, Task]:
    """Latents, real images and captions, with parts of a few samples."""
    config = captioned_config(runtime, **values)
    texts = texts_task(config)
    assert texts is not None
    return small_parts(latents_task(config)), small_parts(pixels_task(config)), texts


def encoded(store: Store, runtime: RuntimeConfig, **values: object) -> tuple[Task, Task, Task]:
    tasks, bench = tasks_of(runtime, **values), Bench(store, runtime=runtime)
    for task in tasks:
        bench.run(task)
    return tasks


def test_images_become_latents_of_every_shape_with_their_captions(files: Path, store: Store) -> None:
    latents, pixels, texts = encoded(store, captioned_runtime(files))
    record = read_record(store, latents.digest)
    assert record is not None
    assert record.about["shapes"] == {"32-24x40": 4, "32-32x32": 12, "32-40x24": 4}
    assert (record.metrics["num_samples"], record.metrics["num_captions"]) == (20.0, 9.0)
    real = read_record(store, pixels.digest)
    assert real is not None
    assert sum(real.about["shapes"].values()) == 5
    own = read_record(store, texts.digest)
    assert own is not None
    assert (own.metrics["num_samples"], own.metrics["num_cut"]) == (10.0, 0.0)


def test_training_reads_batches_of_one_shape_and_captions_of_the_images(files: Path, store: Store) -> None:
    runtime = captioned_runtime(files)
    latents, _, texts = encoded(store, runtime)
    data, reason = open_training_data(latents.config.data, latents.digest, store, WORKERS, batch_size=4)
    assert not reason
    assert data is not None
    table = open_texts(store, TaskPaths(texts.digest).latents, latent_cache(WORKERS))
    known = {caption_number(caption(number)) for number in range(20)}
    shapes: Counter[tuple[int, ...]] = Counter()
    for samples, labels in data.batches(3, [range(step * 4, step * 4 + 4) for step in range(30)]):
        shapes[tuple(samples.shape[1:])] += 1
        assert set(labels.tolist()) <= known
        assert table.rows(labels).tokens.shape == (4, 16, 16)
    assert set(shapes) == {(4, 6, 10), (4, 8, 8), (4, 10, 6)}


def test_rows_of_captions_are_those_of_the_encoders(files: Path, store: Store) -> None:
    runtime = captioned_runtime(files)
    *_, texts = encoded(store, runtime)
    table = open_texts(store, TaskPaths(texts.digest).latents, latent_cache(WORKERS))
    encoders = load_text_encoders(files / "encoders", 16, torch.device("cpu"), torch.float32)
    wanted = encoders.encode(["", caption(4)])
    rows = table.rows(torch.tensor([NULL_CAPTION, caption_number(caption(4))]))
    assert torch.allclose(rows.tokens.float(), wanted.tokens, atol=1e-6)
    assert torch.allclose(rows.pooled.float(), wanted.pooled, atol=1e-6)


def with_tokens_stored(runtime: RuntimeConfig, **changed: Any) -> RuntimeConfig:
    """Treat any store of encodings as too large."""
    return replace(runtime, text_encoders={"tiny": replace(runtime.text_encoders["tiny"], store_gb=0.0, **changed)})


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_captions_encoded_where_they_are_read_are_bitwise_the_stored_ones(
    files: Path, store: Store, precision: Literal["fp32", "bf16"]
) -> None:
    runtime = captioned_runtime(files)
    stored = replace(runtime, text_encoders={"tiny": TextEncodersConfig(str(files / "encoders"), precision)})
    live, tables = with_tokens_stored(runtime, precision=precision), []
    for own in (stored, live):
        *_, texts = encoded(store, own)
        encoders = Bench(store, runtime=own).evaluator._resources
        place, cache = TaskPaths(texts.digest).latents, latent_cache(WORKERS)
        data = texts.config.data
        tables.append(open_text_table(store, place, cache, lambda own=encoders, data=data: own.text_encoders(data)))
    assert [type(table) for table in tables] == [TextStore, LiveTexts]
    numbers = [caption_number(caption(number)) for number in (4, 7, 4, 1)]
    for labels in (torch.tensor([NULL_CAPTION, *numbers]), torch.tensor(numbers[1:]), torch.tensor(numbers[:1])):
        first, second = (table.rows(labels) for table in tables)
        assert first.tokens.dtype == (torch.float32 if precision == "fp32" else torch.bfloat16)
        assert torch.equal(first.tokens, second.tokens)
        assert torch.equal(first.pooled, second.pooled)
    with pytest.raises(KeyError, match="the caption of number 5 was not encoded"):
        tables[1].rows(torch.tensor([5]))


def test_where_captions_are_encoded_changes_the_task_and_nothing_that_is_trained(files: Path) -> None:
    runtime = captioned_runtime(files)
    stored, live = captioned_config(runtime), captioned_config(with_tokens_stored(runtime))
    assert train_payload(stored) == train_payload(live)
    tasks = [texts_task(config) for config in (stored, live)]
    assert None not in tasks
    first, second = (task for task in tasks if task is not None)
    assert first.digest != second.digest
    assert first.title == "flowers at 32 px, captions by tiny"
    assert second.title == "flowers at 32 px, tokens of captions by tiny"
    assert first.num_bytes == 25 * 4 * (16 * 16 + 12)
    assert second.num_bytes == 25 * 4 * (16 + 12)
    assert [train_task(config, "", 1, ()).texts for config in (stored, live)] == [first.digest, second.digest]


@pytest.mark.parametrize(
    ("store_gb", "told"),
    [
        (1.0, r"flowers: encodings of 25 captions by tiny are at most 2.7e-05 GB, no more than .*store_gb = 1: they"),
        (0.0, r"more than text_encoders.tiny.store_gb = 0: tokens are stored, 2.8e-06 GB, and T5 runs in each worker"),
    ],
)
def test_a_plan_says_how_captions_are_stored_and_by_which_limit(files: Path, store_gb: float, told: str) -> None:
    runtime = captioned_runtime(files)
    encoders = {"tiny": replace(runtime.text_encoders["tiny"], store_gb=store_gb)}
    inspector = DatasetInspector(replace(runtime, text_encoders=encoders))
    inspector.describe(replace(captioned_config(runtime).data, described=None))
    assert re.search(told, inspector.about[-1])


@pytest.mark.parametrize("tokens", [False, True])
def test_encoding_of_captions_that_was_cut_off_goes_on(
    files: Path, store: Store, monkeypatch: pytest.MonkeyPatch, *, tokens: bool
) -> None:
    monkeypatch.setattr(caption_encoder, "TOKENS_PER_PART" if tokens else "CAPTIONS_PER_PART", 3)
    runtime = with_tokens_stored(captioned_runtime(files)) if tokens else captioned_runtime(files)
    latents, pixels, texts = tasks_of(runtime)
    bench = Bench(store, runtime=runtime)
    bench.run(latents)
    bench.run(pixels)
    assert bench.evaluator.num_parts(texts) == 4
    bench.evaluator.encode(texts, 1, 4)
    bench.evaluator.encode(texts, 3, 4)
    made: list[int] = []
    encode = bench.evaluator.encode
    monkeypatch.setattr(
        bench.evaluator, "encode", lambda task, number, of: (made.append(number), encode(task, number, of))[1]
    )
    bench.run(texts)
    assert made == [0, 2]
    assert len(open_texts(store, TaskPaths(texts.digest).latents, latent_cache(WORKERS))) == 10


def test_digests_follow_what_was_encoded_and_no_more(files: Path, tmp_path: Path) -> None:
    runtime = captioned_runtime(files)
    first = tasks_of(runtime)
    longer = tasks_of(runtime, data__text_length=24)
    assert [one.digest == other.digest for one, other in zip(first, longer, strict=True)] == [True, True, False]
    dropped = tasks_of(runtime, training__class_dropout=0.5)
    assert [one.digest for one in dropped] == [one.digest for one in first]
    exact = {"tiny": replace(runtime.text_encoders["tiny"], precision="bf16")}
    assert tasks_of(replace(runtime, text_encoders=exact))[2].digest != first[2].digest
    other = make_captioned(tmp_path / "other", num_train=19)
    changed = tasks_of(captioned_runtime(other))
    assert changed[0].digest != first[0].digest
    assert changed[2].digest != first[2].digest
    wider = tasks_of(runtime, data__sides=(32, 64))
    assert wider[0].digest != first[0].digest
    weights = tmp_path / "vae/diffusion_pytorch_model.safetensors"
    shutil.copytree(files / "vae", weights.parent)
    save_file({name: 2 * tensor for name, tensor in load_file(weights).items()}, weights)
    autoencoders = {"tiny": replace(runtime.autoencoders["tiny"], files=str(weights.parent))}
    decoded = tasks_of(replace(runtime, autoencoders=autoencoders))
    assert decoded[0].digest != first[0].digest
    assert [one.digest for one in decoded[1:]] == [one.digest for one in first[1:]]


def test_images_too_small_are_left_out_by_name(files: Path, store: Store) -> None:
    task = small_parts(latents_task(captioned_config(captioned_runtime(files, max_bad_share=0.9), data__sides=(64,))))
    Bench(store, runtime=captioned_runtime(files, max_bad_share=0.9)).run(task)
    record = read_record(store, task.digest)
    assert record is not None
    assert record.metrics["num_samples"] == 4.0
    assert "would have to be enlarged for every shape" in record.about["left_out"][0]


@pytest.mark.parametrize(
    ("values", "key", "message"),
    [
        ({"sides": ()}, "data.sides", "is needed"),
        ({"sides": (32, 32)}, "data.sides", "has a side twice"),
        ({"side_shares": (1.0, 2.0)}, "data.side_shares", "2 shares for 1 sides"),
        ({"text": "tinny"}, "data.text", "'tinny' is no name under text_encoders:"),
        ({"side": 32}, "data.side", "is for images with classes, and flowers's have captions"),
        ({"mirrored": True}, "data.mirrored", "is for images with classes"),
        ({"sides": (36,)}, "datasets.flowers", "a side of 36 pixels is no multiple of 8"),
    ],
)
def test_settings_that_do_not_fit_captions_are_told(
    files: Path, values: dict[str, object], key: str, message: str
) -> None:
    runtime = captioned_runtime(files)
    config = captioned_config(runtime).data
    _, problems = DatasetInspector(runtime).describe(replace(config, described=None, **values))
    assert [(own, message in text) for own, text in problems] == [(key, True)]


def test_encoders_that_are_not_there_yet_are_planned_with(files: Path, tmp_path: Path) -> None:
    runtime = captioned_runtime(files)
    absent = {"tiny": replace(runtime.text_encoders["tiny"], files=str(tmp_path / "later"))}
    inspector = DatasetInspector(replace(runtime, text_encoders=absent))
    data, problems = inspector.describe(replace(captioned_config(runtime).data, described=None))
    assert not problems
    assert data.described is not None
    assert "text_encoders.tiny" in inspector.absent


def test_encoders_that_changed_since_planning_are_refused(store: Store, tmp_path: Path) -> None:
    own = make_captioned(tmp_path / "own")
    runtime = captioned_runtime(own)
    latents, pixels, texts = tasks_of(runtime)
    config = own / "encoders/text_encoder_2/config.json"
    config.write_text(config.read_text() + "\n")
    bench = Bench(store, runtime=runtime)
    bench.run(latents)
    bench.run(pixels)
    with pytest.raises(ValueError, match=r"text_encoders\.tiny: its files have changed since the sweep was planned"):
        bench.run(texts)
