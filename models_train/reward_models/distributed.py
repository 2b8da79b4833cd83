"""Training over several processes, started by torchrun or Ray Train: FSDP2 shards weights, gradients and moments.

Every process works on its share of the packs of a global batch and holds its share of the state. Checkpoints gather
whole tensors, so a run may go on with another number of processes (with the same result up to the order of sums).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor

from models_train.errors import UserError
from models_train.metering import default_device
from models_train.reward_models.model import RewardModel

T = TypeVar("T")


@dataclass(frozen=True)
class Processes:
    """The processes of a run. rank: this one's number, from 0. device: this one's. local_rank: its number on its
    machine; local_n: processes there; by default all are on one machine."""

    rank: int
    n: int
    device: torch.device
    local_rank: int | None = None
    local_n: int | None = None

    @property
    def is_first(self) -> bool:
        """The first process writes files and reports progress."""
        return self.rank == 0

    def wait(self) -> None:
        """Wait for all."""
        if self.n > 1:
            dist.barrier()

    def in_turn(self, action: Callable[[], T]) -> T:
        """One process of a machine after the other, so that its memory holds what one needs."""
        result: list[T] = []
        mine = self.rank if self.local_rank is None else self.local_rank
        # As many turns as processes, also where machines have fewer: all have to wait as often.
        for turn in range(self.n):
            if turn == mine:
                result.append(action())
            self.wait()
        return result[0]

    def total(self, value: torch.Tensor) -> torch.Tensor:
        """The sum over all processes."""
        if self.n > 1:
            dist.all_reduce(value)
        return value

    def of_all(self, value: T) -> list[T]:
        """The values of all processes, in their order."""
        if not dist.is_initialized():
            return [value] * self.n
        found: list[Any] = [None] * self.n
        dist.all_gather_object(found, value)
        return found


def current_processes() -> Processes:
    """The processes joined by `joined`; one where there are no others. On the first GPU where there is one."""
    if not dist.is_initialized():
        return Processes(0, 1, default_device())
    place = (int(os.environ[name]) if name in os.environ else None for name in ("LOCAL_RANK", "LOCAL_WORLD_SIZE"))
    return Processes(dist.get_rank(), dist.get_world_size(), default_device(), *place)


@contextmanager
def joined() -> Iterator[Processes]:
    """Join the processes that torchrun started with this one, if it started any; those that Ray Train started have
    joined already. Raises UserError."""
    if dist.is_initialized():
        if torch.cuda.is_available():
            torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
        yield current_processes()
        return
    n = int(os.environ.get("WORLD_SIZE", "1"))
    if n == 1:
        yield current_processes()
        return
    if torch.cuda.is_available():
        n_here, n_gpus = int(os.environ.get("LOCAL_WORLD_SIZE", n)), torch.cuda.device_count()
        if n_gpus < n_here:
            raise UserError(f"{n_here} processes need {n_here} GPUs, here are {n_gpus}: lower --nproc-per-node")
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    dist.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo")
    try:
        yield current_processes()
    finally:
        dist.destroy_process_group()


def shard(model: RewardModel, mesh: DeviceMesh, dtype: torch.dtype) -> None:
    """Shard a float32 model in place. The backbone is gathered and computes in `dtype`; sums and head stay float32."""
    backbone = model.classifier.base_model
    mixed = MixedPrecisionPolicy(param_dtype=dtype, reduce_dtype=torch.float32)
    for layer in layers_of(backbone):
        fully_shard(layer, mesh=mesh, mp_policy=mixed)
    fully_shard(backbone, mesh=mesh, mp_policy=mixed, reshard_after_forward=True)
    fully_shard(model.head, mesh=mesh)
    fully_shard(model.module, mesh=mesh)


def layers_of(backbone: nn.Module) -> Sequence[nn.Module]:
    """The layers of a decoder: the longest list of modules in it."""
    lists = [list(module) for module in backbone.modules() if isinstance(module, nn.ModuleList)]
    return max(lists, key=len, default=[])


def local(tensor: torch.Tensor) -> torch.Tensor:
    """This process's share of a sharded tensor; a plain one as it is."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def sharded_as(weight: torch.Tensor, tensor: torch.Tensor, host_mesh: DeviceMesh | None) -> torch.Tensor:
    """A process's share of a tensor, as a DTensor sharded as a weight is; of a plain weight, the tensor as it is.

    host_mesh: of the processes, for shares in the memory of the host; their weights may be on GPUs.
    """
    if not isinstance(weight, DTensor) or isinstance(tensor, DTensor):
        return tensor
    mesh = weight.device_mesh if host_mesh is None else host_mesh
    return DTensor.from_local(
        tensor, mesh, weight.placements, run_check=False, shape=weight.shape, stride=weight.stride()
    )


def shares(weights: Sequence[int], n: int) -> list[list[int]]:
    """Indices of the packs of each of n processes: the heaviest goes to the process that has least so far."""
    given: list[list[int]] = [[] for _ in range(n)]
    loads = [0] * n
    for index in sorted(range(len(weights)), key=lambda index: -weights[index]):
        lightest = loads.index(min(loads))
        given[lightest].append(index)
        loads[lightest] += weights[index]
    return given
