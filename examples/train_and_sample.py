"""Train a small DFM on embedded Fashion-MNIST, save a snapshot, load it, sample a grid: a minute on two CPU cores."""

import argparse
from pathlib import Path

from PIL import Image

import dfm_core as dfm
from dfm_core.config import DecompositionConfig, ModelConfig, SamplingConfig, TrainingConfig

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--steps", type=int, default=150)
parser.add_argument("--output", type=Path, default=Path("runs/example"))
options = parser.parse_args()

config = dfm.ExperimentConfig(
    decomposition=DecompositionConfig(name="laplacian", resolutions=(16, 32)),
    model=ModelConfig(size="micro", patch_sizes=(2, 4)),
    training=TrainingConfig(
        batch_size=32, first_stage_probability=0.7, learning_rate=4e-3, warmup_steps=20, ema_decay=0.97
    ),
    sampling=SamplingConfig(steps=(9, 3), tau=(0.7,), guidance=2.0),
)
dataset = dfm.load_dataset("fashion_mnist", "train")  # or dfm.load_image_folder("folder of class folders", side=32)
shape = dataset.shape
decomposition = dfm.build_decomposition(config.decomposition)
scale_std = dfm.measure_scale_std(decomposition, dataset)
engine = dfm.PlainEngine(dfm.build_model(config, shape, scale_std), config.training)
plan = dfm.LoopPlan(options.steps, micro_batch_size=32, log_every=10, save_at=frozenset())
curve = dfm.train(config, dfm.build_paradigm(config, decomposition, scale_std), dataset, engine, plan)
print(*(f"step {row['step']}: loss {row['loss']:.3f}" for row in curve), sep="\n")
card = dfm.SnapshotCard(options.steps, shape, scale_std, dataset.class_names)
dfm.write_snapshot(engine, config, card, options.output)

pipe = dfm.DFMPipeline.from_pretrained(options.output)
images = pipe(4 * list(pipe.class_names)).images  # one class a column
grid = Image.new("L", (10 * 32, 4 * 32))
for index, image in enumerate(images):
    grid.paste(image, (index % 10 * 32, index // 10 * 32))
grid.resize((4 * grid.width, 4 * grid.height), Image.Resampling.NEAREST).save(options.output / "samples.png")
