"""Does one thing to many items on several threads, and gives the results in the items' order."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item, Result = TypeVar("Item"), TypeVar("Result")

_AHEAD = 2
"""Items a thread that are taken before the first of them is done: the results wait in memory."""


def in_order(do: Callable[[Item], Result], items: Iterable[Item], threads: int) -> Iterator[Result]:
    """Results as soon as they and all before them are there; no more than two items a thread are ahead.

    Args:
        do: Called on the threads; what it raises is raised here.
        items: Taken on the caller's thread, as they are needed.
        threads: How many items are worked on at once.
    """
    waiting: deque = deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for item in items:
                waiting.append(pool.submit(do, item))
                while waiting and (waiting[0].done() or len(waiting) >= _AHEAD * threads):
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:  # the caller wants no more
                future.cancel()
