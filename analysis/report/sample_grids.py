"""The sample grids of a report: content, title and file name of each. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from analysis.drawing.chart import slug
from analysis.plan.model import PublishedPlan
from analysis.records.record import MISSING, Record


@dataclass(frozen=True)
class SampleGrid:
    """One grid of images and everything that made it."""

    path: str
    """Path inside the report's folder."""
    title: str
    about: str
    step: int | None
    """None for real images."""
    last: bool
    """True if some row's last evaluation made it."""
    image: bytes
    """PNG; the middle frames of videos."""
    moving: bytes | None = None
    """Animated GIF of the same videos; None for images."""

    @property
    def moving_path(self) -> str:
        """Return the path of the GIF, inside the report's folder."""
        return f"{self.path.removesuffix('.png')}.gif"


def collect_sample_grids(plan: PublishedPlan, records: Mapping[str, Record]) -> tuple[SampleGrid, ...]:
    """Collect real images, then each grid once, in the order of the table, a row's last step first."""
    grids = []
    for digest, title in plan.titles["reference"].items():
        record = records.get(digest, MISSING)
        if record.image is not None:
            path, about = f"samples/real-{slug(digest[:8])}.png", f"Grid of real images: {title}"
            grids.append(SampleGrid(path, "real images", about, None, True, record.image, record.moving))
    users: dict[str, list[str]] = {}
    last = {trial.evaluations[-1][1] for trial in plan.trials}
    for trial in plan.trials:
        seed = f", seed {trial.seed}" if len(plan.seeds) > 1 else ""
        for _, digest in reversed(trial.evaluations):
            users.setdefault(digest, []).append(f"{trial.row}{seed}")
    for digest, labels in users.items():
        record, evaluation = records.get(digest, MISSING), plan.evaluations[digest]
        if record.image is not None:
            title = " · ".join(dict.fromkeys(labels))
            path = f"samples/{slug(labels[0])}-step{evaluation.step}-{slug(digest[:8])}.png"
            about = f"Grid of generated samples: {title}, after {evaluation.step:,} training steps"
            shown = record.image, record.moving
            grids.append(SampleGrid(path, title, about, evaluation.step, digest in last, *shown))
    return tuple(grids)
