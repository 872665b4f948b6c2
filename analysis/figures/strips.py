"""Videos as strips: the frames of a clip in a row, one clip below the other (Figures 13-15)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from analysis.figures.chart import Chart, ImagePanel

MOST_FRAMES = 10


def video_strips(name: str, title: str, clips: np.ndarray, labels: Sequence[str]) -> Chart:
    """Evenly spaced frames of clips, the first and the last among them.

    Args: name: of the file. clips: [N, C, T, H, W] uint8, C 1 or 3. labels: what each clip is, [N].
    Raises: ValueError if the array or the number of labels is another.
    """
    if clips.ndim != 5 or clips.dtype != np.uint8 or clips.shape[1] not in (1, 3) or not clips.size:
        raise ValueError(f"clips are uint8 [N, 1 or 3, T, H, W], not {clips.dtype} {list(clips.shape)}")
    if len(labels) != len(clips):
        raise ValueError(f"{len(labels)} labels for {len(clips)} clips")
    num_frames = clips.shape[2]
    chosen = np.unique(np.linspace(0, num_frames - 1, min(num_frames, MOST_FRAMES)).round().astype(int))
    frames = np.moveaxis(clips[:, :, chosen], 1, -1)  # [N, T, H, W, C]
    pixels = np.broadcast_to(frames, (*frames.shape[:-1], 3))
    columns = tuple(f"frame {index}" for index in chosen)
    about = f"Frames {', '.join(map(str, chosen))} of {num_frames}, of {len(clips)} clips: {', '.join(labels)}."
    return Chart(name, title, about, (ImagePanel(tuple(labels), columns, pixels),), columns=1)
