"""Results computed before they are asked for: order and failures are those of computing them one by one."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def ahead(
    make: Callable[[Item], Result], items: Iterable[Item], depth: int, num_threads: int = 1
) -> Generator[Result, None, None]:
    """`make` of each item, in their order, up to `depth` of them made before they are asked for.

    Closing it, or leaving it to the garbage collector, ends its threads after what they are at.

    Raises: at an item's turn, what making it raised.
    """
    if depth < 1 or num_threads < 1:
        raise ValueError(f"{depth} items ahead in {num_threads} threads: both are at least 1")
    pool = ThreadPoolExecutor(num_threads, thread_name_prefix="ahead")
    waiting: deque[Future[Result]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(make, item))
            if len(waiting) > depth:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
