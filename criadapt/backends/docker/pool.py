"""Calls of the docker SDK, which block, made in threads: few, reused, and never one per container."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from criadapt.backends.docker.errors import translated

P = ParamSpec("P")
T = TypeVar("T")


class Pool:
    """At most so many calls at once; the next ones wait for their turn."""

    def __init__(self, workers: int) -> None:
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="docker")

    async def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Make a call. What it fails with leaves as :mod:`criadapt.errors`.

        A caller who is cancelled leaves at once; the call goes on to its own end, since it cannot be stopped.
        """

        def run() -> T:
            with translated():
                return function(*args, **kwargs)

        return await asyncio.get_running_loop().run_in_executor(self._threads, run)

    def close(self) -> None:
        """Begin no more calls; those under way are not waited for."""
        self._threads.shutdown(wait=False, cancel_futures=True)
