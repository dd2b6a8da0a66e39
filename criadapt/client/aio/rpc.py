"""All 43 RPCs of CRI v1 as methods: arguments are the request's fields, answers are the model's dataclasses.

A method has the RPC's name in lower case; ``Exec``, ``Attach`` and ``PortForward``, which only give a URL, are
``prepare_exec`` and so on. Every method takes `timeout` in seconds, None for the RPC's own deadline, and raises the
classes of :mod:`criadapt.errors`: DeadlineExceeded after that time, Unavailable when the runtime cannot be reached,
Unsupported for an RPC that it does not have.
"""

from __future__ import annotations

from criadapt.client.aio.rpc_containers import AsyncContainerCalls
from criadapt.client.aio.rpc_images import AsyncImageCalls
from criadapt.client.aio.rpc_runtime import AsyncRuntimeCalls
from criadapt.client.aio.rpc_stats import AsyncStatsCalls


class AsyncCalls(AsyncRuntimeCalls, AsyncContainerCalls, AsyncStatsCalls, AsyncImageCalls):
    """All RPCs of the runtime and the image service."""
