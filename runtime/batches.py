"""Running batches on several threads, in order and with flat memory, and joining what they gave."""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

import numpy as np

from ..errors import DrawError
from .cpus import available_cpus
from .noise import check_whole

T = TypeVar("T")
R = TypeVar("R")

# A GPU is waiting most of the time while the noise of the next batch is made on the CPU.
_THREADS_ON_CUDA = 4


def thread_count(asked: int | None, provider: str) -> int:
    """The number of batches run at the same time: the CPUs that may be used, and four of them beside a GPU.

    Raises:
        DrawError: less than 1, or no whole number.
    """
    if asked is not None and (asked := check_whole(asked, "number of threads")) < 1:
        raise DrawError(f"the number of threads must be at least 1, not {asked}")
    cpus = available_cpus()
    return asked or (min(_THREADS_ON_CUDA, cpus) if provider == "cuda" else cpus)


def map_in_order(function: Callable[[T], R], items: Iterable[T], threads: int) -> Iterator[R]:
    """``map`` on several threads: results and errors in order, at most ``threads`` + 1 items in flight."""
    if threads == 1:
        yield from map(function, items)
        return
    pending: deque[Future[R]] = deque()
    executor = ThreadPoolExecutor(threads)
    source, failure = iter(items), None
    try:
        while True:
            try:
                item = next(source)
            except StopIteration:
                break
            except Exception as error:  # said in its place: after the results of what came before it
                failure = error
                break
            pending.append(executor.submit(function, item))
            if len(pending) > threads:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
        if failure is not None:
            raise failure
    finally:
        executor.shutdown(wait=True, cancel_futures=True)


def join(parts: Sequence[R]) -> R:
    """Consecutive batches, dataclasses of one kind, as one: arrays are concatenated, all else is the first's."""
    first: Any = parts[0]
    if len(parts) == 1:
        return first
    arrays = [name for name, value in vars(first).items() if isinstance(value, np.ndarray)]
    joined = {name: np.concatenate([getattr(part, name) for part in parts]) for name in arrays}
    return dataclasses.replace(first, **joined)
