"""What each process does in the tests of sharding: `torchrun --nproc-per-node 2 sharded_worker.py FOLDER`."""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from models_train.reward_models.distributed import joined, local
from models_train.reward_models.memory import MemoryPlan
from tests.support.training_runs import plan, training_run

BFLOAT16 = plan(precision="bfloat16", gradient_checkpointing=True)


def main(folder: Path) -> None:
    """A whole run, half a one, one that another process began, one in bfloat16, one with masters on the host."""
    torch.set_num_threads(1)
    with joined() as processes:
        for name, to_step, how in (
            ("whole", 12, plan()),
            ("half", 7, plan()),
            ("begun", 12, plan()),
            ("bfloat16", 12, BFLOAT16),
            ("offloaded", 12, plan("adamw_offloaded")),
        ):
            run = training_run(folder / name, how=_on_all(how, processes.n))
            run.advance(to_step)
            assert run.costs.n_devices == processes.n
            assert run._state is not None
            weights = run._state.masters.weights.values()
            assert sum(local(weight).numel() for weight in weights) < 0.6 * sum(weight.numel() for weight in weights)


def _on_all(how: MemoryPlan, n: int) -> MemoryPlan:
    return MemoryPlan(**{**vars(how), "n_devices": n})


if __name__ == "__main__":
    main(Path(sys.argv[1]))
