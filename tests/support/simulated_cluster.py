"""A cluster of known speeds, simulated second by second: what a plan is compared with. It shares no code with it.

Devices are objects with a state. Pools grow by a seventh at a look, an actor holds two shards (the second waits on it),
every shard and every start takes another time, and devices are taken away and come back at once.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field

STEP = 2.0
"""Length of a look, in seconds."""


@dataclass
class Model:
    """A model's shards: mean time of one and of a start, in seconds."""

    name: str
    n_shards: int
    shard: float
    load: float
    todo: int = field(init=False)
    done: int = 0

    def __post_init__(self) -> None:
        self.todo = self.n_shards


@dataclass
class Device:
    """A device: the model of its actor, the time to the end of its start or shard, and the shards that it holds."""

    model: Model | None = None
    left: float = 0.0
    held: int = 0
    is_loading: bool = False


def wall_seconds(
    models: list[Model], n_devices: int, actors: Mapping[str, int], at_once: int, *, preemptions: float, seed: int
) -> float:
    """Time until every shard is done. actors: most per model. preemptions: of a device, per hour."""
    dice = random.Random(seed)
    devices = [Device() for _ in range(n_devices)]
    queue, open_pools = list(models), []
    now = 0.0
    while queue or open_pools:
        while queue and len(open_pools) < at_once:
            open_pools.append(queue.pop(0))
        _grow(open_pools, devices, actors, dice)
        for device in devices:
            if device.model is not None:
                _work(device, dice)
                if dice.random() < preemptions * STEP / 3600:
                    _lose(device)
        open_pools = [pool for pool in open_pools if pool.done < pool.n_shards]
        now += STEP
    return now


def _grow(pools: list[Model], devices: list[Device], actors: Mapping[str, int], dice: random.Random) -> None:
    """Every pool gets a seventh more actors, one at least, where shards wait and a device is free; empty ones first."""
    size = {pool.name: sum(device.model is pool for device in devices) for pool in pools}
    free = [device for device in devices if device.model is None]
    for pool in sorted(pools, key=lambda pool: size[pool.name] > 0):
        most = min(len(free), actors[pool.name] - size[pool.name], 1 + size[pool.name] // 7)
        for device in [free.pop() for _ in range(most if pool.todo else 0)]:
            device.model, device.is_loading, device.held = pool, True, 0
            device.left = pool.load * dice.uniform(0.7, 1.3)


def _work(device: Device, dice: random.Random) -> None:
    pool = device.model
    assert pool is not None
    device.left -= STEP
    while device.left <= 0:
        if not device.is_loading:
            device.held -= 1
            pool.done += 1
        device.is_loading = False
        taken = min(2 - device.held, pool.todo)
        device.held, pool.todo = device.held + taken, pool.todo - taken
        if not device.held:
            device.model = None
            return
        device.left += pool.shard * dice.lognormvariate(-0.005, 0.1)


def _lose(device: Device) -> None:
    """A device is taken away: its shards go back."""
    if device.model is not None:
        device.model.todo += device.held
        device.model, device.held = None, 0
