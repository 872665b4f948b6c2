"""DeepSpeed behind the `TrainingEngine` protocol.

Weights stay fp32 (bf16 is autocast inside the model), so every ZeRO stage holds each weight exactly once in fp32 and
the average can be kept beside it, sharded the same way and updated without communication. State leaves and enters as
pieces of named tensors: a checkpoint knows nothing of ZeRO stages or world sizes, and nothing in it is a pickle.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Generic

import torch
import torch.distributed
from torch import Tensor, nn

from dfm_core.config.training import OptimizerSettings
from dfm_core.models.empty_weights import give_weights
from dfm_core.training.engine import MOMENTS, Model, OwnedPiece, StateKind, StateSource, build_optimizer, kinds_of
from orchestration.config.workers import WorkersConfig
from orchestration.private.deepspeed import (
    import_deepspeed,
    init_adam_state,
    local_module_weight,
    local_piece,
    set_adam_step,
    skip_shared_memory_op,
)
from orchestration.startup.other_launchers import drop_other_launchers

REDUCED_AT_ONCE = 5 * 10**7
"""Gradients that are sent together: 200 MB, of which DeepSpeed keeps one buffer or, overlapping the backward pass, two.
Its own default of ten times as many takes 4 GB, and hardly leaves anything to overlap: a DiT-XL has 7e8 weights."""


def _import_deepspeed(device: torch.device) -> Any:
    """Return DeepSpeed, quiet and without its compiled communication op."""
    if device.type == "cpu":  # also on a machine that has a GPU which was not given to us
        os.environ["DS_ACCELERATOR"] = "cpu"
    drop_other_launchers(os.environ)
    deepspeed = import_deepspeed()
    logging.getLogger("DeepSpeed").setLevel(logging.ERROR)
    skip_shared_memory_op()
    return deepspeed


def reduced_at_once(num_trained: int) -> int:
    """Return the number of gradients that are sent together."""
    return min(REDUCED_AT_ONCE, num_trained)


class DeepSpeedEngine(Generic[Model]):
    """ZeRO 1, 2 or 3 over an initialised torch process group.

    It is closed after the training, but not after an error, which ends its processes.
    """

    def __init__(self, model: Model, training: OptimizerSettings, workers: WorkersConfig, device: torch.device) -> None:
        """Args: model: fp32, on the CPU or without weights (`empty_model`), then to be set with `load` or `restart`; it
        is moved to `device`. The process group must be initialised on every worker."""
        zero_stage, micro_batch_size = workers.zero_stage, workers.micro_batch(training.batch_size)
        assert torch.distributed.is_initialized(), "the process group must exist before the engine"
        deepspeed = _import_deepspeed(device)
        self.rank = torch.distributed.get_rank()
        self.world_size = torch.distributed.get_world_size()
        self.device = device
        self._training = training
        self._num_micro_batches = training.batch_size // (self.world_size * micro_batch_size)
        self._micro_batches_done = 0
        self.num_steps = 0
        deepspeed.init_distributed(dist_backend=torch.distributed.get_backend(), verbose=False)
        config = {
            "train_batch_size": training.batch_size,
            "train_micro_batch_size_per_gpu": micro_batch_size,
            "gradient_accumulation_steps": self._num_micro_batches,
            "gradient_clipping": training.gradient_clip,
            "zero_optimization": {
                "stage": zero_stage,
                "overlap_comm": device.type == "cuda",
                "reduce_bucket_size": reduced_at_once(sum(p.numel() for p in model.parameters() if p.requires_grad)),
            },
            "timers": {"throughput": {"enabled": False}},  # it would wait for the GPU four times a step
            "zero_allow_untested_optimizer": True,
            "zero_force_ds_cpu_optimizer": False,
            "steps_per_print": 2**31,
        }

        def deal_out(weight: nn.Parameter) -> None:
            if zero_stage == 3:  # before the next weight is made: the model is never whole on a worker
                deepspeed.zero.Init(module=nn.ParameterList([weight]), config_dict_or_path=config, dtype=torch.float32)

        self.sizes = {name: weight.numel() for name, weight in model.named_parameters()}
        """Elements of each weight of the module, by name."""
        give_weights(model, device, deal_out)
        self.module = model.to(device)
        self._weights: dict[str, Any] = dict(self.module.named_parameters())
        self._trained = {name: weight for name, weight in self._weights.items() if weight.requires_grad}
        self.kinds = kinds_of(training)
        optimizer = build_optimizer(self.module, training)
        self._engine, *_ = deepspeed.initialize(model=self.module, optimizer=optimizer, config=config)
        self._zero_stage = zero_stage
        init_adam_state(self._engine.optimizer, zero_stage)
        self._ema = {piece.name: piece.values.clone() for piece in self.pieces("weight") if training.ema_decay}

    @property
    def frozen(self) -> Collection[str]:
        """Names of the weights that are not trained."""
        return self._weights.keys() - self._trained.keys()

    @property
    def model(self) -> Model:
        """The DeepSpeed engine itself: calling it runs the hooks that gather ZeRO-3's weights, and it forwards the
        module's attributes."""
        engine: Model = self._engine
        return engine

    def backward(self, loss: Tensor) -> None:
        self._engine.backward(loss)
        self._micro_batches_done += 1
        if self._micro_batches_done < self._num_micro_batches:
            self._engine.step()  # counts the micro-batch; DeepSpeed steps only at the last one

    def step(self, learning_rate: float) -> Tensor | None:
        assert self._micro_batches_done == self._num_micro_batches, "step() before all micro-batches were seen"
        self._micro_batches_done = 0
        for group in self._engine.optimizer.param_groups:
            group["lr"] = learning_rate
        self._engine.step()
        if not self._engine.was_step_applied():  # gradients are not finite, on all workers: DeepSpeed has read the norm
            return None
        self.num_steps += 1
        if self._ema:
            pieces = list(self.pieces("weight"))
            averages = [self._ema[piece.name] for piece in pieces]
            torch._foreach_lerp_(averages, [piece.values for piece in pieces], 1.0 - self._training.ema_decay)
        norm: Tensor = self._engine.get_global_grad_norm()
        return norm

    def pieces(self, kind: StateKind, *, frozen: bool = False) -> Iterator[OwnedPiece]:
        if frozen:
            yield from self._frozen_pieces()
            return
        moment = kind if kind in MOMENTS else None
        for name, parameter in self._trained.items():
            piece = local_piece(parameter, self.rank, moment)
            if piece is not None:
                offset, values = piece
                yield OwnedPiece(name, offset, self._ema.get(name, values) if kind == "ema" else values)

    def _frozen_pieces(self) -> Iterator[OwnedPiece]:
        for name, parameter in self._weights.items():
            if parameter.requires_grad:
                continue
            offset, values = local_module_weight(parameter, self.rank)
            if self._zero_stage < 3:  # every worker has all of it
                values = values.tensor_split(self.world_size)[self.rank]
                offset = sum(len(part) for part in parameter.view(-1).tensor_split(self.world_size)[: self.rank])
            if values.numel():
                yield OwnedPiece(name, offset, values.detach())

    def load(self, state: StateSource, num_steps: int) -> None:
        self.num_steps = num_steps
        set_adam_step(self._engine.optimizer, self._zero_stage, num_steps)
        self.set_weights(state, "weight", {name: name for name in self._trained})
        for kind in self.kinds:
            for piece in self.pieces(kind):
                state.fill(piece.values, kind, piece.name, piece.offset)

    def set_weights(self, state: StateSource, kind: StateKind, names: Mapping[str, str]) -> None:
        """Set weights of the module; `restart` hands them to the optimiser.

        Args: names: a weight's name in the state by its name here.
        """
        for name, origin in names.items():
            offset, values = local_module_weight(self._weights[name], self.rank)
            state.fill(values, kind, origin, offset)

    def restart(self) -> None:
        """Begin anew from the module's weights: no moments, and the average is the weights."""
        self.num_steps = 0
        set_adam_step(self._engine.optimizer, self._zero_stage, 0)
        for kind in MOMENTS:
            for piece in self.pieces(kind):
                piece.values.zero_()
        for name, offset, values in self.pieces("weight"):
            first, whole = local_module_weight(self._trained[name], self.rank)
            values.copy_(whole[offset - first : offset - first + values.numel()])
            if self._ema:
                self._ema[name].copy_(values)

    def whole(self, weights: Iterable[Tensor]) -> AbstractContextManager[object]:
        """See `dfm_core.models.initialization.Whole`. Collective."""
        if self._zero_stage < 3:
            return nullcontext()
        gathered: AbstractContextManager[object] = import_deepspeed().zero.GatheredParameters(
            list(weights), modifier_rank=0
        )
        return gathered

    def mean(self, values: Tensor) -> Tensor:
        """Return the mean over workers, added in rank order, so that it is bitwise equal on all of them."""
        if self.world_size == 1:
            return values
        gathered = [torch.empty_like(values, device=self.device) for _ in range(self.world_size)]
        torch.distributed.all_gather(gathered, values.to(self.device))
        return torch.stack(gathered).cpu().sum(dim=0) / self.world_size

    def barrier(self) -> None:
        torch.distributed.barrier()

    def close(self) -> None:
        """Remove DeepSpeed's hooks, so that the memory can be freed; the process group stays for the next engine."""
        self._engine.destroy()
