"""Files into latents by an encode task, and what trainings and measurements make of them."""

from __future__ import annotations

import csv
import io
import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from dfm_core.autoencoders.base import draw
from dfm_core.autoencoders.registry import load_autoencoder
from dfm_core.config import ExperimentConfig
from dfm_core.data.encoding.square_pixels import image_square
from dfm_core.data.image_dataset import load_dataset
from dfm_core.decompositions import build_decomposition
from dfm_core.paradigms.standardization import measure_scale_std
from orchestration.artifacts.snapshot_loader import read_snapshot
from orchestration.artifacts.task_record import read_record
from orchestration.common.errors import UserError
from orchestration.config.datasets import AutoencoderConfig, DatasetConfig
from orchestration.config.runtime import RuntimeConfig
from orchestration.data.describe import DatasetInspector
from orchestration.encoding.shard_encoder import LEFT_OUT, ShardEncoder
from orchestration.spec.load import load_sweep
from orchestration.storage.layout import TaskPaths
from orchestration.storage.store import Store
from orchestration.tasks.encoding import latents_task, pixels_task
from orchestration.tasks.evaluation import evaluate_task
from orchestration.tasks.metric_task import MeasurementInputs
from orchestration.tasks.task import TrainTask
from orchestration.tasks.training import train_task
from orchestration.training.worker_setup import open_training_data
from tests.orchestration.conftest import QUICKSTART
from tests.support.dataset_files import clip, encoded, png
from tests.support.encodings import (
    CLASSES,
    SIDE,
    counting_bench,
    described,
    latents_of,
    make_files,
    runtime_of,
    small_parts,
)
from tests.support.measuring import NO_FILES, STEP, TRAIN, WORKERS, Bench, publish_snapshot
from tests.support.tiny_autoencoders import save_cogvideox


@pytest.fixture
def files(tmp_path: Path) -> Path:
    return make_files(tmp_path)


def test_a_folder_becomes_latents_with_flips_and_statistics(files: Path, store: Store) -> None:
    runtime = runtime_of(files)
    task = small_parts(latents_task(described(runtime, data__mirrored=True)))
    (record,) = Bench(store, runtime=runtime).run(task)
    assert record is not None
    assert (record.metrics["num_samples"], record.metrics["num_left_out"]) == (40.0, 0.0)
    assert record.about["class_counts"] == [20, 20]
    found = latents_of(store, task)
    autoencoder = load_autoencoder("kl", files / "vae")
    squares = [image_square(path.read_bytes(), SIDE) for path in sorted((files / "train").rglob("*.png"))]
    pixels = torch.stack([turned for one in squares for turned in (one, one.flip(-1))]).float() / 127.5 - 1.0
    with torch.no_grad():
        wanted = autoencoder.encode(pixels).mean
    rows = torch.cdist(found["mean"].float().flatten(1), wanted.flatten(1)).min(1)
    assert rows.values.max() < 0.05
    assert sorted(rows.indices.tolist()) == list(range(40))
    assert torch.equal(found["label"], rows.indices // 20)
    stored = found["mean"].double()
    assert record.about["statistics"]["mean"]["mean"] == pytest.approx(stored.mean((0, 2, 3)).tolist(), abs=1e-9)
    assert record.about["statistics"]["mean"]["std"] == pytest.approx(
        stored.transpose(0, 1).flatten(1).std(1, correction=0).tolist(), abs=1e-9
    )


def test_an_interrupted_encoding_resumes_with_missing_shards_to_the_same_end(
    files: Path, store: Store, tmp_path: Path
) -> None:
    runtime = runtime_of(files)
    task = small_parts(latents_task(described(runtime)))
    bench, encoder = counting_bench(store, runtime)
    encoder.fails_at = 2
    with pytest.raises(ConnectionError):
        bench.run(task)
    assert encoder.made == [0, 1]
    with pytest.raises(FileNotFoundError, match="their encoding has not ended"):
        latents_of(store, task)
    encoder.fails_at = None
    bench.run(task)
    assert encoder.made == [0, 1, 2, 3]
    undisturbed = Store(str(tmp_path / "undisturbed"))
    Bench(undisturbed, runtime=runtime).run(task)
    paths = TaskPaths(task.digest)
    manifests = [one.manifest(paths.latents) for one in (store, undisturbed)]
    assert manifests[0] == manifests[1]
    assert manifests[0] is not None


@pytest.mark.parametrize(
    ("content", "fault"), [(png(side=24)[:-30], "damaged"), (b"", "empty"), (b"GIF89a nonsense", "no image")]
)
def test_a_file_that_cannot_be_read_ends_the_encoding_unless_it_may_be_left_out(
    files: Path, store: Store, content: bytes, fault: str
) -> None:
    (files / "train" / "bee" / "3.png").write_bytes(content)
    strict, lenient = runtime_of(files), runtime_of(files, max_bad_share=0.1)
    task = small_parts(latents_task(described(lenient)))
    with pytest.raises(ValueError, match=r"bee/3\.png"):
        Bench(store, runtime=strict).run(task)
    assert read_record(store, task.digest) is None
    (record,) = Bench(store, runtime=lenient).run(task)
    assert record is not None
    assert (record.metrics["num_samples"], record.metrics["num_left_out"]) == (19.0, 1.0)
    written = store.read(TaskPaths(task.digest).result_file(LEFT_OUT)).decode()
    ((_, *rows),) = [list(csv.reader(io.StringIO(written)))]
    assert [row[:2] for row in rows] == [["bee/3.png", fault]]


@pytest.mark.proves(24)
def test_bad_images_are_left_out_by_name_up_to_the_limit_and_end_the_encoding_above(files: Path, store: Store) -> None:
    photo = Image.fromarray(np.random.default_rng(0).integers(0, 256, (24, 24, 3), dtype=np.uint8))
    transparent = photo.convert("RGBA")
    transparent.putalpha(128)
    deep = Image.fromarray(np.full((24, 24), 30000, np.uint16))
    train = files / "train"
    (train / "cat").mkdir()
    for name, content in {
        "ant/cmyk.jpg": encoded(photo.convert("CMYK"), "JPEG"),  # converted, like every other that has 8-bit channels
        "ant/cut.png": png(side=24)[:-30],
        "ant/nothing.png": b"",
        "bee/transparent.png": encoded(transparent, "PNG"),
        "bee/deep.png": encoded(deep, "PNG"),
        "bee/moving.gif": encoded(photo, "GIF", save_all=True, append_images=[photo.rotate(180)]),
        "bee/3.jpg": encoded(photo, "JPEG"),
        "beside.png": png(side=24),
        "ant/latin-\udce9.png": png(side=24),  # no UTF-8 on the disk
    }.items():
        (train / name).write_bytes(content)
    strict, lenient = runtime_of(files, max_bad_share=0.2), runtime_of(files, max_bad_share=0.3)
    task = small_parts(latents_task(described(lenient)))
    with pytest.raises(ValueError, match=r"9 of 30 images cannot be used"):
        Bench(store, runtime=strict).run(task)
    with pytest.raises(FileNotFoundError, match="their encoding has not ended"):
        latents_of(store, task)
    (record,) = Bench(store, runtime=lenient).run(task)
    assert record is not None
    assert (record.metrics["num_samples"], record.metrics["num_left_out"]) == (21.0, 9.0)
    written = store.read(TaskPaths(task.digest).result_file(LEFT_OUT)).decode()
    faults = {row["file"]: row["fault"] for row in csv.DictReader(io.StringIO(written))}
    assert faults == {
        "ant/cut.png": "damaged",
        "ant/latin-\\udce9.png": "unreadable",
        "ant/nothing.png": "empty",
        "bee/3.png": "given twice",
        "bee/deep.png": "of another kind",
        "bee/moving.gif": "of another kind",
        "bee/transparent.png": "of another kind",
        "beside.png": "not in its place",
        "cat": "not in its place",
    }


def test_files_that_change_after_planning_fail_the_encoding(files: Path, store: Store) -> None:
    runtime = runtime_of(files)
    task = small_parts(latents_task(described(runtime)))
    (files / "train" / "ant" / "new.png").write_bytes(png(5, side=24))
    with pytest.raises(ValueError, match="insects: its files have changed since the sweep was planned"):
        Bench(store, runtime=runtime).run(task)


def test_another_autoencoder_than_was_planned_fails_the_encoding(files: Path, store: Store) -> None:
    runtime = runtime_of(files)
    task = small_parts(latents_task(described(runtime)))
    weights = files / "vae" / "diffusion_pytorch_model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-3] ^= 1
    weights.write_bytes(content)
    with pytest.raises(ValueError, match="tiny: its files have changed since the sweep was planned"):
        Bench(store, runtime=runtime).run(task)


def test_what_decides_latents_decides_the_training_and_where_files_lie_does_not(files: Path, tmp_path: Path) -> None:
    runtime = runtime_of(files)

    def digest(runtime: RuntimeConfig = runtime, **values: Any) -> str:
        return train_task(described(runtime, **values), "one", 10, (10,)).digest

    moved = tmp_path / "elsewhere"
    (files / "train").rename(moved)
    plain = digest(replace(runtime, datasets={"insects": replace(runtime.datasets["insects"], files=str(moved))}))
    moved.rename(files / "train")
    assert digest() == plain
    others = {
        digest(data__mirrored=True),
        digest(data__side=32),
        digest(data__autoencoder=""),
        digest(data__window_shards=1),
    }
    (files / "train" / "ant" / "0.png").write_bytes(png(77, side=25))
    assert len({plain, digest(), *others}) == 6


def test_a_training_reads_draws_of_its_latents_by_seed_and_index(files: Path, store: Store) -> None:
    runtime = runtime_of(files)
    config = described(runtime)
    task = small_parts(latents_task(config))
    Bench(store, runtime=runtime).run(task)
    samples, reason = open_training_data(config.data, task.digest, store, WORKERS)
    assert samples is not None, reason
    epoch = [range(at, at + 5) for at in range(0, 20, 5)]
    whole = list(samples.batches(3, epoch))
    kept = latents_of(store, task)
    tensors = {name: tensor for name, tensor in kept.items() if name != "label"}
    read = []
    for (images, labels), indices in zip(whole, epoch, strict=True):
        for image, label, index in zip(images, labels, indices, strict=True):
            candidates = draw(tensors, 3, [index] * 20)
            (row,) = [at for at in range(20) if torch.equal(candidates[at], image)]
            assert label == kept["label"][row]
            read.append(row)
    assert sorted(read) == list(range(20))  # every sample once an epoch
    assert read != list(range(20))
    resumed = list(samples.batches(3, epoch[2:]))
    assert all(torch.equal(a, b) for (a, _), (b, _) in zip(whole[2:], resumed, strict=True))
    assert not torch.equal(whole[0][0], next(iter(samples.batches(4, epoch)))[0])
    std = measure_scale_std(build_decomposition(config.decomposition), samples)
    assert all(0.0 < value < 10.0 for value in std)


def test_latents_that_are_not_there_are_a_reason_not_a_crash(files: Path, store: Store) -> None:
    config = described(runtime_of(files))
    assert open_training_data(config.data, "0" * 20, store, WORKERS)[0] is None
    reason = open_training_data(config.data, "0" * 20, store, WORKERS)[1]
    assert "the latents it trains on cannot be read" in reason
    assert open_training_data(ExperimentConfig().data, "", store, WORKERS)[0] is not None


def test_samples_of_a_model_of_latents_are_decoded_and_held_against_the_real_pixels(files: Path, store: Store) -> None:
    runtime = runtime_of(files)
    config = described(runtime)
    bench = Bench(store, runtime=runtime)
    real = pixels_task(config)
    assert real is not None
    measures = MeasurementInputs.of(config, NO_FILES)
    assert [task.kind for task in measures.tasks] == ["reference"]
    assert measures.tasks[0].inputs == (real.digest,)
    bench.run(real)
    shown = bench.evaluator._resources.real(config.data, "reference").read(range(8))[0]
    squares = [image_square(path.read_bytes(), SIDE) for path in sorted((files / "reference").rglob("*.png"))]
    assert sorted(one.flatten().tolist() for one in shown) == sorted(one.flatten().tolist() for one in squares)
    publish_snapshot(store, config)
    bench.run(*measures.tasks)
    (record,) = bench.run(evaluate_task(config, "samples", STEP, ((TRAIN, STEP),), measures))
    assert record is not None, bench.failed
    assert record.metrics["fd_lite0_block10"] > 0.0
    decoded = bench.evaluator._resources.decoder(config.data)(torch.zeros(2, 4, 4, 4))
    assert (decoded.shape, decoded.dtype) == ((2, 3, SIDE, SIDE), torch.uint8)


def test_an_embedded_dataset_is_encoded_and_measured_against_its_own_images(files: Path, store: Store) -> None:
    runtime = runtime_of(files)
    config = described(runtime, data__dataset="fashion_mnist", data__side=0)
    assert pixels_task(config) is None
    task = small_parts(latents_task(config), 30)
    encoder = ShardEncoder(
        store, runtime, torch.device("cpu"), Bench(store, runtime=runtime).evaluator._resources.autoencoder
    )
    dataset = encoder._source.dataset(task)
    images = load_dataset("fashion_mnist", "train")
    (sample,) = dataset.samples(dataset.units[7])
    assert torch.equal(image_square(sample.content, 32), images.pixels[7].expand(3, -1, -1))  # type: ignore[union-attr]
    assert sample.label == int(images.labels[7])  # type: ignore[union-attr]
    grey = Bench(store, runtime=runtime).evaluator._resources.decoder(config.data)(torch.zeros(1, 4, 8, 8))
    assert grey.shape == (1, 1, 32, 32)


def test_a_snapshot_of_latents_is_read_whatever_is_measured_of_it(files: Path, store: Store) -> None:
    config = described(runtime_of(files), data__dataset="fashion_mnist", data__side=0)
    asked = replace(config, evaluation=replace(config.evaluation, metrics=("label_accuracy",)))
    publish_snapshot(store, asked)
    assert read_snapshot(store, (TRAIN, STEP)).config == asked


SWEEP = (
    "data={{dataset: insects, side: 16, autoencoder: tiny}}",
    "datasets={{insects: {{files: {files}/train}}}}",
    "autoencoders={{tiny: {{kind: kl, files: {files}/vae}}}}",
    "decomposition.resolutions=[2, 4]",
    "model.patch_sizes=[1, 2]",
    "evaluation.metrics=[fd_lite0_block10]",
    "parts={{one: {{rows: {{DFM: {{}}}}}}}}",
)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("data.autoencoder=tinny", "'tinny' is no autoencoder of the sweep; did you mean 'tiny'?"),
        ("data.dataset=insect", "'insect' is not a dataset"),
        ("data.side=18", "18 pixels is no multiple of 4"),
        ("data.side=0", "data.side"),
        ("datasets.insects.files=/nowhere/at/all", "command line: datasets.insects.files: cannot be used: /nowhere/at"),
        ("datasets.insects.files={files}/trian", "{files}/trian: there is nothing; did you mean {files}/train?"),
        ("datasets.insects.files={files}/many.zip", "{files}/many.zip is a file; give a folder of files"),
        ("datasets.insects.files={files}/many.tar", "many.tar is a file; give its folder, with layout: image_shards"),
        ("datasets.insects.reference={files}/other", "only in files: bee; only in reference: wasp; both must have"),
        ("datasets.insects.reference={files}/upper", "reference: ANT, BEE (they differ in case alone)"),
        ("datasets.insects.class_list=names.txt", "names.txt: is not there"),
        ("datasets.insects.class_list=others.txt", "of the class list there are no samples: 'wasp'"),
        ("autoencoders.tiny.files=/nowhere/at/all", "is not there; needed are config.json"),
        ("autoencoders.tiny.kind=flux", "makes other latents"),
        ("datasets.insects.files=s3://user:secret@bucket/x", "should hold no password"),
        ("data.described={{fingerprint: x}}", "is found when a sweep is read, never given"),
        ("evaluation.metrics=[label_accuracy]", "needs a label probe of training images"),
        ("datasets.fashion_mnist={{files: /data}}", "'fashion_mnist' is embedded; give yours another name"),
        ("datasets.insects.layout=image_shards", "give a class list"),
    ],
)
def test_mistakes_are_told_before_anything_runs(files: Path, override: str, message: str) -> None:
    (files / "train" / "others.txt").write_text("ant\nbee\nwasp\n")
    for name in ("many.zip", "many.tar"):
        (files / name).write_bytes(b"x")
    for name in ("other/ant", "other/wasp", "upper/ANT", "upper/BEE"):
        (files / name).mkdir(parents=True)
        (files / name / "0.png").write_bytes(png(0))
    overrides = [text.format(files=files) for text in (*SWEEP, override)]
    with pytest.raises(UserError) as caught:
        load_sweep(QUICKSTART, overrides)
    assert message.format(files=files) in str(caught.value)


def test_a_sweep_of_the_users_files_is_planned_with_its_encodings(files: Path) -> None:
    from orchestration.plan.plan import make_plan
    from orchestration.plan.plan_json import plan_json

    plan = make_plan(load_sweep(QUICKSTART, [text.format(files=files) for text in SWEEP]))
    kinds = [task.kind for task in plan.tasks.values()]
    assert kinds.count("encode") == 2
    (train,) = plan.of_kind(TrainTask)
    assert plan.tasks[train.latents].num_samples == 20
    published = json.loads(plan_json(plan, "x"))["tasks"]
    assert published[train.latents]["kind"] == "encode"
    assert str(files) not in json.dumps(published)


def test_the_order_of_a_listing_changes_no_digest(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from orchestration.data.user_files import StoreFiles

    runtime = runtime_of(files)
    first = latents_task(described(runtime))
    plain = StoreFiles.listing

    def shuffled(self: StoreFiles) -> Any:
        found = plain(self)
        return replace(found, files=tuple(random.Random(1).sample(found.files, len(found.files))))

    monkeypatch.setattr(StoreFiles, "listing", shuffled)
    assert latents_task(described(runtime)) == first


@pytest.fixture
def clips(tmp_path: Path) -> RuntimeConfig:
    """Two clips a class of 12 frames, and a video autoencoder."""
    save_cogvideox(tmp_path / "vae")
    for number, name in enumerate(CLASSES):
        for at in range(2):
            path = tmp_path / "clips" / name / f"{at}.mp4"
            path.parent.mkdir(parents=True, exist_ok=True)
            grey = [np.full((24, 32, 3), 10 * (number + 2 * at) + 5 * frame, np.uint8) for frame in range(12)]
            path.write_bytes(clip(grey))
    return RuntimeConfig(
        workers=WORKERS,
        datasets={"insects": DatasetConfig(str(tmp_path / "clips"))},
        autoencoders={"tiny": AutoencoderConfig("cogvideox", str(tmp_path / "vae"))},
    )


def test_clips_become_latents_of_a_video_autoencoder_and_are_decoded_again(clips: RuntimeConfig, store: Store) -> None:
    config = described(clips, data__frames=9)
    task = small_parts(latents_task(config), 3)
    (record,) = Bench(store, runtime=clips).run(task)
    assert record is not None
    assert record.about["class_counts"] == [2, 2]
    assert latents_of(store, task)["mean"].shape == (4, 16, 3, 2, 2)  # 1 + 8 / 4 frames
    decoded = Bench(store, runtime=clips).evaluator._resources.decoder(config.data)(torch.zeros(1, 16, 3, 2, 2))
    assert (decoded.shape, decoded.dtype) == ((1, 3, 9, SIDE, SIDE), torch.uint8)


def test_real_clips_are_stored_as_pixels_and_trained_on_without_an_autoencoder(
    clips: RuntimeConfig, store: Store
) -> None:
    config = described(clips, data__frames=9)
    real = pixels_task(config)
    assert real is not None
    bench = Bench(store, runtime=clips)
    bench.run(real)
    shown, labels = bench.evaluator._resources.real(config.data, "reference").read(range(4))
    assert (shown.shape, shown.dtype, sorted(labels.tolist())) == ((4, 3, 9, SIDE, SIDE), torch.uint8, [0, 0, 1, 1])
    greys = sorted(shown.float().mean((1, 3, 4))[:, 0].tolist())
    assert greys == pytest.approx([0.0, 10.0, 20.0, 30.0], abs=4.0)  # of the first frames; the codec loses a little
    plain = described(clips, data__frames=6, data__autoencoder="")
    assert small_parts(latents_task(plain)).digest == pixels_task(plain).digest  # type: ignore[union-attr]
    bench.run(small_parts(latents_task(plain)))
    assert latents_of(store, small_parts(latents_task(plain)))["mean"].shape == (4, 3, 6, SIDE, SIDE)


@pytest.mark.parametrize(
    ("frames", "message"),
    [(6, "1 + k * 4 frames"), (5, "5 frames become 2 of the latent; only odd numbers can be decoded"), (0, "images")],
)
def test_clips_of_a_length_that_the_autoencoder_cannot_take_are_refused(
    clips: RuntimeConfig, frames: int, message: str
) -> None:
    data = replace(described(clips, data__frames=9).data, frames=frames, described=None)
    _, ((_, told),) = DatasetInspector(clips).describe(data)
    assert message in told or "holds no file" in told


def test_a_clip_that_is_too_short_is_left_out_by_name(clips: RuntimeConfig, store: Store) -> None:
    folder = Path(clips.datasets["insects"].files)
    (folder / "ant" / "short.mp4").write_bytes(clip([np.zeros((24, 32, 3), np.uint8)] * 8))
    task = small_parts(latents_task(described(clips, data__frames=9)), 3)
    with pytest.raises(ValueError, match=r"ant/short\.mp4: has 8 frames; 9 are needed"):
        Bench(store, runtime=clips).run(task)
    lenient = replace(clips, datasets={"insects": replace(clips.datasets["insects"], max_bad_share=0.2)})
    (record,) = Bench(store, runtime=lenient).run(task)
    assert record is not None
    assert (record.about["class_counts"], record.metrics["num_left_out"]) == ([2, 2], 1.0)
