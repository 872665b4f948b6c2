"""The records of tasks in the sweep's storage root: the truth from which MLflow is filled.

`results/<digest>/result.json` exists once a task is done. So records do not say whether a task without one runs, failed
or was never begun; nor do they know MLflow's runs, or the code and machines that made them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from analysis.contract.plan_schema import TaskKind
from analysis.contract.record_schema import SECONDS
from analysis.errors import UserError
from analysis.plan.model import PublishedPlan
from analysis.records.about import About, parse_about
from analysis.records.choose_run import curve_notes
from analysis.records.record import MEASURING, Record
from analysis.records.record_file import RecordContent, pack_record, reason_of, unpack_record
from analysis.records.sample_images import image_names, images_in
from analysis.records.sound_numbers import sound_curves, sound_metrics
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
    images: dict[str, dict[str, bytes]] = {}
    for file, data in pictures.items():
        images.setdefault(file.digest, {})[file.name] = data
    return {
        file.digest: _record(plan, file, unpack_record(packed), images.get(file.digest, {}))
        for file, packed in documents.items()
    }


def _record(plan: PublishedPlan, file: TaskFile, content: RecordContent, images: Mapping[str, bytes]) -> Record:
    kind, fields = plan.kinds[file.digest], content.fields
    try:
        _check_identity(content, file.digest, kind)
        step, seconds = int(fields["step"]), float(fields["seconds"])
        metrics = {str(name): float(value) for name, value in fields["metrics"].items()}
        metrics, left_out = sound_metrics({**metrics, SECONDS: seconds})
        about = json.dumps(fields["about"]).encode()
        _check_curves(content)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        return Record("missing", notes=(f"{file.path} is no record of this task ({reason_of(error)}); it is left out",))
    until = plan.trainings[file.digest].until_step if kind == "train" else 0
    short = (f"the record ends at step {step:,} of {until:,}",) if step < until else ()
    pictures, curves = images_in(kind, images), sound_curves(content.curves)
    return Record(
        status="missing" if short else "done",
        metrics=metrics,
        curves=curves,
        image=pictures.image,
        strips=pictures.strips,
        moving=pictures.moving,
        about=parse_about(about) if kind in MEASURING else About(),
        path=file.path,
        notes=(*short, *left_out, *curve_notes(curves)),
    )


def _check_identity(content: RecordContent, digest: str, kind: TaskKind) -> None:
    """Raise ValueError or KeyError if it is not the record of this task."""
    if not content.fields:
        raise ValueError(content.problem)
    if (content.fields["digest"], content.fields["kind"]) != (digest, kind):
        raise ValueError(f"of {content.fields['kind']} {content.fields['digest']}")


def _check_curves(content: RecordContent) -> None:
    """Raise ValueError if its curves could not be read."""
    if content.problem:
        raise ValueError(content.problem)
