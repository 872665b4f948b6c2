"""The contract of the engines that hold the weights for the training loop (plain torch, DeepSpeed)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Generic, Literal, NamedTuple, Protocol, get_args

import torch
from torch import Tensor, nn
from typing_extensions import TypeVar

from dfm_core.config.training import OptimizerSettings

StateKind = Literal["weight", "ema", "exp_avg", "exp_avg_sq"]
STATE_KINDS: tuple[StateKind, ...] = get_args(StateKind)
MOMENTS: tuple[StateKind, ...] = ("exp_avg", "exp_avg_sq")

Model = TypeVar("Model", bound=nn.Module, default=nn.Module)
Model_co = TypeVar("Model_co", bound=nn.Module, default=nn.Module, covariant=True)


class OwnedPiece(NamedTuple):
    """A run of elements of one flattened tensor of the state, which one worker holds."""

    name: str
    """Name of the parameter."""
    offset: int
    """Its first element in the flattened tensor."""
    values: Tensor
    """1-D float32, a view of the worker's own memory."""


class StateSource(Protocol):
    """A state that a training continues from, whatever world size and ZeRO stage wrote it."""

    def fill(self, out: Tensor, kind: StateKind, name: str, offset: int) -> None:
        """Set `out`, 1-D on any device, to as many elements of a flattened tensor, from `offset` on."""


class SizedState(StateSource, Protocol):
    """A state that knows what it holds."""

    def sizes(self, kind: StateKind) -> Mapping[str, int]:
        """Return the elements of each tensor of a kind, by name."""


class TrainingEngine(Protocol[Model_co]):
    """Holds weights, optimiser state and weights average; the same calls on every worker, in the same order."""

    rank: int
    world_size: int
    device: torch.device
    num_steps: int
    """Steps that changed the weights, those of a loaded state included: what the optimiser counts."""

    @property
    def model(self) -> Model_co:
        """Model that the loss calls."""

    def backward(self, loss: Tensor) -> None:
        """Adds the gradient of one micro-batch's mean loss; all micro-batches of a step weigh the same."""

    def step(self, learning_rate: float) -> Tensor | None:
        """Averages the gradients over workers, clips, updates weights and average. Returns the norm before clipping, []
        on the device, where to read it would make the host wait for the step; None: it is not finite and nothing was
        changed, on all workers alike."""

    @property
    def kinds(self) -> tuple[StateKind, ...]:
        """The kinds of state that it has: no average if `ema_decay` is 0."""

    def pieces(self, kind: StateKind, *, frozen: bool = False) -> Iterator[OwnedPiece]:
        """Yield the pieces that this worker owns, in the model's parameter order; together the workers own every
        element once. Sends nothing.

        Args: kind: "ema" without an average is the weights. frozen: of the weights that no step changes, instead of
            those that are trained; they are their own average, and have no moments.
        """

    def load(self, state: StateSource, num_steps: int) -> None:
        """Continues from `state`, which holds what is trained, reached after `num_steps` steps that changed weights.
        Reads what this worker holds, no more, and sends nothing."""

    def mean(self, values: Tensor) -> Tensor:
        """Return the mean over the workers of a float64 CPU tensor, in rank order, bitwise equal on all. Collective."""

    def barrier(self) -> None:
        """Returns when every worker has called it."""


class PlainEngine(Generic[Model]):
    """One process, torch's AdamW: for the library, for tests, and as the yardstick of other engines."""

    rank = 0
    world_size = 1

    def __init__(self, model: Model, training: OptimizerSettings, num_micro_batches: int = 1) -> None:
        self.model: Model = model
        self.device = next(model.parameters()).device
        self._training = training
        self._num_micro_batches = num_micro_batches
        self._optimizer = build_optimizer(model, training)
        self._ema = {name: p.detach().clone() for name, p in self._trained if training.ema_decay}
        self.kinds = kinds_of(training)
        self.num_steps = 0

    def backward(self, loss: Tensor) -> None:
        (loss / self._num_micro_batches).backward()  # type: ignore[no-untyped-call]

    def step(self, learning_rate: float) -> Tensor | None:
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), self._training.gradient_clip)
        if not math.isfinite(float(norm)):
            self._optimizer.zero_grad()
            return None
        self.num_steps += 1
        for group in self._optimizer.param_groups:
            group["lr"] = learning_rate
        self._optimizer.step()
        self._optimizer.zero_grad()
        if self._ema:
            weights = [parameter.detach() for _, parameter in self._trained]
            torch._foreach_lerp_(list(self._ema.values()), weights, 1.0 - self._training.ema_decay)
        return norm

    @property
    def _trained(self) -> list[tuple[str, nn.Parameter]]:
        return [(name, weight) for name, weight in self.model.named_parameters() if weight.requires_grad]

    def pieces(self, kind: StateKind, *, frozen: bool = False) -> Iterator[OwnedPiece]:
        trained = {name for name, _ in self._trained}
        for name, tensor in self.tensors(kind):
            if (name in trained) != frozen:
                yield OwnedPiece(name, 0, tensor.reshape(-1))

    def tensors(self, kind: StateKind) -> Iterator[tuple[str, Tensor]]:
        """Yield whole fp32 tensors in the model's parameter order, on the CPU; of moments only those there are."""
        for name, parameter in self.model.named_parameters():
            if kind in ("weight", "ema"):
                average = self._ema.get(name) if kind == "ema" else None
                yield name, (parameter.detach() if average is None else average).cpu()
            elif parameter.requires_grad:
                state = self._optimizer.state[parameter]
                yield name, state[kind].cpu() if state else torch.zeros(parameter.shape)

    def load(self, state: StateSource, num_steps: int) -> None:
        self.num_steps = num_steps
        with torch.no_grad():
            for name, parameter in self._trained:
                moments = {kind: torch.empty_like(parameter) for kind in MOMENTS}
                average: dict[StateKind, Tensor] = {"ema": self._ema[name]} if self._ema else {}
                whole: dict[StateKind, Tensor] = {"weight": parameter.data, **average, **moments}
                for kind in self.kinds:
                    state.fill(whole[kind].view(-1), kind, name, 0)
                step = torch.tensor(float(num_steps), device=self.device)
                self._optimizer.state[parameter] = {"step": step, **moments}

    def mean(self, values: Tensor) -> Tensor:
        return values

    def barrier(self) -> None:
        pass


def kinds_of(training: OptimizerSettings) -> tuple[StateKind, ...]:
    """Return the kinds of state of a training: `ema_decay: 0` keeps no average."""
    return tuple(kind for kind in STATE_KINDS if kind != "ema" or training.ema_decay)


def build_optimizer(model: nn.Module, training: OptimizerSettings) -> torch.optim.AdamW:
    """AdamW over all parameters that are trained (numerics 3.3: decoupled decay); the learning rate is set at every
    step."""
    return torch.optim.AdamW(
        [weight for weight in model.parameters() if weight.requires_grad],
        lr=training.learning_rate,
        betas=(training.adam_beta1, training.adam_beta2),
        eps=training.adam_epsilon,
        weight_decay=training.weight_decay,
        fused=True,
    )


def learning_rate(training: OptimizerSettings, step: int) -> float:
    """Linear warm-up to the constant rate; `step` counts from 0."""
    return training.learning_rate * min(1.0, (step + 1) / max(1, training.warmup_steps))
