"""Reading and computing at the same time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


def one_ahead(function: Callable[..., T], calls: Sequence[Sequence]) -> Iterator[T]:
    """What function(*call) gives for each call, in order; while one answer is used a thread works on the next.

    The first call is under way when this returns. What the function raises is raised where its answer is taken.
    """
    pool = ThreadPoolExecutor(1)
    waiting = [pool.submit(function, *call) for call in calls[:1]]

    def answers() -> Iterator[T]:
        with pool:
            for number in range(len(calls)):
                answer = waiting.pop().result()
                waiting.extend(pool.submit(function, *call) for call in calls[number + 1 : number + 2])
                yield answer

    return answers()
