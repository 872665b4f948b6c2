"""Captioned images and their captions, encoded by the tasks that a config needs, and read by a training."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from dfm_core.data.captions.caption import caption_number
from dfm_core.models.flux.text_encoders import load_text_encoders
from dfm_core.models.text_tables import NULL_CAPTION
from orchestration.artifacts.samples.latents import latent_cache
from orchestration.artifacts.samples.text_encodings import open_texts
from orchestration.artifacts.task_record import read_record
from orchestration.config.runtime import RuntimeConfig
from orchestration.data.describe import DatasetInspector
from orchestration.encoding import caption_encoder
from orchestration.storage.layout import TaskPaths
from orchestration.storage.store import Store
from orchestration.tasks.encoding import latents_task, pixels_task, texts_task
from orchestration.tasks.task import Task
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


def test_encoding_of_captions_that_was_cut_off_goes_on(
    files: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(caption_encoder, "CAPTIONS_PER_PART", 3)
    runtime = captioned_runtime(files)
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
