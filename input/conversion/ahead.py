"""Work on a second core: what comes next is made while the last is used."""

import itertools
from collections.abc import Iterable, Iterator
from concurrent import futures
from typing import TypeVar

T = TypeVar("T")


def ahead(items: Iterable[T], pool: futures.Executor) -> Iterator[T]:
    """Return what an iterable yields, one item always made ahead in a pool.

    It begins at once. What making an item raises is raised where it is taken.
    """
    iterator = iter(items)

    def taken(coming: futures.Future[list[T]]) -> Iterator[T]:
        while made := coming.result():
            coming = pool.submit(step)
            yield made[0]

    def step() -> list[T]:
        return list(itertools.islice(iterator, 1))

    return taken(pool.submit(step))
