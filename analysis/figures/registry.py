"""The kinds of figures, in the order of the page. To add one, write a module with a collector, and a line here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from analysis.comparison.joined_sweep import JoinedSweep
from analysis.drawing.chart import Group
from analysis.figures.ablation import collect_ablations
from analysis.figures.convergence import collect_convergence
from analysis.figures.flops_to_target import collect_flops_to_target
from analysis.figures.losses import collect_losses
from analysis.figures.pareto import collect_pareto
from analysis.figures.profiles import collect_profiles
from analysis.figures.qualitative import collect_qualitative
from analysis.figures.search import collect_search
from analysis.figures.spectrum import collect_spectra
from analysis.figures.video_frames import collect_clip_frames


@dataclass(frozen=True)
class FigureKind:
    """One kind: its heading on the page, its explanation, and its collector."""

    heading: str
    about: str
    """Explanation of how it is made and what it assumes."""
    collect: Callable[[JoinedSweep], tuple[Group, ...]]
    empty: str = ""
    """Text of the page while there is nothing to show; empty: the section is left out."""


_INTERVALS = (
    "Bands are the 95% intervals of the tables, each point for itself unless a chart says that they hold at once, by "
    "the spread over seeds and the error of samples. Bars, where a sweep has one seed, are 95% by the error of samples "
    "alone; what another seed would give is not in them. An interval that leaves the axes is wider than they are."
)

FIGURES: Mapping[str, FigureKind] = {
    "samples": FigureKind(
        "Samples",
        "A column is one sample index: the same class and the same random draw. Scales of different shapes cannot have "
        "the same noise.",
        collect_qualitative,
        "No sample grid has been logged yet.",
    ),
    "videos": FigureKind(
        "Videos",
        "Frames of a clip in a row; all rows have the same class and the same random draw. Whole grids in motion are "
        "GIFs beside this page, in samples/.",
        collect_clip_frames,
    ),
    "convergence": FigureKind(
        "Convergence",
        f"{_INTERVALS} A line is of the same seeds at all its points and ends where one drops out. Accelerator-hours "
        "are those of a training over all its attempts, shared out evenly over its steps, and known once it is done. "
        "A star is what the paper prints, where it was measured alike.",
        collect_convergence,
        "No row that is measured more than once has a value yet.",
    ),
    "reach": FigureKind(
        "FLOPs to reach the best of the baselines",
        "The training FLOPs at which the mean of each row, over the seeds that all rows have, first is as good as the "
        "best value that any baseline has, or as a target that the sweep declares, on straight lines between "
        "evaluations. × is the share of what that baseline took, with the middle 95% of 500 bootstrap draws of seeds "
        "and of samples' noise, and in how many the target is reached; of three seeds it is a hint. A hatched bar "
        "is a bound: → the row has not reached it by its last evaluation, ← it was as good at its first.",
        collect_flops_to_target,
    ),
    "profiles": FigureKind(
        "Performance profile",
        "The share of a row's runs, over parts and seeds that all rows have, whose value is within a factor (of shares "
        "and scores: a distance) of the best row's at the same part and seed (Dolan and Moré, 2002). Where a line is "
        "higher its row is near the best more often; at the left end it says how often it is the best. No interval is "
        "drawn: of few runs it is a description.",
        collect_profiles,
    ),
    "ablations": FigureKind(
        "Ablations",
        f"Rows at their last evaluations; a line joins rows that agree in all other settings. {_INTERVALS}",
        collect_ablations,
    ),
    "cost": FigureKind(
        "Quality against sampling cost",
        "Rows at their last evaluations. The line joins those that no other one of at most their cost beats; of many "
        "rows only these have a name. Network evaluations count guidance twice.",
        collect_pareto,
    ),
    "search": FigureKind(
        "Searches",
        "Complete trials. Importance is the share of an objective's variance that a key explains, by fANOVA (Hutter et "
        "al., 2014) over the range that was tried: a sampler that soon settles on a value makes its key look "
        "unimportant. Beside each share stands the largest that five permutations of the values give.",
        collect_search,
    ),
    "losses": FigureKind(
        "Training loss",
        "Losses of different paradigms or decompositions are not comparable with each other; each shows whether its "
        "own training went well.",
        collect_losses,
        "No training has logged a loss yet.",
    ),
    "spectra": FigureKind(
        "Spectrum of samples",
        "Power over rings of equal spatial frequency, of the pictures in the sample grids, all channels together, with "
        "95% t-intervals over pictures. Above the dashed line of the second panel a model has more detail of that size "
        "than real images, below it less. The pictures are few: read it as a hint.",
        collect_spectra,
    ),
}
"""Kinds by the id of their section, in the order of the page."""
LOOKED_AT_FIRST = ("samples", "videos")
"""Kinds that stand beside the main table."""
