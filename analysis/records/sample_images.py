"""The pictures that a task leaves beside its record and in its run, by their names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypedDict

from analysis.contract.plan_schema import TaskKind
from analysis.plan.model import PublishedPlan

_STEMS: Mapping[TaskKind, str] = {"evaluate": "samples", "reference": "real"}
_PNG, _GIF = b"\x89PNG\r\n\x1a\n", b"GIF8"


class ImageFiles(TypedDict, total=False):
    """Images of an evaluation, or of real images, as a `Record` has them."""

    image: bytes | None
    strips: bytes | None
    moving: bytes | None


def image_names(plan: PublishedPlan) -> dict[str, tuple[str, ...]]:
    """The pictures to be read, by digest: of all the grid; videos, which are large, of last evaluations and real."""
    videos = {trial.evaluations[-1][1] for trial in plan.trials} | plan.titles["reference"].keys()
    names = {}
    for digest, kind in plan.kinds.items():
        if kind in _STEMS:
            image, *others = _names(kind)
            names[digest] = (image, *others) if digest in videos else (image,)
    return names


def images_in(kind: TaskKind, files: Mapping[str, bytes]) -> ImageFiles:
    """The pictures among the files of a task."""
    if kind not in _STEMS:
        return {}
    pictures = (_checked(files.get(name), begin) for name, begin in zip(_names(kind), (_PNG, _PNG, _GIF), strict=True))
    image, strips, moving = pictures
    return {"image": image, "strips": strips, "moving": moving}


def _names(kind: TaskKind) -> tuple[str, str, str]:
    return f"{_STEMS[kind]}.png", f"{_STEMS[kind]}_strips.png", f"{_STEMS[kind]}.gif"


def _checked(data: bytes | None, begin: bytes) -> bytes | None:
    return data if data is not None and data.startswith(begin) else None
