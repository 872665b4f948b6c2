"""DeepSpeed behind the `TrainingEngine` protocol.

Weights stay fp32 (bf16 is autocast inside the model), so every ZeRO stage holds each weight exactly once in fp32 and
the average can be kept beside it, sharded the same way and updated without communication. State is exchanged as whole
named tensors: a checkpoint knows nothing of ZeRO stages, partitions or world sizes, and nothing in it is a pickle.
"""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Generic

import torch
import torch.distributed
from torch import Tensor

from dfm_core.config.training import OptimizerSettings
from dfm_core.training.engine import Model, State, StateKind, build_optimizer
from orchestration.common.cleanup import always
from orchestration.common.other_launchers import drop_other_launchers
from orchestration.config.workers import WorkersConfig
from orchestration.private.deepspeed import init_adam_state, local_module_weight, local_weight, skip_shared_memory_op


def _import_deepspeed(device: torch.device) -> Any:
    """Return DeepSpeed, quiet and without its compiled communication op."""
    if device.type == "cpu":  # also on a machine that has a GPU which was not given to us
        os.environ["DS_ACCELERATOR"] = "cpu"
    drop_other_launchers(os.environ)
    import deepspeed

    logging.getLogger("DeepSpeed").setLevel(logging.ERROR)
    skip_shared_memory_op()
    return deepspeed


class DeepSpeedEngine(Generic[Model]):
    """ZeRO 1, 2 or 3 over an initialised torch process group.

    It is closed after the training, but not after an error, which ends its processes.
    """

    def __init__(self, model: Model, training: OptimizerSettings, workers: WorkersConfig, device: torch.device) -> None:
        """Args: model: on the CPU, fp32; moved to `device`. The process group must be initialised on every worker."""
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
        self._module = model.to(device)
        self._parameters: dict[str, Any] = dict(self._module.named_parameters())
        self._engine, *_ = deepspeed.initialize(
            model=self._module,
            optimizer=build_optimizer(self._module, training),
            config={
                "train_batch_size": training.batch_size,
                "train_micro_batch_size_per_gpu": micro_batch_size,
                "gradient_accumulation_steps": self._num_micro_batches,
                "gradient_clipping": training.gradient_clip,
                "zero_optimization": {"stage": zero_stage, "overlap_comm": device.type == "cuda"},
                "timers": {"throughput": {"enabled": False}},  # it would wait for the GPU four times a step
                "zero_allow_untested_optimizer": True,
                "zero_force_ds_cpu_optimizer": False,
                "steps_per_print": 2**31,
            },
        )
        self._zero_stage = zero_stage
        init_adam_state(self._engine.optimizer, zero_stage, num_steps=0)
        self._ema = {name: local.clone() for name, local in self._local_weights()}

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

    def step(self, learning_rate: float) -> float:
        assert self._micro_batches_done == self._num_micro_batches, "step() before all micro-batches were seen"
        self._micro_batches_done = 0
        for group in self._engine.optimizer.param_groups:
            group["lr"] = learning_rate
        self._engine.step()
        # If gradients are not finite, DeepSpeed skips the step silently on all workers and reports inf.
        norm = float(self._engine.get_global_grad_norm())
        if not math.isfinite(norm):
            return norm
        self.num_steps += 1
        weights = dict(self._local_weights())
        averages = [self._ema[name] for name in weights]
        torch._foreach_lerp_(averages, list(weights.values()), 1.0 - self._training.ema_decay)
        return norm

    def tensors(self, kind: StateKind) -> Iterator[tuple[str, Tensor]]:
        from deepspeed.utils import safe_get_full_fp32_param, safe_get_full_optimizer_state

        if kind == "ema":
            with self._ema_as_weights():
                yield from self.tensors("weight")
            return
        for name, parameter in self._parameters.items():
            if kind == "weight":
                yield name, safe_get_full_fp32_param(parameter).detach().cpu()
            else:
                yield name, safe_get_full_optimizer_state(parameter, kind).detach().cpu()

    def load(self, state: State, num_steps: int) -> None:
        self.num_steps = num_steps
        init_adam_state(self._engine.optimizer, self._zero_stage, num_steps)
        for name, parameter in self._parameters.items():
            self._set(parameter, state["ema"][name], None)
        self._ema = {name: local.clone() for name, local in self._local_weights()}
        for name, parameter in self._parameters.items():
            self._set(parameter, state["weight"][name], None)
            self._set(parameter, state["exp_avg"][name], "exp_avg")
            self._set(parameter, state["exp_avg_sq"][name], "exp_avg_sq")
            self._set_module_weight(parameter, state["weight"][name])

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

    def _local_weights(self) -> Iterator[tuple[str, Tensor]]:
        """Yield this worker's fp32 piece of each weight as a view; weights of which it owns nothing are left out."""
        from deepspeed.utils import safe_get_local_fp32_param

        for name, parameter in self._parameters.items():
            if self._zero_stage == 3:
                yield name, safe_get_local_fp32_param(parameter).detach()
            elif (piece := local_weight(parameter)) is not None:
                yield name, piece

    @contextmanager
    def _ema_as_weights(self) -> Iterator[None]:
        """Swap the average in for the weights, so that gathering weights gathers it; always swap back."""
        weights = {name: local.clone() for name, local in self._local_weights()}

        def swap_back() -> None:
            for name, local in self._local_weights():
                local.copy_(weights[name])

        with always(swap_back):
            for name, local in self._local_weights():
                local.copy_(self._ema[name])
            yield

    def _partition(self, parameter: Any, value: Tensor) -> Tensor:
        """Return this worker's piece of a whole tensor under ZeRO-3, which pads every parameter to equal pieces."""
        length = local_module_weight(parameter).numel()
        padded = torch.zeros(length * self.world_size, dtype=torch.float32, device=self.device)
        padded[: value.numel()] = value.flatten()
        return padded[length * self.rank : length * (self.rank + 1)]

    def _set(self, parameter: Any, value: Tensor, optimizer_state: str | None) -> None:
        """Set this worker's piece of an fp32 weight, or of one of its moments, from the whole tensor."""
        from deepspeed import utils

        if self._zero_stage == 3:
            piece = self._partition(parameter, value)
            if optimizer_state is None:
                utils.safe_set_local_fp32_param(parameter, piece)
            else:
                utils.safe_set_local_optimizer_state(parameter, piece, optimizer_state)
        elif optimizer_state is None:
            utils.safe_set_full_fp32_param(parameter, value.to(self.device))
        else:
            utils.safe_set_full_optimizer_state(parameter, value.to(self.device), optimizer_state)

    def _set_module_weight(self, parameter: Any, value: Tensor) -> None:
        """Set the copy that the forward pass reads to the fp32 weight."""
        if self._zero_stage == 3:
            piece = local_module_weight(parameter)
            piece.data.copy_(self._partition(parameter, value).view_as(piece))
        else:
            parameter.data.copy_(value)
