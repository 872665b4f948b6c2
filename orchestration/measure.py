"""Entry point: python orchestration/measure.py SWEEP.yaml IMAGES [key=value ...]

Measures images that were made elsewhere as a sweep measures its samples: same reference, networks and metrics.
IMAGES is a folder, with a sub-folder for each class or without, or an .npz with `arr_0` and perhaps `arr_1`. Videos
are an .npz. Images of other sizes than the dataset's are refused, or with --crop resized and cropped as in training.
"""

from __future__ import annotations

import sys
from pathlib import Path

# Started as a script, Python puts this folder, not the project, first on the path; the project must be there instead.
_HERE = Path(__file__).resolve().parent
sys.path[:] = [str(_HERE.parent), *(p for p in sys.path if not Path(p).is_absolute() or Path(p).resolve() != _HERE)]

import json  # noqa: E402
import os  # noqa: E402
from collections.abc import Sequence  # noqa: E402
from dataclasses import asdict, replace  # noqa: E402
from typing import TYPE_CHECKING  # noqa: E402

from orchestration.common.errors import Problem, UserError, tell_interruption, tell_mistakes  # noqa: E402
from orchestration.startup.command_line import make_parser, parse  # noqa: E402
from orchestration.startup.program_start import end_program, prepare_program  # noqa: E402

if TYPE_CHECKING:
    from dfm_core.config import ExperimentConfig
    from orchestration.commands.external_measurement import MeasuredImages


_ANY = 10**7
"""Number of samples that breaks no rule; that of the images replaces it."""


def main(arguments: Sequence[str]) -> int:
    """Measure images. Return the exit code: 0 done, 2 a mistake, 130 interrupted."""
    parser = make_parser("Measure images as a sweep does its samples.")
    parser.add_argument("sweep", type=Path, help="YAML file whose dataset, metrics and storage are used")
    parser.add_argument("images", type=Path, help="folder of images, or .npz of images or videos")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="e.g. evaluation.metrics=[fid,kid]")
    parser.add_argument("--allow-bad", type=float, default=0.0, metavar="SHARE", help="of files that may be left out")
    parser.add_argument("--crop", action="store_true", help="crop images of any size as those that are trained on")
    parser.add_argument("--json", type=Path, help="write numbers, errors, notes and protocols here")
    options = parse(parser, arguments)
    try:
        if options.json is not None and not options.json.absolute().parent.is_dir():
            raise UserError.of("--json", f"there is no folder {options.json.absolute().parent}")
        measured = _measure(options.sweep, options.images, options.overrides, options.allow_bad, crop=options.crop)
        _print(measured)
        if options.json is not None:
            _write(measured, options.json)
    except UserError as error:
        return tell_mistakes(error)
    except KeyboardInterrupt:
        return tell_interruption()
    return 0


def _write(measured: MeasuredImages, path: Path) -> None:
    try:
        path.write_text(json.dumps(asdict(measured), indent=1, sort_keys=True), encoding="utf-8")
    except OSError as error:
        raise UserError.of("--json", f"{path} cannot be written ({error.strerror})") from None


def _measure(sweep: Path, images: Path, overrides: Sequence[str], allow_bad: float, *, crop: bool) -> MeasuredImages:
    # Imported late, so that --help is instant.
    from dfm_core.config.dataset_card import pixels_card_of
    from orchestration.commands.external_images import open_images
    from orchestration.plan.preflight import missing_inputs, open_store, resolve_paths
    from orchestration.spec.layers import find_layers
    from orchestration.spec.load import load_sweep

    if not 0.0 <= allow_bad < 1.0:
        raise UserError.of("--allow-bad", f"{allow_bad:g} must be 0 or more, and less than 1")
    # The rows' own rules are not asked about their numbers of samples: that of the images is held to them below.
    overrides = [*overrides, f"evaluation.num_samples={_ANY}"]
    spec = resolve_paths(load_sweep(sweep, overrides, find_layers(sweep, os.environ)), os.environ, Path.cwd())
    config = next(spec.configs)
    if problems := missing_inputs(spec):
        raise UserError(problems)
    given = open_images(images, pixels_card_of(config.data), allow_bad, crop=crop)
    print(given.about)
    config = _of_images(config, given.count, labelled=given.labels is not None)
    store = open_store(spec.runtime.storage, writable=True)

    from orchestration.commands.external_measurement import measure_images

    return measure_images(config, given, spec.runtime, store, str(images.absolute()))


def _of_images(config: ExperimentConfig, count: int, *, labelled: bool) -> ExperimentConfig:
    """Return the config whose evaluation has this many images.

    Raises: UserError if they are too few for a metric, or lack the labels that one needs.
    """
    from dfm_core.catalog.metrics import needs_labels
    from dfm_core.config.evaluation_rules import evaluation_problems

    config = replace(config, evaluation=replace(config.evaluation, num_samples=count, at_steps=()))
    if count < 2:
        raise UserError.of("images", f"{count} image has no spread: two and more can be measured")
    problems = [Problem(key, message) for key, message in evaluation_problems(config)]
    hint = "needs the class of each image: give sub-folders named by class, or arr_1"
    problems += [
        Problem("evaluation.metrics", f"{name} {hint}")
        for name in config.evaluation.metrics
        if needs_labels(name) and not labelled
    ]
    if problems:
        raise UserError(problems)
    return config


def _print(measured: MeasuredImages) -> None:
    from rich.table import Table

    from orchestration.common.console import make_console

    console = make_console()
    table = Table(title=f"{measured.num_images} images", title_justify="left")
    for name, justify in (
        ("metric", "left"),
        ("value", "right"),
        ("95% interval", "right"),
        ("real images", "right"),
        ("without bias", "right"),
        ("network", "left"),
    ):
        table.add_column(name, justify=justify)  # type: ignore[arg-type]
    for name, value in measured.values.items():
        interval, real = measured.intervals.get(name), measured.real_images.get(name)
        shown = "" if interval is None else f"{interval[0]:.4g} to {interval[1]:.4g}"
        beside = "" if real is None else f"{real:.6g}"
        corrected = f"{measured.corrected[name]:.6g}" if name in measured.corrected else ""
        table.add_row(name, f"{value:.6g}", shown, beside, corrected, str(measured.protocols[name]["network"]))
    console.print(table)
    for text in dict.fromkeys(_protocol_text(measured, name) for name in measured.values):
        console.print(text, markup=False)
    for name, notes in measured.notes.items():
        for note in notes:
            console.print(f"{name}: {note}", markup=False)


def _protocol_text(measured: MeasuredImages, name: str) -> str:
    """Return how a number was measured, in a line that numbers of one protocol share."""
    protocol = measured.protocols[name]
    told = {key: value for key, value in protocol.items() if key not in ("metric", "network") and value is not None}
    return f"Protocol on {protocol['network']}: {', '.join(f'{key} {value}' for key, value in sorted(told.items()))}"


if __name__ == "__main__":
    prepare_program()
    end_program(main(sys.argv[1:]))
