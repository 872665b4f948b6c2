"""Sampling from a snapshot, called as diffusers' pipelines are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self, get_args

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from tqdm.auto import tqdm

from dfm_core.autoencoders.base import Autoencoder
from dfm_core.config.choices import Solver
from dfm_core.config.data import IN_BF16, MADE
from dfm_core.config.dataset_card import find_card
from dfm_core.data.captions.caption import caption_number, plain_caption
from dfm_core.data.image_dataset import to_pixels
from dfm_core.flow.schedules import sampling_legs
from dfm_core.models.text_tables import MemoryTextTable
from dfm_core.paradigms import build_paradigm
from dfm_core.paradigms.base import SampleProgress, VelocityPredictor
from dfm_core.sweep_rows import load_sweep_row
from dfm_core.training.state import Snapshot, load_snapshot, write_snapshot_files

if TYPE_CHECKING:
    from dfm_core.models.flux.text_encoders import TextEncoders

OutputType = Literal["pil", "pt", "np"]
Pictures = list[Any] | Tensor | np.ndarray
"""`pil`: a list of PIL images, or of lists of frames for videos. `pt`, `np`: [B, C, (T,) H, W] float32 in the data's
range, which is [-1, 1] for images."""
Label = int | str

PIXELS = "pixels"
_PIL_CHANNELS = (1, 3)
_MAX_GUIDANCE = 100.0
_MAX_STEPS = 10_000
_MAX_NAMES = 10  # of classes in a message


@dataclass(frozen=True)
class DFMPipelineOutput:
    """Result of a call of the pipeline."""

    images: Pictures
    previews: list[Pictures]
    """Previews of each stage: the image if sampling jumped to its end there, at that stage's side; asked for with
    `return_previews`."""
    trajectory: list[list[Tensor]]
    """After each solver step every scale as the model sees it, [N][S] of [B, C_s, (T,) r_s, r_s] float32 on the CPU;
    asked for with `return_trajectory`."""
    num_evaluations: int
    """Network evaluations per image; guidance counts twice."""


class DFMPipeline:
    """A trained model with its decomposition and its sampler; made with `from_pretrained`.

    >>> pipe = DFMPipeline.from_pretrained("snapshot").to("cuda")
    >>> pipe(["coat", "bag"], guidance_scale=2.0, generator=torch.Generator().manual_seed(0)).images

    A model of captions takes prompts: `pipe("a rose", height=768, width=1344)`.
    """

    def __init__(
        self,
        snapshot: Snapshot,
        autoencoder: Autoencoder | None = None,
        text_encoders: TextEncoders | None = None,
        class_names: Sequence[str] = (),
    ) -> None:
        """Args: text_encoders: of a model of captions, from `dfm_core.models.flux.text_encoders.load_text_encoders`.
            class_names: names for the labels, instead of those that the snapshot knows; one for each class.

        Raises: ValueError if the snapshot is of an expert, which knows one stage only, the autoencoder is another than
        the one whose latents it was trained on, a model of captions has no text encoders, or there are not as many
        different names as classes.
        """
        self.config, self.card, self.model = snapshot.config, snapshot.card, snapshot.model
        if class_names:
            distinct, needed = len(set(class_names)), self.card.shape.num_classes
            if not distinct == len(class_names) == needed:
                given = f"{len(class_names)} names, {distinct} of them different"
                raise ValueError(f"class_names: {given}; this model has {needed} classes: give each a name of its own")
            self.card = replace(self.card, class_names=tuple(class_names))
        known, stages = self.config.own_stages, self.config.num_stages
        if len(known) < stages and self.config.training.timesteps != "tied":
            combine = "sample all networks of the cascade, or all experts, through dfm_core.models.experts.StageExperts"
            raise ValueError(f"this model was trained on stage(s) {list(known)} of {stages} only: {combine}")
        self.decomposition, self._pyramid = snapshot.decomposition, snapshot.pyramid
        self._paradigm = build_paradigm(self.config, self.decomposition, self.card.scale_std)
        self._progress_bar: dict[str, Any] = {}
        described = self.config.data.described
        trained = PIXELS if described is None else described.encoder.removesuffix(IN_BF16)
        if autoencoder is not None and MADE not in trained and trained != autoencoder.identity:
            raise ValueError(f"this model was trained with {trained}, the autoencoder is {autoencoder.identity}")
        self.autoencoder = autoencoder
        if self.model.reads_text and text_encoders is None:
            raise ValueError("this model reads captions: give text_encoders")
        self.text_encoders = text_encoders if self.model.reads_text else None

    @classmethod
    def from_pretrained(
        cls,
        directory: str | Path,
        autoencoder: Autoencoder | None = None,
        text_encoders: TextEncoders | None = None,
        class_names: Sequence[str] = (),
    ) -> Self:
        """Return the pipeline of a snapshot: snapshot.json, the weights, and with a learned pyramid its own.

        The weights are whole, ema.safetensors, or in the pieces of a training's workers, which manifest.json lists.

        Args: autoencoder: decodes what a model of latents makes; without it the output is latents. text_encoders,
            class_names: as of the constructor.
        Raises: FileNotFoundError if a file is missing; ValueError if one is damaged, another version wrote it, it is of
            an expert, or of another autoencoder's latents.
        """
        return cls(load_snapshot(directory), autoencoder, text_encoders, class_names)

    @classmethod
    def from_sweep(
        cls, sweep: str | Path, row: str, seed: int | None = None, overrides: Sequence[str] = (), device: str = "cpu"
    ) -> Self:
        """Return the pipeline of a sweep's trained row, as it was measured last: its weights, sampling, autoencoder.

        This library knows nothing of sweeps: the package that does says so by the entry point `dfm_core.sweeps`, and is
        asked for the parts. Nothing is trained or changed.

        Args: sweep: its YAML file, read with the site file that a run would take. row: its label, or "part / label".
            seed: one of the sweep's; default: the first. overrides: "key=value", those that the sweep was run with.
        Raises: ValueError that lists every mistake, or says that the row is not trained yet; what the storage raises.
        """
        parts = load_sweep_row(Path(sweep), row, seed, overrides, device)
        return cls(parts.snapshot, parts.autoencoder, parts.text_encoders).to(device)

    def save_pretrained(self, directory: str | Path) -> None:
        """Writes the files that `from_pretrained` reads; makes the directory."""
        weights = {name: weight.detach().cpu().contiguous() for name, weight in self.model.state_dict().items()}
        write_snapshot_files(weights, self.config, self.card, Path(directory), self._pyramid)

    def to(self, device: torch.device | str) -> Self:
        self.model.to(device)
        return self

    @property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names that labels may have: those that the snapshot keeps, else the dataset's; none if it has none."""
        if self.card.class_names:
            return self.card.class_names
        card = find_card(self.config.data)
        return card.class_names if card and card.num_classes == self.card.shape.num_classes else ()

    def set_progress_bar_config(self, **options: Any) -> None:
        """Options for tqdm, such as disable=True."""
        self._progress_bar = options

    def __call__(
        self,
        labels: Label | Sequence[Label] | Tensor,
        num_inference_steps: int | Sequence[int] | None = None,
        tau: float | Sequence[float] | None = None,
        guidance_scale: float | None = None,
        generator: torch.Generator | None = None,
        output_type: OutputType = "pil",
        return_previews: bool = False,
        return_trajectory: bool = False,
        solver: Solver | None = None,
        batch_size: int | None = None,
        height: int | None = None,
        width: int | None = None,
    ) -> DFMPipelineOutput:
        """Return images, or videos, of the given classes; None stands for the value of the snapshot's config.

        Args: labels: class of each image, by number or name, [B]; of a model of captions the prompt of each.
            num_inference_steps: solver steps of each stage, or their sum, which is then shared out as the config's
            steps are. tau: in (0, 1], the timestep at which a stage hands over to the next; one for all, or for each
            stage but the last. guidance_scale: 1 is the conditional model alone. generator: gives the seed of the
            noise; image i depends on it and on i alone. batch_size: images at a time; default all. height, width: in
            pixels, of positions of the latent without an autoencoder, for a model that takes any size; default the
            square that it was trained on.
        Raises: ValueError that lists everything wrong with the arguments.
        """
        arguments = _Arguments(self)
        classes = arguments.classes(labels)
        sampling = replace(
            self.config.sampling,
            steps=arguments.steps(num_inference_steps),
            tau=arguments.tau(tau),
            guidance=arguments.guidance(guidance_scale),
            solver=arguments.solver(solver),
        )
        size = arguments.batch_size(batch_size, len(classes))
        predictor = arguments.predictor(height, width)
        arguments.check_output_type(output_type)
        arguments.finish()

        seed = int(torch.randint(2**63 - 1, (), generator=generator, device=generator.device if generator else "cpu"))
        chunks = [range(start, min(start + size, len(classes))) for start in range(0, len(classes), size)]
        num_steps = sum(leg.num_steps for leg in sampling_legs(self.config, sampling))
        taken = []
        with tqdm(total=len(chunks) * num_steps, **self._progress_bar) as bar:
            for chunk in chunks:
                watcher = _Watcher(bar, return_previews, return_trajectory)
                own = torch.tensor(classes[chunk.start : chunk.stop], device=self.device)
                taken.append((self._paradigm.sample(predictor, own, chunk, seed, sampling, watcher), watcher))
        return DFMPipelineOutput(
            images=_pictures([self._decoded(result.images) for result, _ in taken], output_type),
            previews=[
                _pictures(list(map(self._decoded, stage)), output_type)
                for stage in zip(*(w.previews for _, w in taken), strict=True)
            ],
            trajectory=[
                [torch.cat(scale) for scale in zip(*step, strict=True)]
                for step in zip(*(w.trajectory for _, w in taken), strict=True)
            ],
            num_evaluations=taken[0][0].num_evaluations,
        )

    @torch.no_grad()
    def _decoded(self, images: Tensor) -> Tensor:
        """Decode latents; a smaller latent of a preview decodes to a smaller image."""
        return images if self.autoencoder is None else self.autoencoder.decode(images).clamp(-1.0, 1.0)


class _Watcher:
    """Keeps what was asked for of the sampling of one chunk."""

    def __init__(self, bar: tqdm[Any], wants_previews: bool, wants_trajectory: bool) -> None:
        self._bar, self._wants_previews, self._wants_trajectory = bar, wants_previews, wants_trajectory
        self.previews: list[Tensor] = []
        self.trajectory: list[list[Tensor]] = []

    def __call__(self, progress: SampleProgress) -> None:
        if self._wants_previews and progress.ends_stage:
            self.previews.append(progress.preview())
        if self._wants_trajectory:
            self.trajectory.append([scale.float().cpu() for scale in progress.scales])
        self._bar.update()


class _Arguments:
    """The arguments of a call as sampling needs them; remembers what is wrong with them."""

    def __init__(self, pipe: DFMPipeline) -> None:
        self._pipe, self._default = pipe, pipe.config.sampling
        self._num_stages = pipe.config.num_stages
        self._problems: list[str] = []

    def finish(self) -> None:
        """Raises: ValueError if anything was wrong."""
        if self._problems:
            raise ValueError("; ".join(self._problems))

    def predictor(self, height: int | None, width: int | None) -> VelocityPredictor:
        """Return the model for images of a size."""
        model, autoencoder = self._pipe.model, self._pipe.autoencoder
        if height is None and width is None:
            return model
        factor = 1 if autoencoder is None else autoencoder.card.spatial_factor
        own = [factor * side for side in model.scale_shapes[-1][-2:]]
        size = [given or usual for given, usual in zip((height, width), own, strict=True)]
        ratio = self._pipe.config.decomposition.resolutions[-1] // self._pipe.config.decomposition.resolutions[0]
        if wrong := [side for side in size if not _is_count(side) or side % (factor * ratio)]:
            self._problems.append(f"height and width {wrong[0]!r}: give multiples of {factor * ratio}")
            return model
        try:
            return model.sized(size[0] // factor, size[1] // factor)
        except ValueError as error:
            self._problems.append(f"height and width {size}: {error}")
            return model

    def prompts(self, labels: object) -> list[int]:
        """Return the numbers of prompts, whose encodings the model is given."""
        encoders = self._pipe.text_encoders
        assert encoders is not None, "a model of captions has text encoders"
        given = [labels] if isinstance(labels, str) else list(labels) if isinstance(labels, Sequence) else []
        if not given or not all(isinstance(prompt, str) for prompt in given):
            self._problems.append(f"labels {labels!r}: this model reads captions: give a prompt, or a list of them")
            return []
        prompts = [plain_caption(prompt) for prompt in given]
        distinct = list(dict.fromkeys(["", *prompts]))
        encoded = encoders.encode(distinct)
        rows = zip(encoded.tokens, encoded.pooled, strict=True)
        self._pipe.model.use_text(MemoryTextTable(dict(zip(map(caption_number, distinct), rows, strict=True))))
        return [caption_number(prompt) for prompt in prompts]

    def classes(self, labels: Label | Sequence[Label] | Tensor) -> list[int]:
        if self._pipe.text_encoders is not None:
            return self.prompts(labels)
        plain: Any = labels.tolist() if isinstance(labels, Tensor | np.ndarray) else labels
        given = [plain] if isinstance(plain, str) or not isinstance(plain, Sequence) else list(plain)
        classes = [self._class(label) for label in given]
        wrong = [label for label, number in zip(given, classes, strict=True) if number is None]
        if not given:
            self._problems.append("labels is empty: give the class of at least one image")
        elif wrong:
            self._problems.append(f"labels: no class {', '.join(map(repr, wrong[:5]))}; {self._known_classes(wrong)}")
        return [number for number in classes if number is not None]

    def _class(self, label: object) -> int | None:
        names = self._pipe.class_names
        if isinstance(label, str):
            return names.index(label) if label in names else None
        if isinstance(label, bool) or not isinstance(label, int | np.integer):
            return None
        return int(label) if 0 <= label < self._pipe.card.shape.num_classes else None

    def _known_classes(self, wrong: list[object]) -> str:
        names, last = self._pipe.class_names, self._pipe.card.shape.num_classes - 1
        near = [match for label in wrong for match in get_close_matches(str(label), names, 1)]
        guess = f"did you mean {near[0]!r}? " if near else ""
        if not names:
            return f"known: 0 to {last}; {self._pipe.config.data.dataset!r} has no names"
        listed = ", ".join(map(repr, names[:_MAX_NAMES])) + (", ..." if len(names) > _MAX_NAMES else "")
        return f"{guess}known: 0 to {last}, or {listed}"

    def steps(self, steps: int | Sequence[int] | None) -> tuple[int, ...]:
        if steps is None:
            return self._default.steps
        if isinstance(steps, int) and _is_count(steps) and steps >= self._num_stages:
            return _share_out(steps, self._default.steps)
        if isinstance(steps, Sequence) and len(steps) == self._num_stages and all(map(_is_count, steps)):
            return tuple(steps)
        self._problems.append(
            f"num_inference_steps {steps!r}: give {self._num_stages} integer(s), one per stage, or their sum; "
            f"at most {_MAX_STEPS}"
        )
        return self._default.steps

    def tau(self, tau: float | Sequence[float] | None) -> tuple[float, ...]:
        count = len(self._default.tau)
        if tau is None:
            return self._default.tau
        values = tuple(tau) if isinstance(tau, Sequence) else (tau,) * max(count, 1)
        if len(values) == count and all(_is_number(value) and 0 < value <= 1 for value in values):
            return values
        allowed = f"give one in (0, 1], or {count}" if count else "this model has none"
        self._problems.append(f"tau {tau!r}: {allowed}")
        return self._default.tau

    def guidance(self, guidance: float | None) -> float:
        if guidance is None:
            return self._default.guidance
        if not _is_number(guidance) or not 0 <= guidance <= _MAX_GUIDANCE:
            self._problems.append(f"guidance_scale {guidance!r}: give a number from 0 to {_MAX_GUIDANCE:g}")
        return guidance

    def solver(self, solver: Solver | None) -> Solver:
        if solver is None:
            return self._default.solver
        if solver not in get_args(Solver):
            self._problems.append(f"solver {solver!r}: known are {', '.join(get_args(Solver))}")
        return solver

    def batch_size(self, size: int | None, num_images: int) -> int:
        if size is not None and not _is_count(size):
            self._problems.append(f"batch_size {size!r}: give a positive integer")
        return size or max(num_images, 1)

    def check_output_type(self, output_type: str) -> None:
        channels = self._pipe.card.shape.channels
        if output_type not in get_args(OutputType):
            self._problems.append(f"output_type {output_type!r}: known are {', '.join(get_args(OutputType))}")
        elif output_type == "pil" and channels not in _PIL_CHANNELS and self._pipe.autoencoder is None:
            reason = f"the model makes {channels} channels, which are no grey or RGB image"
            self._problems.append(f"output_type 'pil': {reason}; give 'pt' or 'np', or the pipeline its autoencoder")


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value <= _MAX_STEPS


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _share_out(total: int, shares: Sequence[int]) -> tuple[int, ...]:
    """`total` steps in the proportions of `shares`, at least one each: always one more to who is shortest of them."""
    counts = [1] * len(shares)
    for _ in range(total - len(shares)):
        counts[max(range(len(shares)), key=lambda stage: shares[stage] / (counts[stage] + 0.5))] += 1
    return tuple(counts)


def _pictures(chunks: Sequence[Tensor], output_type: OutputType) -> Pictures:
    """Chunks of a batch, each [b, C, (T,) H, W] in the data's range, as asked for."""
    data = torch.cat(list(chunks))
    if output_type == "pt":
        return data
    if output_type == "np":
        return data.cpu().numpy()
    return [_pil(one) for one in to_pixels(data).cpu()]


def _pil(pixels: Tensor) -> Any:
    """[C, H, W] uint8 to an image, [C, T, H, W] to a list of frames; C is 1 or 3."""
    if pixels.ndim == 4:
        return [_pil(frame) for frame in pixels.unbind(1)]
    return Image.fromarray(pixels[0].numpy() if len(pixels) == 1 else pixels.permute(1, 2, 0).contiguous().numpy())
