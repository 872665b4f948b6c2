"""The records of tasks in the sweep's storage root: the truth from which MLflow is filled.

`results/<digest>/result.json` exists once a task is done. So records do not say whether a task without one runs, failed
or was never begun; nor do they know MLflow's runs, or the code and machines that made them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from analysis.contract.plan_schema import TaskKind
from analysis.contract.record_schema import SECONDS
from analysis.errors import UserError
from analysis.plan.model import PublishedPlan
from analysis.records.about import About, parse_about
from analysis.records.choose_run import curve_notes
from analysis.records.record import MEASURING, Record
from analysis.records.record_file import RecordContent, pack_record, reason_of, unpack_record
from analysis.records.sample_images import image_names, images_in
from analysis.records.sound_numbers import SoundMetrics, sound_curves, sound_metrics
from analysis.records.stored_files import StorageRoot, StoredFiles, TaskFile


def read_record_files(plan: PublishedPlan, storage: StorageRoot) -> dict[str, Record]:
    """Return records by digest; a task that is not done has none, or one that says why it does not count.

    Raises: UserError if the storage cannot be read.
    """
    try:
        store = StoredFiles(storage, plan.kinds.keys(), f"records of {plan.sweep}")
        documents = store.read((TaskFile(digest, "result.json") for digest in plan.kinds), pack_record)
        names = image_names(plan)
        pictures = store.read(TaskFile(digest, name) for digest, _ in documents for name in names.get(digest, ()))
        store.save()
    except Exception as error:  # each fsspec backend raises its own family
        raise UserError(
            f"{storage.root}: its records cannot be read ({error or type(error).__name__}); check --storage, the root "
            "that the sweep was run with"
        ) from error
    images: dict[str, dict[str, bytes]] = defaultdict(dict)
    for file, data in pictures.items():
        images[file.digest][file.name] = data
    return {
        file.digest: _record(plan, file, unpack_record(packed), images.get(file.digest, {}))
        for file, packed in documents.items()
    }


def _record(plan: PublishedPlan, file: TaskFile, content: RecordContent, images: Mapping[str, bytes]) -> Record:
    kind = plan.kinds[file.digest]
    try:
        step, (metrics, left_out), about = _checked(content, file.digest, kind)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        return Record("missing", notes=(f"{file.path} is no record of this task ({reason_of(error)}); it is left out",))
    until = plan.trainings[file.digest].until_step if kind == "train" else 0
    short = (f"the record ends at step {step:,} of {until:,}",) if step < until else ()
    curves = sound_curves(content.curves)
    return Record(
        status="missing" if short else "done",
        metrics=metrics,
        curves=curves,
        **images_in(kind, images),
        about=parse_about(about) if kind in MEASURING else About(),
        path=file.path,
        notes=(*short, *left_out, *curve_notes(curves)),
    )


def _checked(content: RecordContent, digest: str, kind: TaskKind) -> tuple[int, SoundMetrics, Any]:
    """Return step, metrics with notes on those that are left out, and about.

    Raises: KeyError, TypeError, ValueError or AttributeError if it is not the whole record of this task.
    """
    fields = content.fields
    if not fields:
        raise ValueError(content.problem)
    if (fields["digest"], fields["kind"]) != (digest, kind):
        raise ValueError(f"of {fields['kind']} {fields['digest']}")
    step, seconds = int(fields["step"]), float(fields["seconds"])
    metrics = {str(name): float(value) for name, value in fields["metrics"].items()}
    sound, about = sound_metrics({**metrics, SECONDS: seconds}), fields["about"]
    if content.problem:
        raise ValueError(content.problem)
    return step, sound, about
