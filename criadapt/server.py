"""The one place where everything is put together: open, recover, listen, serve, drain, close."""

from __future__ import annotations

import asyncio
import fcntl
import gc
import logging
import os
import resource
import shutil
import signal
import socket
import stat
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from pathlib import Path

import grpc.aio

from criadapt import backends
from criadapt.backends.base import Backend
from criadapt.backends.wrap import Failing, Timed
from criadapt.config import Config, Loaded
from criadapt.core.runtime import Runtime, opened
from criadapt.errors import FailedPrecondition, InvalidArgument, PermissionDenied
from criadapt.metrics import Metrics, serve_metrics
from criadapt.service.handlers import generic_handler
from criadapt.service.image import ImageService
from criadapt.service.interceptors import Observe
from criadapt.service.runtime import RuntimeService
from criadapt.streaming.listener import listening

log = logging.getLogger(__name__)


async def serve(loaded: Loaded, *, on_ready: Callable[[str], None] = lambda endpoint: None) -> None:
    """Serve until SIGTERM or SIGINT, then let running calls finish; containers are left alone.

    `on_ready` gets the endpoint once the first request can be answered. Raises InvalidArgument and
    FailedPrecondition for what stands in the way of starting.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    try:
        async with serving(loaded) as runtime:
            on_ready(runtime.config.listen)
            await stop.wait()
            log.info("stopping; containers keep running")
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


@asynccontextmanager
async def serving(loaded: Loaded) -> AsyncIterator[Runtime]:
    """A server on its socket, for as long as the block lasts."""
    config = loaded.config
    _raise_file_limit()
    # State is long-lived and has few cycles: looking through all of it after every 70,000 new objects, as Python does
    # by default, stops a node of thousands of containers for a quarter of a second at a time.
    gc.set_threshold(20_000, 50, 100)
    cls = backends.load(config.backend)
    options = loaded.backend_options(cls)
    async with AsyncExitStack() as stack:
        stack.enter_context(_sole_owner(config.state_dir))
        socket_path = Path(config.listen.removeprefix("unix://"))
        _make_way(socket_path)
        metrics = Metrics(backend=config.backend)
        backend: Backend = cls(options, state_dir=config.state_dir)
        if config.faults:
            log.warning("faults are being injected", extra={"rules": len(config.faults)})
            backend = Failing(backend, config.faults)
        backend = await stack.enter_async_context(Timed(backend, metrics.observe_engine))
        runtime = await stack.enter_async_context(opened(config, backend, config.state_dir))
        metrics.watch(runtime.store, runtime.events, runtime.pumps)
        drain = config.runtime.exec_drain_seconds
        await stack.enter_async_context(listening(runtime.sessions, runtime.execs, config.streaming, drain))
        if config.metrics.listen:
            await stack.enter_async_context(
                serve_metrics(metrics, config.metrics.listen, unhealthy=lambda: runtime.monitor.trouble)
            )
            measuring = asyncio.get_running_loop().create_task(metrics.watch_loop())
            stack.callback(measuring.cancel)
        server = _grpc_server(config, runtime, metrics)
        # Everything is recovered and listening by now: the socket appears as the last thing and disappears first.
        await stack.enter_async_context(_on_socket(server, socket_path, config))
        stack.callback(runtime.events.close)  # ends the event streams, which would otherwise outlast the drain
        yield runtime


def _grpc_server(config: Config, runtime: Runtime, metrics: Metrics) -> grpc.aio.Server:
    server = grpc.aio.server(
        interceptors=[Observe(metrics)],
        options=[
            ("grpc.max_receive_message_length", config.grpc.max_message_bytes),
            ("grpc.max_send_message_length", -1),
            # Clients ping as often as they like; they are kubelet and its kin on the same machine.
            ("grpc.http2.min_ping_interval_without_data_ms", 1000),
            ("grpc.keepalive_permit_without_calls", 1),
            ("grpc.http2.max_ping_strikes", 0),
            ("grpc.so_reuseport", 0),
        ],
    )
    server.add_generic_rpc_handlers(
        (
            generic_handler("RuntimeService", RuntimeService(runtime)),
            generic_handler("ImageService", ImageService(runtime)),
        )
    )
    return server


@asynccontextmanager
async def _on_socket(server: grpc.aio.Server, path: Path, config: Config) -> AsyncIterator[None]:
    """Serve on `path`, which appears with its final mode and only when it is being served."""
    # A short name beside the final one: it must fit the same limit of 107 bytes, and no two servers get here at once
    # with the same state directory.
    temporary = path.with_name("~" + path.name[1:])
    with suppress(FileNotFoundError):
        temporary.unlink()
    mode = int(config.runtime.socket_mode, 8)
    before = os.umask(0o777 & ~mode)
    try:
        server.add_insecure_port(f"unix:{temporary}")
    except RuntimeError as error:
        raise PermissionDenied(f"cannot listen on {path}: {error}") from error
    finally:
        os.umask(before)
    os.chmod(temporary, mode)
    if config.runtime.socket_group:
        try:
            shutil.chown(temporary, group=config.runtime.socket_group)
        except (LookupError, OSError) as error:
            raise InvalidArgument(f"runtime.socket_group {config.runtime.socket_group!r}: {error}") from error
    await server.start()
    temporary.rename(path)
    ours = path.stat().st_ino  # noqa: ASYNC240
    log.info("listening", extra={"endpoint": config.listen})
    try:
        yield
    finally:
        await server.stop(config.runtime.drain_seconds)
        with suppress(FileNotFoundError):
            if path.stat().st_ino == ours:  # noqa: ASYNC240
                path.unlink()  # noqa: ASYNC240


def _make_way(path: Path) -> None:
    """Make the socket's folder; refuse a path that is taken, leave a stale socket to be replaced."""
    try:
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    except OSError as error:
        raise PermissionDenied(f"socket folder {path.parent} cannot be made: {error.strerror}") from error
    try:
        kind = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(kind):
        raise FailedPrecondition(f"{path} exists and is not a socket; remove it or choose another --listen")
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(2)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            log.info("replacing a stale socket", extra={"path": str(path)})
            return
        except OSError as error:
            raise FailedPrecondition(f"{path} cannot be probed: {error}; choose another --listen") from error
    raise FailedPrecondition(f"another server listens on {path}; stop it or choose another --listen")


@contextmanager
def _sole_owner(state_dir: Path) -> Iterator[None]:
    """Hold the state directory's lock; the kernel releases it even if we are killed."""
    try:
        state_dir.mkdir(mode=0o711, parents=True, exist_ok=True)
        lock = (state_dir / "lock").open("a+")
    except OSError as error:
        raise PermissionDenied(
            f"state directory {state_dir} cannot be used: {error.strerror}; choose another --state-dir"
        ) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            owner = lock.read(32).strip() or "unknown"
            raise FailedPrecondition(
                f"state directory {state_dir} is in use by another criadapt (pid {owner}); "
                "stop it or choose another --state-dir"
            ) from None
        lock.seek(0)
        lock.truncate()
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        yield


def _raise_file_limit() -> None:
    """Log files and connections of hundreds of pods need more descriptors than the usual soft limit of 1,024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
