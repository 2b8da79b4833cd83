"""Writers of one store that race: creates of the same key, and swaps of the same pointer."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

from models_train.store import Store

RACERS = 8


def creates(store: Store, n_rounds: int) -> list[int]:
    """Number of racers whose create succeeded, per round; each writes content of its own, and the winner's stays."""
    barrier = Barrier(RACERS)
    winners: list[list[int]] = [[] for _ in range(n_rounds)]

    def race(racer: int) -> None:
        for number in range(n_rounds):
            barrier.wait()
            if store.put_new(f"races/{number:03}", str(racer).encode()):
                winners[number].append(racer)

    with ThreadPoolExecutor(RACERS) as pool:
        list(pool.map(race, range(RACERS)))
    for number, won in enumerate(winners):
        assert store.get(f"races/{number:03}") == str(won[0]).encode()
    return [len(won) for won in winners]


def swaps(store: Store, n_each: int) -> int:
    """Value of a counter that every racer raises `n_each` times by compare-and-swap."""

    def count(_: int) -> None:
        for _ in range(n_each):
            while True:
                content, etag = store.get_with_etag("counter")
                if store.swap("counter", str(int(content) + 1).encode(), etag):
                    break

    store.swap("counter", b"0", None)
    with ThreadPoolExecutor(RACERS) as pool:
        list(pool.map(count, range(RACERS)))
    return int(store.get("counter"))
