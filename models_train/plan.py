"""The planner of document scoring: hours, loading, bottleneck, models at once and actors per model. Arithmetic alone.

What is left of a study is a list of `ModelWork`. A plan plays it through on a number of devices, shard by shard, the
way a pool of actors works: a free device loads a model, takes one shard after the other, and leaves when none is left.
Speeds come from finished work on the device, else from its data sheet as an interval; an unknown device has no plan.
"""

from __future__ import annotations

import heapq
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from models_train.errors import UserError

MEASURED, SCALED, ESTIMATE = "measured", "scaled", "estimate"
"""Bases of a speed: shards of this model; shards of other models, scaled by weights; the device's data sheet."""
PEAKS = {"H200": 989.0, "H100": 989.0, "H100 PCIE": 756.0, "A100": 312.0, "L40S": 362.0}
"""Dense bfloat16 products of known devices, in TFLOP/s: the makers' data sheets."""
ALL_BUT = ("NVL", "MIG", "MAX-Q")
"""Words in a device's name that make it another one than its data sheet."""
REACHED = 0.8
"""Largest share of that peak that products of matrices reach: 790 TFLOP/s on an H200."""
SHARES = (0.55, 0.75)
"""Share of the reachable speed that scoring has, as an interval."""
LOADING = (50.0, 150.0)
"""Time in which a GPU's process starts and loads a model, in seconds, where none is measured."""
MEASURED_SPREAD, SCALED_SPREAD = 0.1, 0.25
"""Half an interval, as a share: of a speed from this model's own shards, and of one from other sizes."""
LOADING_SHARES = (0.02, 0.05, 0.1, 0.2, 0.4, math.inf)
"""Loading that a model's actors may cost, as shares of its work. The first that is nearly as fast as any is taken."""
LAST, MORE_AT_LAST = 0.25, (1, 4)
"""Share of the models that come last, and how much more loading theirs may be: no other model needs their devices."""
NEARLY = 1.01
"""Wall time over the least one that counts as nearly as fast."""
MOST_EVENTS = 20_000
"""Shards that are played through one by one; of larger studies several count as one."""
LINK_BYTES = 250e6
"""Speed at which weights are fetched from a hub, in bytes per second: an assumption."""
WEIGHT_BYTES = 2
"""Bytes per weight in bfloat16."""
IN_FLIGHT = 2
"""Shards that an actor of a pool holds: one at work, one that waits for it."""
LOAD_SPREAD, SHARD_SPREAD = 0.25, 0.1
"""How far starts, and shards of a model, lie from their mean, as shares. Even work would end in step, and too soon."""
_GOLDEN = 0.6180339887498949
MUCH_LOADING, MUCH_WAITING = 0.1, 0.1
"""Shares of the bill from which loading or idle devices are the bottleneck."""


@dataclass(frozen=True)
class Interval:
    """A quantity between two bounds."""

    low: float
    value: float
    high: float

    @classmethod
    def around(cls, value: float, share: float) -> Interval:
        """A value, with a share of it at either side."""
        return cls(value * (1 - share), value, value * (1 + share))

    def times(self, factor: float) -> Interval:
        """The quantity times a number."""
        return Interval(self.low * factor, self.value * factor, self.high * factor)


@dataclass(frozen=True)
class Speed:
    """Seconds per token on one device, and the basis of the figure."""

    seconds: Interval
    basis: str


@dataclass(frozen=True)
class Finished:
    """Finished scoring on a device: tokens that went through the model, and seconds without loading."""

    model_id: str
    params_b: float
    n_tokens: int
    seconds: float

    @property
    def per_token(self) -> float:
        """Seconds per token."""
        return self.seconds / self.n_tokens


@dataclass(frozen=True)
class ModelWork:
    """What is left of a model: shards, time of one, and of loading, in seconds. basis: of the time of a shard."""

    model_id: str
    params_b: float
    n_shards: int
    shard_seconds: Interval
    load_seconds: Interval
    basis: str = ESTIMATE

    @property
    def seconds(self) -> float:
        """Time of all shards on one device, without loading."""
        return self.n_shards * self.shard_seconds.value


@dataclass(frozen=True)
class Played:
    """Work played through: wall time, time of shards and of loading on all devices, in seconds, and loads."""

    wall: float
    busy: float
    loading: float
    n_loads: int


@dataclass(frozen=True)
class Plan:
    """A plan. hours: intervals. actors: most per model. one_by_one: wall hours where a model has all the devices."""

    gpus: int
    works: tuple[ModelWork, ...]
    gpu_hours: Interval
    wall_hours: Interval
    loading_share: float
    idle_share: float
    n_loads: int
    models_at_once: int
    actors: Mapping[str, int]
    one_by_one_hours: float
    one_by_one_loading_share: float
    fetch_hours: float
    redone_shards: float

    @property
    def billed_hours(self) -> Interval:
        """Device hours from the first to the last second, idle ones included."""
        return self.wall_hours.times(self.gpus)

    @property
    def bottleneck(self) -> str:
        """What limits the wall time, and what would help."""
        if self.fetch_hours > self.wall_hours.value:
            return (
                f"fetching weights ({self.fetch_hours:.1f} h at {LINK_BYTES / 1e6:g} MB/s, an assumption): fetch them "
                "before the devices are held"
            )
        if self.idle_share >= max(MUCH_WAITING, self.loading_share):
            return "fewer shards than actors: part of the devices wait; take fewer devices, or smaller shards"
        if self.loading_share >= MUCH_LOADING:
            return "loading models: fewer devices lose less of the bill"
        return "the devices: more of them shorten it"


def peak_of(device: str) -> float | None:
    """Dense bfloat16 TFLOP/s of a device by its name, such as `NVIDIA H200`; None for an unknown one."""
    words = re.sub(r"[^A-Z0-9]+", " ", device.upper()).split()
    if any(word in words for word in ALL_BUT):
        return None
    found = [name for name in PEAKS if all(part in words for part in name.split())]
    return PEAKS[max(found, key=len)] if found else None


def speed(model_id: str, params_b: float, device: str, finished: Sequence[Finished]) -> Speed:
    """Speed of a model. finished: scoring on this very device. Raises UserError for a device that nothing is known of.

    Other models' seconds per token are fitted by a constant and a multiple of the weights; where they are all of one
    size, they are scaled by the weights.
    """
    own = [one for one in finished if one.model_id == model_id]
    if own:
        seconds = sum(one.seconds for one in own) / sum(one.n_tokens for one in own)
        return Speed(Interval.around(seconds, MEASURED_SPREAD), MEASURED)
    if finished:
        constant, multiple = _fitted(finished)
        misses = [abs(constant + multiple * one.params_b - one.per_token) / one.per_token for one in finished]
        return Speed(Interval.around(constant + multiple * params_b, max(SCALED_SPREAD, *misses)), SCALED)
    peak = peak_of(device)
    if peak is None:
        raise UserError(
            f"{device}: no finished shard was scored on this device, and no data sheet of it is known here (known are "
            f"{', '.join(PEAKS)}), so there is no plan for it; score one shard on it first (PROBE=1)"
        )
    slow, fast = (2 * params_b * 1e9 / (peak * 1e12 * REACHED * share) for share in SHARES)
    return Speed(Interval(fast, (slow + fast) / 2, slow), ESTIMATE)


def _fitted(finished: Sequence[Finished]) -> tuple[float, float]:
    """Constant and multiple of billions of weights of seconds per token, neither below 0, by least squares of the
    relative misses."""
    weights = [1 / one.per_token**2 for one in finished]
    sizes, times = [one.params_b for one in finished], [one.per_token for one in finished]
    total = sum(weights)
    size = sum(map(math.prod, zip(weights, sizes, strict=True))) / total
    time = sum(map(math.prod, zip(weights, times, strict=True))) / total
    spread = sum(weight * (one - size) ** 2 for weight, one in zip(weights, sizes, strict=True))
    if spread > 0:
        rows = zip(weights, sizes, times, strict=True)
        multiple = sum(weight * (one - size) * (each - time) for weight, one, each in rows) / spread
        constant = time - multiple * size
        if constant >= 0 and multiple >= 0:
            return constant, multiple
        if multiple < 0:
            return time, 0.0
    squares = sum(weight * one**2 for weight, one in zip(weights, sizes, strict=True))
    products = sum(map(math.prod, zip(weights, sizes, times, strict=True)))
    return 0.0, products / squares


def loading(load_seconds: Sequence[float], is_gpu: bool) -> Interval:
    """Time of a start. load_seconds: measured ones. Raises UserError for a CPU without any."""
    if load_seconds:
        middle = sorted(load_seconds)[len(load_seconds) // 2]
        return Interval(min(*load_seconds, middle * 0.75), middle, max(*load_seconds, middle * 1.25))
    low, high = LOADING
    return Interval(low, (low + high) / 2, high) if is_gpu else Interval(0.0, 0.0, 0.0)


def most_actors(work: ModelWork, gpus: int, loading_share: float = LOADING_SHARES[1]) -> int:
    """Most actors of a model's pool on a number of devices, so that their loading costs at most a share of its work."""
    load = work.load_seconds.value
    allowed = work.seconds * loading_share / load if load > 0 else math.inf
    return int(max(1, min(allowed, gpus, -(-work.n_shards // IN_FLIGHT))))


def make_plan(works: Sequence[ModelWork], gpus: int, *, preemptions: float = 0.0, fetch_bytes: float = 0.0) -> Plan:
    """The plan of what is left (at least one shard). preemptions: of a device, per hour. fetch_bytes: weights that are
    not here. The models keep their order, which is the order of their runs."""
    works = [work for work in works if work.n_shards]
    all_in = [_with_losses(work, preemptions) for work in works]
    limits, at_once = _chosen(all_in, gpus)
    played = play(all_in, gpus, limits, at_once)
    late = _late(works, gpus, preemptions)
    low, high = (play([_bound(work, end) for work in all_in], gpus, limits, at_once) for end in ("low", "high"))
    # As a loop over the models would have it: each has all devices; those that it cannot use go to the next one.
    widest = {work.model_id: min(gpus, work.n_shards) for work in works}
    peer = play(all_in, gpus, widest, 1 + -(-gpus // min(widest.values())), in_flight=1)
    return Plan(
        gpus=gpus,
        works=tuple(works),
        gpu_hours=Interval(*((one.busy + one.loading) / 3600 for one in (low, played, high))),
        wall_hours=Interval(*((one.wall + late) / 3600 for one in (low, played, high))),
        loading_share=played.loading / (gpus * played.wall),
        idle_share=1 - (played.busy + played.loading) / (gpus * played.wall),
        n_loads=played.n_loads,
        models_at_once=at_once,
        actors=limits,
        one_by_one_hours=peer.wall / 3600,
        one_by_one_loading_share=1 - peer.busy / (gpus * peer.wall),
        fetch_hours=fetch_bytes / LINK_BYTES / 3600,
        redone_shards=preemptions * sum(work.seconds for work in works) / 3600,
    )


def _with_losses(work: ModelWork, preemptions: float) -> ModelWork:
    """The work with what preemptions cost: half of a shard and a start each, spread over the shards."""

    def longer(shard: float, load: float) -> float:
        return shard * (1 + preemptions / 3600 * (shard / 2 + load))

    pairs = zip(_ends(work.shard_seconds), _ends(work.load_seconds), strict=True)
    return replace(work, shard_seconds=Interval(*(longer(shard, load) for shard, load in pairs)))


def _late(works: Sequence[ModelWork], gpus: int, preemptions: float) -> float:
    """Expected delay at the end, in seconds, where a device is lost while the last shards are at work."""
    longest = max(works, key=lambda work: work.shard_seconds.value)
    shard, load = longest.shard_seconds.value, longest.load_seconds.value
    at_work = min(gpus, sum(work.n_shards for work in works))
    return (1 - math.exp(-preemptions * at_work * shard / 3600)) * (shard / 2 + load)


def _ends(interval: Interval) -> tuple[float, float, float]:
    return interval.low, interval.value, interval.high


def _bound(work: ModelWork, end: str) -> ModelWork:
    """The work as if one end of its intervals were certain."""
    shard, load = (getattr(one, end) for one in (work.shard_seconds, work.load_seconds))
    return replace(work, shard_seconds=Interval(shard, shard, shard), load_seconds=Interval(load, load, load))


def _chosen(works: Sequence[ModelWork], gpus: int) -> tuple[dict[str, int], int]:
    """Most actors per model, and the fewest models at once, that are nearly as fast as any."""
    last = {work.model_id for work in works[len(works) - int(len(works) * LAST) :]}
    tried = []
    for share in LOADING_SHARES:
        for more in MORE_AT_LAST:
            shares = {work.model_id: share * (more if work.model_id in last else 1) for work in works}
            limits = {work.model_id: most_actors(work, gpus, shares[work.model_id]) for work in works}
            tried.append((play(works, gpus, limits, len(works)).wall, limits))
    best = min(wall for wall, _ in tried)
    limits = next(limits for wall, limits in tried if wall <= best * NEARLY)
    at_once = next(
        n
        for n in (*_doubling(-(-gpus // max(limits.values())), len(works)), len(works))
        if play(works, gpus, limits, n).wall <= best * NEARLY**2
    )
    return limits, at_once


def _doubling(first: int, last: int) -> list[int]:
    """Numbers from `first` to before `last`, each half as much again as the one before."""
    found, number = [], max(1, first)
    while number < last:
        found.append(number)
        number += -(-number // 2)
    return found


def play(
    works: Sequence[ModelWork],
    gpus: int,
    actors: Mapping[str, int],
    at_once: int,
    in_flight: int = IN_FLIGHT,
    spread: float = 1.0,
) -> Played:
    """Play the work through. actors: most per model. at_once: models at work at a time, in their order. spread: of
    starts and shards, as a multiple of the usual one."""
    size = max(1, -(-sum(work.n_shards for work in works) // MOST_EVENTS))
    left = [-(-work.n_shards // size) for work in works]
    seconds = [work.seconds / max(1, n) for work, n in zip(works, left, strict=True)]
    loads = [work.load_seconds.value for work in works]
    most = [actors[work.model_id] for work in works]
    active = [0] * len(works)
    running, coming = list(range(min(at_once, len(works)))), min(at_once, len(works))
    events: list[tuple[float, int, int]] = []  # an actor is ready for a shard: when, its model, the shards it holds
    now = busy = loading = 0.0
    free, n_loads, place = gpus, 0, 0.5
    while True:
        while free:
            # Every pool asks for its first actor at once, and for others later.
            model = next((one for one in running if left[one] > 0 and not active[one]), None)
            if model is None:
                model = next((one for one in running if left[one] > 0 and active[one] < most[one]), None)
            if model is None:
                break
            place = (place + _GOLDEN) % 1  # these places are even over 0 to 1, and the same in each play
            load = loads[model] * (1 + spread * LOAD_SPREAD * (2 * place - 1))
            free, active[model], n_loads, loading = free - 1, active[model] + 1, n_loads + 1, loading + load
            heapq.heappush(events, (now + load, model, 0))
        if not events:
            return Played(now, busy, loading, n_loads)
        now, model, held = heapq.heappop(events)
        taken = min(in_flight - held, left[model])
        left[model] -= taken
        if held + taken:
            place = (place + _GOLDEN) % 1
            shard = seconds[model] * (1 + spread * SHARD_SPREAD * (2 * place - 1))
            busy += shard
            heapq.heappush(events, (now + shard, model, held + taken - 1))
            continue
        free, active[model] = free + 1, active[model] - 1
        if not active[model]:
            running.remove(model)
            if coming < len(works):
                running.append(coming)
                coming += 1
